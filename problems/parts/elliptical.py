r"""Gaussian and Student-t laws, one or a mixture, in closed form: what the simplest exact targets
are made of.

.. math:: p(z) = \sum_k w_k\, |\det S_k|^{-1}\, g\!\left(\lVert S_k^{-1} (z - m_k) \rVert\right)
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Generator, Tensor

from problems.base import Exact, Problem
from problems.parts.ingredients import normal


class Elliptical:
    """A mixture of K Gaussians, or of K multivariate Student-t laws.

    Args:
        means: m, [K, D].
        factors: S, [K, D, D], with S S' the covariance of a Gaussian, or the scale matrix of a
            Student-t.
        weights: w, [K], positive, summing to one; None: equal.
        dof: degrees of freedom of the Student-t, a whole number; None for Gaussians.
    """

    def __init__(
        self, means: Tensor, factors: Tensor, weights: Tensor | None = None, dof: int | None = None
    ) -> None:
        self.means, self.factors, self.dof = means, factors, dof
        count, self.dim = means.shape
        self.weights = (
            torch.full((count,), 1 / count, dtype=torch.float64) if weights is None else weights
        )
        if dof is None:
            constant = -0.5 * self.dim * math.log(2 * math.pi)
        else:
            constant = (
                math.lgamma(0.5 * (dof + self.dim))
                - math.lgamma(0.5 * dof)
                - 0.5 * self.dim * math.log(dof * math.pi)
            )
        # [K]
        self._constants: Tensor = (
            self.weights.log() - torch.linalg.slogdet(factors).logabsdet + constant
        )
        # [D, K * D]
        self._whitening: Tensor = torch.linalg.inv(factors).flatten(0, 1).T.contiguous()
        self._white_means: Tensor = torch.linalg.solve(factors, means)  # [K, D]

    @staticmethod
    def single(mean: Tensor, factor: Tensor, dof: int | None = None) -> Elliptical:
        """One component: mean [D], factor [D, D]."""
        return Elliptical(mean.unsqueeze(0), factor.unsqueeze(0), dof=dof)

    @property
    def mean(self) -> Tensor | None:
        """Of each coordinate, [D]; None where there is none."""
        return None if self.dof == 1 else self.weights @ self.means

    @property
    def variance(self) -> Tensor | None:
        r"""Of each coordinate, [D]: within the components and between their means; None where there
        is none.

        .. math:: \sum_k w_k (c\, (S_k S_k^T)_{jj} + m_{kj}^2) - \bar m_j^2,
            \quad c = \nu / (\nu - 2), \text{ or 1 for Gaussians}
        """
        mean = self.mean
        if mean is None or (self.dof is not None and self.dof <= 2):
            return None
        wider = 1.0 if self.dof is None else self.dof / (self.dof - 2)
        within = wider * self.factors.square().sum(-1)  # [K, D]
        return self.weights @ (within + (self.means - mean).square())

    def log_prob(self, z: Tensor) -> Tensor:
        """Normalised log density: [..., D] -> [...], nats."""
        return self.log_joint(z).logsumexp(-1)

    def log_joint(self, z: Tensor) -> Tensor:
        """Log weight plus log density of every component: [..., D] -> [..., K], nats."""
        # One matrix product for all components; a batch of triangular solves is many times slower.
        white = (z @ self._whitening).reshape(*z.shape[:-1], *self.means.shape) - self._white_means
        squared = white.square().sum(-1)
        if self.dof is None:
            return self._constants - squared / 2
        return self._constants - torch.log1p(squared / self.dof) * (0.5 * (self.dof + self.dim))

    def likeliest(self, z: Tensor) -> Tensor:
        """Index of the component most likely to have made each point: [..., D] -> [...]."""
        return self.log_joint(z).argmax(-1)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Independent draws of the distribution, [n, D], float64."""
        component = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = normal(generator, n, self.dim)
        if (
            self.dof is not None
        ):  # a normal over the root of an independent mean square is Student-t
            noise = noise / normal(generator, n, self.dof).square().mean(-1, keepdim=True).sqrt()
        draws = torch.empty_like(noise)
        for k, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            rows = component == k
            draws[rows] = mean + noise[rows] @ factor.T
        return draws


class EllipticalProblem(Problem):
    """A target that is an elliptical law as it stands; its subclasses say which."""

    @property
    @abstractmethod
    def law(self) -> Elliptical:
        """The law, cached, and made when the problem is made."""

    @property
    def truth(self) -> Exact:
        return Exact(self.law.sample, 0.0, self.law.mean, self.law.variance)

    def log_density(self, z: Tensor) -> Tensor:
        return self.law.log_prob(z)

    @property
    def moments(self) -> float:
        """Of a Student-t those of orders below its degrees of freedom."""
        return math.inf if self.law.dof is None else float(self.law.dof)
