"""Gaussian VB reaches the best Gaussian in whatever units the coordinates come, and says what is
left to be gained.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.base import Budget
from methods.gaussian_vb import GaussianVB
from methods.parts.gaussians.gaussian import Gaussian
from problems.base import Problem
from tests.methods.test_gaussian_vb import Normal

NEAR = 0.002  # nats that a fit may lack; the method's own tolerance is 0.003


class Regression(Problem):
    r"""y = X w + sigma noise, flat in w and log sigma.

    The expectation of exp(-2 s) times a polynomial under a Gaussian is known, so KL(q||p) is; the
    evidence is that of a multivariate t.
    """

    name: ClassVar[str] = "regression"
    truth: Any = None

    def __init__(self, lengths: list[float], rows: int = 10, centre: float = 1.0) -> None:
        generator = Generator().manual_seed(0)
        noise = torch.randn(rows, len(lengths) + 2, generator=generator, dtype=torch.float64)
        columns = noise[:, 2:] / noise[:, 2:].norm(dim=0)
        self.x = columns * torch.tensor(lengths, dtype=torch.float64)
        self.y = self.x @ (centre * noise[: len(lengths), 0]) + noise[:, 1]
        self.gram = self.x.T @ self.x
        self.fitted = torch.linalg.lstsq(self.x, self.y).solution
        self.rest = float((self.y - self.x @ self.fitted).square().sum())
        nu = rows - len(lengths)
        self.log_z = (
            len(lengths) / 2 * math.log(2 * math.pi)
            - 0.5 * float(torch.logdet(self.gram))
            - math.log(2)
            - nu / 2 * math.log(self.rest / 2)
            + math.lgamma(nu / 2)
        )

    @property
    def dim(self) -> int:
        return len(self.fitted) + 1

    def log_density(self, z: Tensor) -> Tensor:
        residual = self.y - z[..., :-1] @ self.x.T
        log_sigma = z[..., -1]
        misfit: Tensor = (-2 * log_sigma).exp() * residual.square().sum(-1)
        return -len(self.y) * log_sigma - 0.5 * misfit

    def divergence(self, loc: Tensor, scale: Tensor) -> Tensor:
        """KL(q||p) in closed form: exp(-2 s) moves the mean of w by -2 Cov(w, s)."""
        scale = scale.diag() if scale.dim() == 1 else scale
        cov = scale @ scale.T
        moved = loc[:-1] - 2 * cov[:-1, -1] - self.fitted
        square = self.rest + moved @ self.gram @ moved + (self.gram * cov[:-1, :-1]).sum()
        energy = len(self.y) * loc[-1] + 0.5 * (-2 * loc[-1] + 2 * cov[-1, -1]).exp() * square
        entropy = scale.diagonal().log().sum() + 0.5 * self.dim * math.log(2 * math.pi * math.e)
        found: Tensor = energy - entropy + self.log_z
        return found

    def least(self, covariance: str) -> float:
        """The least divergence, found by scipy in units of the posterior."""
        full, dim = covariance == "full", self.dim
        below = tuple(torch.tril_indices(dim, dim, -1))
        inverse = torch.linalg.inv(self.gram)
        base = torch.eye(dim, dtype=torch.float64)
        base[:-1, :-1] = (
            torch.linalg.cholesky(inverse) if full else self.gram.diagonal().rsqrt().diag()
        )
        level = torch.tensor([0.5 * math.log(self.rest / len(self.y))], dtype=torch.float64)
        centre = torch.cat([self.fitted, level])

        def loss(x: Any) -> tuple[float, Any]:
            point = torch.from_numpy(x).requires_grad_()
            scale = point[dim : 2 * dim].exp().diag()
            if full:
                scale = scale.index_put(below, point[2 * dim :])
            value = self.divergence(centre + base @ point[:dim], base @ scale)
            return value.item(), torch.autograd.grad(value, point)[0].numpy()

        start = np.zeros(2 * dim + (len(below[0]) if full else 0))
        options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}
        found: Any = scipy.optimize.minimize(
            loss, start, jac=True, method="L-BFGS-B", options=options
        )
        return float(found.fun)


class Student(Problem):
    """A regression with sigma integrated out: a multivariate t of nu degrees of freedom."""

    name: ClassVar[str] = "student"
    truth: Any = None

    def __init__(self, lengths: list[float], nu: int = 10) -> None:
        noise = torch.randn(
            2 * len(lengths) + 1,
            len(lengths),
            generator=Generator().manual_seed(0),
            dtype=torch.float64,
        )
        x = noise[1:] * torch.tensor(lengths, dtype=torch.float64)
        self.loc, self.gram, self.nu = noise[0], x.T @ x, nu

    @property
    def dim(self) -> int:
        return len(self.loc)

    @property
    def constant(self) -> float:
        """Log of the normalising constant, less the determinant's share."""
        both = math.lgamma((self.nu + self.dim) / 2) - math.lgamma(self.nu / 2)
        return both - self.dim / 2 * math.log(self.nu * math.pi)

    def log_density(self, z: Tensor) -> Tensor:
        square = (((z - self.loc) @ self.gram) * (z - self.loc)).sum(-1)
        log_det = 0.5 * torch.logdet(self.gram)
        return self.constant + log_det - (self.nu + self.dim) / 2 * (square / self.nu).log1p()

    def least(self) -> float:
        """Of N(loc, c P^-1) the least divergence over c; |eps|^2 is chi-square."""

        def loss(c: float) -> float:
            def integrand(r: float) -> float:
                return float(scipy.stats.chi2.pdf(r, self.dim) * math.log1p(c * r / self.nu))

            tail = scipy.integrate.quad(integrand, 0, 200)[0]
            entropy = self.dim / 2 * math.log(2 * math.pi * math.e * c)
            return float((self.nu + self.dim) / 2 * tail - self.constant - entropy)

        bounded: Any = scipy.optimize.minimize_scalar(loss, bounds=(0.5, 3), method="bounded")
        return float(bounded.fun)

    def divergence(self, q: Gaussian) -> float:
        """KL(q||p) on many whitened draws, which leave an error of some 1e-4 nats."""
        eps = torch.randn(200_000, self.dim, generator=Generator().manual_seed(9)).double()
        z = q.loc + eps @ q.scale_tril.T
        return float((q.log_prob(z) - self.log_density(z)).mean())


