"""Batch and match solves its update exactly, and finds the Gaussian that there is."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods import batch_and_match
from methods.base import Budget
from methods.batch_and_match import BatchAndMatch, matched
from methods.parts.gaussians.gaussian import Gaussian
from problems.base import Problem
from tests.helpers.best_gaussian import PROBLEMS, divergence, least_divergence
from tests.methods.test_gaussian_vb import Normal


class Cliff(Problem):
    """Finite left of zero alone."""

    name: ClassVar[str] = "cliff"
    truth: Any = None
    dim = 1

    def log_density(self, z: Tensor) -> Tensor:
        return (-z[..., 0]).sqrt() * 0 - 1e300 * z[..., 0] ** 8


def fit(problem: Problem, seed: int = 0, **fields: Any) -> list[Gaussian]:
    run = BatchAndMatch(**fields).run(
        CountedTarget(problem), Budget(), Generator().manual_seed(seed)
    )
    return list(run)


def batch(dim: int, rows: int) -> tuple[Gaussian, Tensor, Tensor]:
    generator = Generator().manual_seed(dim)
    noise = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    factor = torch.linalg.cholesky(noise @ noise.T + torch.eye(dim, dtype=torch.float64))
    q = Gaussian(torch.randn(dim, generator=generator, dtype=torch.float64), factor)
    scores = torch.randn(rows, dim, generator=generator, dtype=torch.float64)
    return q, q.sample(rows, generator), scores


def objective(new: tuple[Tensor, Tensor], old: Gaussian, z: Tensor, g: Tensor, rate: float) -> Any:
    """Score-based divergence on the batch, plus 2 / rate times KL(old || new)."""
    loc, cov = new
    precision = torch.linalg.inv(cov)
    difference = -(z - loc) @ precision - g
    fisher = ((difference @ cov) * difference).sum(1).mean()
    cov_old = old.scale_tril @ old.scale_tril.T
    away = loc - old.loc
    kl = (precision @ cov_old).trace() + away @ precision @ away + torch.logdet(cov)
    return fisher + 2 / rate * 0.5 * kl


@pytest.mark.parametrize(("dim", "rows"), [(1, 1), (3, 2), (4, 20)])
@pytest.mark.parametrize("rate", [0.1, 5.0, 200.0])
def test_an_update_is_where_the_objective_has_no_slope(dim: int, rows: int, rate: float) -> None:
    q, z, g = batch(dim, rows)
    new = matched(q, z, g, rate)
    assert new is not None
    loc = new.loc.clone().requires_grad_()
    cov = (new.scale_tril @ new.scale_tril.T).requires_grad_()
    value = objective((loc, cov), q, z, g, rate)
    by_loc, by_cov = torch.autograd.grad(value, (loc, cov))
    assert by_loc.abs().max() < 1e-8
    assert (by_cov + by_cov.T).abs().max() < 1e-8


def test_one_draw_at_no_end_of_rate_matches_the_score_there() -> None:
    """The update of Gaussian score matching."""
    q, z, g = batch(4, 1)
    new = matched(q, z, g, 1e9)
    assert new is not None
    precision = torch.cholesky_inverse(new.scale_tril)
    torch.testing.assert_close(-(z[0] - new.loc) @ precision, g[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gaussian_is_found_exactly(seed: int) -> None:
    problem = Normal(10, 1e3)
    found = fit(problem, seed, iterations=400, decay=False)[-1]
    assert problem.divergence(found) < 1e-8


@pytest.mark.parametrize("name", ["eight-schools", "eight-schools-signed"])
def test_comes_near_the_best_gaussian_where_none_is_exact(name: str) -> None:
    """It minimises another divergence: some 0.1 nats are lost."""
    found = fit(PROBLEMS[name], iterations=1500)[-1]
    kl = float(divergence(PROBLEMS[name], found.loc, found.scale_tril))
    least = least_divergence(name, "full")
    assert least - 1e-4 < kl < least + 0.1


def test_a_budget_of_gradients_makes_the_run_shorter() -> None:
    target = CountedTarget(Normal(3, 4.0))
    run = BatchAndMatch().run(target, Budget(gradients=1000), Generator().manual_seed(0))
    assert len(list(run)) == 31


def test_an_update_that_is_not_finite_is_said() -> None:
    with pytest.raises(FloatingPointError, match=r"BatchAndMatch (diverged|stopped)"):
        fit(Cliff())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch": 0}, r"BatchAndMatch\(batch=...\) must be at least 1, or None, got 0"),
        ({"iterations": 0}, r"BatchAndMatch\(iterations=...\) must be at least 1, got 0"),
        ({"rate": 0.0}, r"BatchAndMatch\(rate=...\) must be positive and finite, or None"),
        ({"scale": 0.0}, r"BatchAndMatch\(scale=...\) must be positive and finite"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchAndMatch(**fields)


def test_an_update_that_leads_astray_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def astray(q: Gaussian, z: Tensor, scores: Tensor, rate: float) -> Gaussian:
        return Gaussian(q.loc + 10, q.scale_tril)

    monkeypatch.setattr(batch_and_match, "matched", astray)
    with pytest.raises(FloatingPointError, match=r"diverged by update 50 .* where it began. Try"):
        fit(Normal(2, 1.0))
