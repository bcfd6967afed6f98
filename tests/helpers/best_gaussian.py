r"""The best Gaussian for a problem without Monte Carlo: KL(q||p) in closed form or on a grid, and
scipy's optimiser.

The expectation of every term of the three eight-schools densities under a Gaussian is known:
polynomials by Isserlis' theorem, exp(a l) times a polynomial by shifting its means by a Cov(., l),
the half-Cauchy prior by one-dimensional quadrature. In the plane a fine grid does. Nothing here is
shared with the method under test.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from problems.base import Exact, Problem
from problems.eight_schools import EightSchools, EightSchoolsCentred
from problems.logistic_regression import LogisticRegression
from problems.mixture import Mixture
from problems.ring import Ring
from problems.signed_eight_schools import SignedEightSchools

# loc [D], L [D, D] -> minus the expectation of log p, nats
Energy = Callable[[Tensor, Tensor], Tensor]
PROBLEMS = {
    problem.name: problem
    for problem in (Mixture(), Ring(), EightSchools(), EightSchoolsCentred(), SignedEightSchools())
}
LOGISTIC = LogisticRegression()  # without an exact log Z: a loss, not a divergence


def energy(problem: Problem) -> Energy:
    """Minus the expectation of log p under N(loc, L L^T), a function of loc [D] and L [D, D]."""
    if isinstance(problem, EightSchools):
        return functools.partial(_schools, problem)
    if isinstance(problem, EightSchoolsCentred):
        return functools.partial(_centred, problem)
    if isinstance(problem, SignedEightSchools):
        return functools.partial(_signed, problem)
    if isinstance(problem, LogisticRegression):
        return functools.partial(_logistic, problem)
    return functools.partial(_plane, problem)


def loss(problem: Problem, loc: Tensor, scale: Tensor) -> Tensor:
    """Minus the ELBO of q = N(loc, L L^T), L given as [D] or [D, D]: nats."""
    scale = scale.diag() if scale.dim() == 1 else scale
    entropy = scale.diagonal().log().sum() + 0.5 * problem.dim * math.log(2 * math.pi * math.e)
    return energy(problem)(loc, scale) - entropy


def divergence(problem: Problem, loc: Tensor, scale: Tensor) -> Tensor:
    """KL(q||p) of q = N(loc, L L^T), L given as [D] or [D, D]: nats."""
    assert isinstance(problem.truth, Exact)
    return loss(problem, loc, scale) + problem.truth.log_z


def least_divergence(name: str, covariance: str) -> float:
    """The least KL(q||p) that scipy finds from several starts, nats."""
    truth = PROBLEMS[name].truth
    assert isinstance(truth, Exact)
    return least_loss(name, covariance) + truth.log_z


@functools.cache
def least_loss(name: str, covariance: str) -> float:
    """The least of minus the ELBO that scipy finds from several starts, nats."""
    problem = LOGISTIC if name == LOGISTIC.name else PROBLEMS[name]
    dim = problem.dim
    below = tuple(torch.tril_indices(dim, dim, -1))

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.from_numpy(x).requires_grad_()
        scale = point[dim : 2 * dim].exp().diag()
        if covariance == "full":
            scale = scale.index_put(below, point[2 * dim :])
        value = loss(problem, point[:dim], scale)
        (slope,) = torch.autograd.grad(value, point)
        return value.item(), slope.numpy()

    random = np.random.default_rng(0)
    size = 2 * dim + (len(below[0]) if covariance == "full" else 0)
    starts = {2: 8, LOGISTIC.dim: 1}.get(dim, 3)  # more where there are more optima
    found = []
    for start in range(starts):
        x = np.zeros(size)
        x[:dim] = random.uniform(-2, 2, dim)
        x[dim : 2 * dim] = math.log((0.1, 1.0)[start % 2])
        found.append(
            scipy.optimize.minimize(
                objective,
                x,
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 2000, "ftol": 1e-12},
            ).fun
        )
    return min(found)


def _plane(problem: Problem, loc: Tensor, scale: Tensor) -> Tensor:
    nodes, weights = _grid()
    return -(weights * problem.log_density(loc + nodes @ scale.T)).sum()


@functools.cache
def _grid(step: float = 0.125, reach: float = 7.0) -> tuple[Tensor, Tensor]:
    axis = torch.arange(-reach, reach + step / 2, step, dtype=torch.float64)
    nodes = torch.cartesian_prod(axis, axis)
    return nodes, torch.softmax(-0.5 * nodes.square().sum(-1), 0)


def _log_normal(square: Tensor, scale: Tensor) -> Tensor:
    """Expectation of log N(x; m, scale), given that of (x - m)^2: summed over all entries."""
    return (-0.5 * square / scale.square() - scale.log() - 0.5 * math.log(2 * math.pi)).sum()


def _log_tau_prior(mean: Tensor, variance: Tensor, scale: float) -> Tensor:
    """Expectation of the log density of log tau, tau ~ HalfCauchy(scale), by Gauss-Hermite
    quadrature.
    """
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(120))
    log_tau = mean + variance.sqrt() * nodes
    value = (
        math.log(2 / math.pi / scale)
        + log_tau
        - torch.nn.functional.softplus(2 * (log_tau - math.log(scale)))
    )
    return (weights * value).sum() / weights.sum()


def _schools(problem: EightSchools, loc: Tensor, scale: Tensor) -> Tensor:
    y, sigma = torch.tensor([problem.y, problem.sigma], dtype=torch.float64)
    cov = scale @ scale.T
    mu, log_tau, eta = loc[0], loc[1], loc[2:]
    of_eta, with_tau, with_mu = cov.diagonal()[2:], cov[1, 2:], cov[0, 2:]
    gap = y - mu
    # of tau (y - mu) eta
    cross = (log_tau + cov[1, 1] / 2).exp() * ((gap - cov[0, 1]) * (eta + with_tau) - with_mu)
    # of (tau eta)^2
    square = (2 * log_tau + 2 * cov[1, 1]).exp() * ((eta + 2 * with_tau).square() + of_eta)
    likelihood = _log_normal(gap.square() + cov[0, 0] - 2 * cross + square, sigma)
    prior = _log_normal(mu.square() + cov[0, 0], torch.tensor(problem.mu_scale)) + _log_normal(
        eta.square() + of_eta, torch.ones_like(y)
    )
    return -(likelihood + prior + _log_tau_prior(log_tau, cov[1, 1], problem.tau_scale))


def _logistic(problem: LogisticRegression, loc: Tensor, scale: Tensor) -> Tensor:
    """Of log odds that are normal one by one, by Gauss-Hermite quadrature."""
    rows, s = problem._signed_rows, torch.tensor(problem.prior_scale, dtype=torch.float64)
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(40))
    odds = (rows @ loc).unsqueeze(1) + (rows @ scale).norm(dim=1).unsqueeze(1) * nodes
    likelihood = (torch.nn.functional.logsigmoid(odds) @ weights).sum() / weights.sum()
    return -(likelihood + _log_normal(loc.square() + scale.square().sum(1), s))


def _centred(problem: EightSchoolsCentred, loc: Tensor, scale: Tensor) -> Tensor:
    y, sigma = torch.tensor([problem.y, problem.sigma], dtype=torch.float64)
    cov = scale @ scale.T
    mu, log_tau, theta = loc[0], loc[1], loc[2:]
    of_theta = cov.diagonal()[2:]
    of_gap, with_tau = of_theta + cov[0, 0] - 2 * cov[0, 2:], cov[1, 2:] - cov[0, 1]
    # of eta^2
    square = (-2 * log_tau + 2 * cov[1, 1]).exp() * ((theta - mu - 2 * with_tau).square() + of_gap)
    likelihood = _log_normal((y - theta).square() + of_theta, sigma)
    prior = (
        _log_normal(mu.square() + cov[0, 0], torch.tensor(problem.mu_scale))
        + _log_normal(square, torch.ones_like(y))
        - 8 * log_tau
    )
    return -(likelihood + prior + _log_tau_prior(log_tau, cov[1, 1], problem.tau_scale))


def _signed(problem: SignedEightSchools, loc: Tensor, scale: Tensor) -> Tensor:
    y, sigma = torch.tensor([problem.y, problem.sigma], dtype=torch.float64)
    cov = scale @ scale.T
    mu, tau, eta = loc[0], loc[1], loc[2:]
    of_tau, of_eta, with_tau, with_mu = cov[1, 1], cov.diagonal()[2:], cov[1, 2:], cov[0, 2:]
    gap = y - mu
    cross = gap * (tau * eta + with_tau) - tau * with_mu - eta * cov[0, 1]
    square = (
        (tau.square() + of_tau) * (eta.square() + of_eta)
        + 4 * tau * eta * with_tau
        + 2 * with_tau.square()
    )
    likelihood = _log_normal(gap.square() + cov[0, 0] - 2 * cross + square, sigma)
    prior = _log_normal(mu.square() + cov[0, 0], torch.tensor(problem.mu_scale)) + _log_normal(
        tau.square() + of_tau, torch.tensor(problem.tau_scale)
    )
    return -(likelihood + prior + _log_normal(eta.square() + of_eta, torch.ones_like(y)))