def fit(problem: Problem, seed: int, **fields: Any) -> tuple[Gaussian, int]:
    """What Gaussian VB ends with, and the gradients it took."""
    target = CountedTarget(problem)
    run = GaussianVB(**fields).run(target, Budget(), Generator().manual_seed(seed))
    return list(run)[-1], target.gradients


LENGTHS = {
    "one": [1.0],
    "1e3": [1e3],
    "1e4": [1e4],
    "mixed": [1e4, 1.0, 1e-3],
    "far apart": [1e6, 1e-6],
}


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_best_gaussian_is_reached_in_any_units(
    lengths: str, covariance: str, seed: int
) -> None:
    problem = Regression(LENGTHS[lengths])
    found, gradients = fit(problem, seed, covariance=covariance)
    least = problem.least(covariance)
    kl = float(problem.divergence(found.loc, found.scale_tril))
    assert least - 1e-6 < kl < least + NEAR
    assert gradients < 250_000  # in round units some 70,000


def test_a_posterior_a_million_standard_deviations_away_is_found() -> None:
    problem = Regression([1.0, 1.0, 1.0], centre=1e6)
    found, _ = fit(problem, 0, covariance="full")
    least = problem.least("full")
    assert float(problem.divergence(found.loc, found.scale_tril)) < least + NEAR


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("seed", [0, 1])
def test_five_coefficients_with_sigma_integrated_out(scale: float, seed: int) -> None:
    problem = Student([scale, 1.0, 1.0, 1 / scale, 10.0])
    found, _ = fit(problem, seed, covariance="full")
    least = problem.least()
    assert least - NEAR < problem.divergence(found) < least + NEAR


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gap_that_is_left_is_estimated(seed: int) -> None:
    """The best diagonal Gaussian has the variances 1 / P_ii; the means are tied and ill
    conditioned.
    """
    problem = Normal(100, 1e4)
    least = 0.5 * (float(problem.precision.diagonal().log().sum()) - problem.log_det)
    found, _ = fit(problem, seed, covariance="diagonal", starts=1)
    assert found.diagnostics["gap"] == pytest.approx(problem.divergence(found) - least, rel=0.3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_fit_that_overfits_its_draws_says_how_much_is_missing(seed: int) -> None:
    """128 draws in twenty dimensions overfit, by 0.05 to 0.08 nats; the gap shows on fresh ones."""
    problem = Student([1.0] * 20, nu=3)
    coarse, _ = fit(problem, seed, covariance="full", draws=64, max_draws=64, starts=1)
    missing = problem.divergence(coarse) - problem.least()
    assert missing > 0.03
    assert 0.6 * missing < coarse.diagnostics["gap"] < 1.4 * missing


def test_a_run_keeps_the_gap() -> None:
    """The worker hands on what any approximation says of itself, not chains alone."""
    assert Gaussian(torch.zeros(1), torch.ones(1)).diagnostics == {}
    assert fit(Regression([1.0]), 0, starts=1)[0].diagnostics.keys() == {"gap"}
