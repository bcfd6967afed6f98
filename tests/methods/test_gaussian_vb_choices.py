"""What Gaussian VB offers beside its own way: a low rank, linear response, and Adam."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator

from bench.fitting.target import CountedTarget
from methods.base import Budget
from methods.gaussian_vb import GaussianVB
from methods.parts.gaussians.families import Family
from methods.parts.gaussians.fixed_draws import FixedLoss
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.gaussians.sticking import Climb, score
from problems.base import Problem
from tests.helpers.best_gaussian import PROBLEMS
from tests.methods.test_gaussian_vb import Normal
from tests.methods.test_scales import Regression

SIGMAS = 4.5  # every statistical tolerance, in standard errors
KINDS: list[Any] = ["diagonal", "full", "low-rank"]


class Spiked(Normal):
    """N(m, diag(s^2) + W W^T) with two columns of W, in units far apart."""

    def __init__(self) -> None:
        super().__init__(8, 1.0)
        generator = Generator().manual_seed(5)
        w = torch.randn(8, 2, generator=generator, dtype=torch.float64)
        units = torch.logspace(-2, 2, 8, dtype=torch.float64)
        cov = units.outer(units) * (w @ w.T + 0.2 * torch.eye(8, dtype=torch.float64))
        self.precision = torch.linalg.inv(cov)
        self.log_det = -float(torch.logdet(cov))


def fit(problem: Problem, seed: int = 0, **fields: Any) -> Gaussian:
    generator = Generator().manual_seed(seed)
    return list(GaussianVB(**fields).run(CountedTarget(problem), Budget(), generator))[-1]


def least_diagonal(problem: Normal) -> float:
    """KL(q||p) of the best diagonal q, whose variances are 1 / P_ii."""
    return 0.5 * (float(problem.precision.diagonal().log().sum()) - problem.log_det)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_low_rank_is_found_in_any_units(seed: int) -> None:
    q = fit(Spiked(), seed, covariance="low-rank", rank=2, starts=2)
    assert Spiked().divergence(q) < 0.005


def test_a_rank_that_is_too_low_lies_between_the_diagonal_and_the_full() -> None:
    problem = Spiked()
    q = fit(problem, covariance="low-rank", rank=1, starts=2)
    assert 0.1 < problem.divergence(q) < least_diagonal(problem) - 0.1


@pytest.mark.parametrize("covariance", KINDS)
def test_the_loss_on_fixed_draws_has_the_slope_of_its_value(covariance: Any) -> None:
    generator = Generator().manual_seed(0)
    problem = PROBLEMS["eight-schools"]
    units = torch.linspace(0.3, 2, 10, dtype=torch.float64)
    family = Family(covariance, torch.ones(10, dtype=torch.float64), units, 2)
    eps = torch.randn(20, family.noise_dim, generator=generator, dtype=torch.float64)
    loss = FixedLoss(CountedTarget(problem), family, eps)
    x = family.first(0.5, generator)
    x = x + 0.1 * torch.randn(len(x), generator=generator, dtype=torch.float64)
    slope = loss(x)[1]
    for i in range(0, len(x), 3):
        step = torch.zeros_like(x).index_fill_(0, torch.tensor(i), 1e-5)
        rise = (loss(x + step)[0] - loss(x - step)[0]) / 2e-5
        assert float(slope[i]) == pytest.approx(rise, rel=1e-5, abs=1e-6)
    q = family.gaussian(x)
    log_det = q.scales.log().sum()
    torch.testing.assert_close(family.log_det(x), log_det)
    z = family.move(x, torch.randn(50_000, family.noise_dim, generator=generator).double())
    white = torch.linalg.solve_triangular(
        q.scale_tril.diag() if q.scale_tril.dim() == 1 else q.scale_tril, (z - q.loc).T, upper=False
    )
    error = (white @ white.T / len(z) - torch.eye(10)).abs().max()
    assert float(error) < SIGMAS * math.sqrt(2 / len(z))


@pytest.mark.parametrize("dim", [2, 7])
def test_linear_response_gives_the_covariance_of_a_gaussian(dim: int) -> None:
    problem = Normal(dim, 100.0)
    plain, mended = (fit(problem, linear_response=how, starts=1) for how in (False, True))
    assert problem.divergence(plain) > 0.3
    assert problem.divergence(mended) < 0.01


def test_linear_response_brings_the_standard_deviations_near_those_of_the_posterior() -> None:
    """y = X w + noise of unknown scale, with twelve columns that are tied by chance."""
    rows, columns = 40, 12
    problem = Regression([3.0] * columns, rows=rows)
    # the marginal of w is a t of rows - columns degrees of freedom, so its covariance is known
    cov = torch.linalg.inv(problem.gram) * problem.rest / (rows - columns - 2)
    plain, mended = (fit(problem, linear_response=how, starts=2) for how in (False, True))
    found = (mended.scale_tril @ mended.scale_tril.T).diagonal()[:-1].sqrt()
    error = (found / cov.diagonal().sqrt() - 1).abs().max()
    assert error < 0.06
    assert error < (plain.scales[:-1] / cov.diagonal().sqrt() - 1).abs().max() / 3


@pytest.mark.parametrize("covariance", KINDS)
def test_adam_finds_the_best_gaussian_of_each_family(covariance: Any) -> None:
    problem = Normal(4, 9.0)
    fields: dict[str, Any] = {"iterations": 1500, "lr": 0.02, "batch": 8, "every": 500, "rank": 4}
    q = fit(problem, covariance=covariance, optimiser="adam", **fields)
    least = least_diagonal(problem) if covariance == "diagonal" else 0.0
    assert least - 1e-6 < problem.divergence(q) < least + 0.005


def test_sticking_the_landing_has_no_noise_where_q_is_the_target() -> None:
    problem = Normal(3, 1.0)  # of unit covariance
    family = Family("full", problem.loc, torch.ones(3, dtype=torch.float64))
    x = family.first(1.0, Generator()).requires_grad_()
    eps = torch.randn(2, 3, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    climb = Climb("Test", "full", 0, 0.01, 1, 2, 3, 1)
    assert climb._gradient(CountedTarget(problem), family, x, eps, 0).abs().max() < 1e-12


@pytest.mark.parametrize("particles", [1, 5])
def test_the_gradient_is_that_of_the_bound(particles: int) -> None:
    """Against the derivative of the bound itself, on the same noise."""
    problem = PROBLEMS["mixture-2d"]
    family = Family("full", torch.ones(2).double(), torch.ones(2).double())
    x = family.first(0.8, Generator()).requires_grad_()
    generator = Generator().manual_seed(0)
    climb = Climb("Test", "full", 0, 0.01, 1, 500, particles, 1)
    differences = []
    for _ in range(40):
        eps = torch.randn(500, particles, 2, generator=generator, dtype=torch.float64)
        z = family.move(x, eps)
        loc, log_scale, below = x.tensor_split([2, 4])
        corner = (torch.tensor([1]), torch.tensor([0]))
        lower = log_scale.exp().diag().index_put(corner, below)
        law: Any = torch.distributions.MultivariateNormal(1 + loc, scale_tril=lower)
        bound = (problem.log_density(z) - law.log_prob(z)).logsumexp(1).mean()
        (plain,) = torch.autograd.grad(-bound, x)
        differences.append(climb._gradient(CountedTarget(problem), family, x, eps, 0) - plain)
    found = torch.stack(differences)
    assert (found.mean(0).abs() < SIGMAS * found.std(0) / math.sqrt(len(found))).all()


def test_the_score_is_the_gradient_of_the_density() -> None:
    factor = torch.tensor([[0.5, 0.0], [0.3, 1.2]], dtype=torch.float64)
    for scale in (factor, factor.diagonal()):
        q = Gaussian(torch.ones(2, dtype=torch.float64), scale)
        z = torch.randn(5, 2, generator=Generator().manual_seed(0)).double().requires_grad_()
        (slope,) = torch.autograd.grad(q.log_prob(z).sum(), z)
        torch.testing.assert_close(score(q, z.detach()), slope)


def test_a_budget_of_gradients_makes_adam_shorter() -> None:
    target = CountedTarget(Normal(3, 4.0))
    method = GaussianVB(optimiser="adam", every=1)
    run = method.run(target, Budget(gradients=1000), Generator().manual_seed(0))
    assert len(list(run)) == 31


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optimiser": "sgd"}, r"GaussianVB\(optimiser=...\) must be 'l-bfgs' or 'adam'"),
        ({"rank": 0}, r"GaussianVB\(rank=...\) must be at least 1, got 0"),
        ({"lr": 0.0}, r"GaussianVB\(lr=...\) must be positive and finite, got 0.0"),
        (
            {"linear_response": True, "covariance": "full"},
            r"GaussianVB\(linear_response=...\) must be False unless covariance is 'diagonal'",
        ),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianVB(**fields)
