"""The spectral estimate is the one of its paper and nears the slope that is known; the sampler it
teaches comes near the target.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from bench.metrics.mmd import mmd
from methods.base import Budget
from methods.parts.networks.sampler import SamplerNetwork
from methods.parts.stein_gradient import score
from methods.ssge_vi import SSGEVI
from problems.base import Problem
from tests.helpers.metric_cases import StandardNormal, found, normal, rng
from tests.methods.test_gaussian_vb import Walled

FEW: dict[str, Any] = {"iterations": 30, "batch": 16, "hidden": (8,)}


def by_eigenfunctions(x: Tensor, share: float) -> Tensor:
    """The paper's estimate, equation by equation: eigenfunctions by Nystroem's method, coefficients
    by the mean of their slopes.
    """
    n, width = len(x), float(torch.pdist(x).median())

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-0.5 * (a.unsqueeze(1) - b).square().sum(-1) / width**2)

    values, vectors = torch.linalg.eigh(kernel(x, x))
    order = values.argsort(descending=True)
    explained = values[order].cumsum(0) / values.sum()
    total = torch.zeros_like(x)
    for j in order[: int((explained < share).sum()) + 1]:
        at = x.clone().requires_grad_()
        psi = math.sqrt(n) / values[j] * (kernel(at, x) @ vectors[:, j])
        beta = -torch.autograd.grad(psi.sum(), at)[0].mean(0)
        total += psi.detach().unsqueeze(1) * beta
    return total


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("share", [0.8, 0.95])
def test_the_estimate_is_that_of_the_paper(dim: int, share: float) -> None:
    x = normal(rng(0), 30, dim)
    torch.testing.assert_close(score(x, share), by_eigenfunctions(x, share), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("dim", "most"), [(1, 0.1), (2, 0.1), (10, 0.35)])
def test_it_nears_the_slope_of_a_normal_density(dim: int, most: float) -> None:
    away = []
    for seed in range(5):
        x = normal(rng(seed), 400, dim)
        away.append(float((score(x, 0.99) + x).square().mean()))
    assert sum(away) / len(away) < most  # of the slope's own mean square, 1


def fit(problem: Problem, seed: int = 0, **fields: Any) -> tuple[list[SamplerNetwork], int]:
    target = CountedTarget(problem)
    budget = Budget(gradients=fields.pop("gradients", None))
    run = SSGEVI(**fields).run(target, budget, Generator().manual_seed(seed))
    return list(run), target.gradients


def test_a_normal_law_is_found_from_a_wide_start() -> None:
    truth = normal(rng(1), 2000, 2)
    first, *_, last = fit(StandardNormal(2), iterations=500, lr=1e-3, scale=2.0, batch=64)[0]
    before, after = (found(mmd(q.sample(2000, rng(2)), truth)) for q in (first, last))
    assert before.value > 0.05
    assert after.value < 0.01


def test_the_generator_alone_decides_and_nothing_yielded_changes() -> None:
    state = torch.get_rng_state()
    (a, spent), (b, _), (c, _) = (fit(StandardNormal(2), seed, **FEW) for seed in (3, 3, 4))
    assert (len(a), spent) == (3, 480)
    assert torch.equal(a[-1].weights, b[-1].weights)
    assert not torch.equal(a[-1].weights, c[-1].weights)
    assert not torch.equal(a[0].weights, a[-1].weights)
    assert torch.equal(state, torch.get_rng_state())


def test_a_budget_of_gradients_is_planned_by() -> None:
    assert fit(StandardNormal(2), gradients=100, **FEW)[1] == 96


def test_a_density_that_is_not_finite_is_named() -> None:
    with pytest.raises(
        FloatingPointError, match=r"SSGEVI came to where .* not finite .*larger batch"
    ):
        fit(Walled(0.1, math.nan), **FEW)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch": 3}, r"SSGEVI\(batch=...\) must be at least 4, got 3"),
        ({"share": 1.0}, r"SSGEVI\(share=...\) must lie in \(0, 1\), got 1.0"),
        ({"noise_dim": 0}, r"SSGEVI\(noise_dim=...\) must be at least 1, or None, got 0"),
        ({"hidden": ()}, r"SSGEVI\(hidden=...\) must be one width or more"),
        ({"lr": 0.0}, r"SSGEVI\(lr=...\) must be positive and finite, got 0.0"),
        ({"final_lr": -1.0}, r"SSGEVI\(final_lr=...\) must lie in \[0, 1\], got -1.0"),
        ({"every": 0}, r"SSGEVI\(every=...\) must be at least 1, got 0"),
        ({"average": 1.0}, r"SSGEVI\(average=...\) must lie in \[0, 1\), got 1.0"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SSGEVI(**fields)
