"""The schools' posteriors by quadrature over mu and tau: a rule, and a step by hand, that the
problems do not use.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from problems.eight_schools import EightSchoolsCentred
from problems.signed_eight_schools import SignedEightSchools
from tests.helpers.exact_problems import Schools

Array = NDArray[np.float64]


class Grid:
    """Quadrature over mu and tau, only eta integrated out: the trapezoidal rule in mu, any rule in
    t.

    t is the coordinate of the problem: log tau, or the signed tau.
    """

    def __init__(self, problem: Schools, t: Array, weight: Array) -> None:
        self.signed = isinstance(problem, SignedEightSchools)
        self.y, self.sigma = np.array(problem.y), np.array(problem.sigma)
        self.mu = np.linspace(-9 * problem.mu_scale, 9 * problem.mu_scale, 301)
        self.t, self.tau = t, (t if self.signed else np.exp(t))
        spread = np.sqrt(self.tau[:, None] ** 2 + self.sigma**2)  # [T, J]
        log_p = stats.norm.logpdf(self.mu, scale=problem.mu_scale) + self._prior(problem)[:, None]
        for j, y in enumerate(self.y):
            log_p = log_p + stats.norm.logpdf(y, self.mu, spread[:, j, None])
        self.mass = np.exp(log_p) * weight[:, None] * (self.mu[1] - self.mu[0])  # [T, M]

    def _prior(self, problem: Schools) -> Array:
        if self.signed:
            return stats.norm.logpdf(self.t, scale=problem.tau_scale)
        return stats.halfcauchy.logpdf(self.tau, scale=problem.tau_scale) + self.t

    @classmethod
    def tanh_sinh(cls, problem: Schools) -> Grid:
        """tanh-sinh in t: t = centre + half tanh(pi/2 sinh u), over all of the law but
        1e-13 of it.
        """
        u = np.linspace(-3.2, 3.2, 1001)
        x, slope = (
            np.tanh(np.pi / 2 * np.sinh(u)),
            np.pi / 2 * np.cosh(u) / np.cosh(np.pi / 2 * np.sinh(u)) ** 2,
        )
        low, high = (-9.0, 9.0) if isinstance(problem, SignedEightSchools) else (-32.0, 12.0)
        half = (high - low) / 2
        return cls(problem, low + half * (1 + x), half * slope * (u[1] - u[0]))

    def mean(self, value: Array) -> float:
        return float((self.mass * value).sum() / self.mass.sum())

    def moments(self, problem: Schools) -> tuple[Array, Array]:
        """Mean and variance of every coordinate, [D] and [D]; those of eta and theta by the laws of
        total expectation.
        """
        mu, tau, t = self.mu[None, :], self.tau[:, None], self.t[:, None]
        values = [(mu + 0 * t, 0.0), (t + 0 * mu, 0.0)]
        for y, s in zip(self.y, self.sigma, strict=True):
            precision = 1 + (tau / s) ** 2
            eta = tau / s**2 * (y - mu) / precision
            centred = isinstance(problem, EightSchoolsCentred)
            values.append((mu + tau * eta, tau**2 / precision) if centred else (eta, 1 / precision))
        means = [self.mean(value) for value, _ in values]
        spreads = [
            self.mean((value - m) ** 2 + inner)
            for (value, inner), m in zip(values, means, strict=True)
        ]
        return np.array(means), np.array(spreads)
