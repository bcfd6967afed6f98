"""SVGD moves by the formula of its paper, and comes to rest as the posterior."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.base import Budget, Draws
from methods.svgd import SVGD, _direction
from tests.helpers.metric_cases import StandardNormal, normal, rng
from tests.methods.test_gaussian_vb import Normal, Walled


def fit(problem: Any, seed: int = 0, budget: Budget | None = None, **fields: Any) -> list[Draws]:
    target = CountedTarget(problem)
    return list(SVGD(**fields).run(target, budget or Budget(), Generator().manual_seed(seed)))


def term_by_term(z: Tensor, slope: Tensor) -> Tensor:
    """The paper's sum over pairs, the slope of the kernel by automatic differentiation."""
    h = float(torch.pdist(z).median()) ** 2 / math.log(len(z))
    moves = []
    for x in z:
        total = torch.zeros_like(x)
        for other, pull in zip(z, slope, strict=True):
            at = other.clone().requires_grad_()
            kernel = torch.exp(-(at - x).square().sum() / h)
            total += kernel.detach() * pull + torch.autograd.grad(kernel, at)[0]
        moves.append(total / len(z))
    return torch.stack(moves)


def test_the_direction_is_the_sum_of_the_paper() -> None:
    z, slope = normal(rng(0), 7, 3), normal(rng(1), 7, 3)
    torch.testing.assert_close(_direction(z, slope), term_by_term(z, slope))


@pytest.mark.parametrize("optimiser", ["adagrad", "adam"])
def test_a_correlated_gaussian_is_found_and_then_left_alone(optimiser: Any) -> None:
    problem = Normal(2, 10.0)
    q = fit(problem, particles=60, iterations=500, optimiser=optimiser)[-1]
    z = q.chains.flatten(0, 1)
    covariance = problem.precision.inverse()
    sd = covariance.diagonal().sqrt()
    assert ((z.mean(0) - problem.loc).abs() < 0.05 * sd).all()
    assert ((z.std(0) / sd - 1).abs() < 0.1).all()
    correlation = z.T.corrcoef()[0, 1]
    assert abs(float(correlation - covariance[0, 1] / sd.prod())) < 0.05
    rest = _direction(z, CountedTarget(problem).value_and_grad(z)[1])
    start = normal(rng(0), 60, 2)
    away = _direction(start, CountedTarget(problem).value_and_grad(start)[1])
    assert rest.norm() < 0.02 * away.norm()


def test_the_particles_say_that_they_interact() -> None:
    found = fit(StandardNormal(2), particles=10, iterations=60)
    assert len(found) == 4  # the first, two on the way, the last
    assert all(q.interacting and q.chains.shape == (10, 1, 2) for q in found)
    assert not torch.equal(found[0].chains, found[1].chains)


def test_a_budget_of_gradients_ends_it_and_shortens_its_schedule() -> None:
    target = CountedTarget(StandardNormal(2))
    found = SVGD(particles=10).run(target, Budget(gradients=305), rng(0))
    assert len(list(found)) == 3
    assert target.gradients == 300


def test_the_generator_alone_decides() -> None:
    state = torch.get_rng_state()
    a, b, c = (fit(StandardNormal(2), s, particles=10, iterations=20)[-1] for s in (3, 3, 4))
    assert torch.equal(a.chains, b.chains)
    assert not torch.equal(a.chains, c.chains)
    assert torch.equal(state, torch.get_rng_state())


def test_a_density_that_is_not_finite_is_named() -> None:
    with pytest.raises(FloatingPointError, match=r"not finite at .* of 20 points.*smaller step"):
        fit(Walled(0.5, math.nan), particles=20)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"particles": 1}, r"SVGD\(particles=...\) must be at least 2, got 1"),
        ({"optimiser": "sgd"}, r"SVGD\(optimiser=...\) must be 'adagrad' or 'adam', got 'sgd'"),
        ({"step": 0.0}, r"SVGD\(step=...\) must be positive and finite, got 0.0"),
        ({"memory": 1.0}, r"SVGD\(memory=...\) must lie in \[0, 1\), got 1.0"),
        ({"final_step": 2.0}, r"SVGD\(final_step=...\) must lie in \[0, 1\], got 2.0"),
        ({"iterations": 0}, r"SVGD\(iterations=...\) must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SVGD(**fields)
