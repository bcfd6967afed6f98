"""Flows have the density of their draws to the last digits, and come near known targets."""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.base import Budget, NotApplicableError
from methods.flow_vb import FlowVB
from methods.parts.adversarial.contrast import log_normal
from methods.parts.networks.zuko_flow import KINDS, Flow, FlowMap, Kind, build
from problems.base import Problem
from tests.helpers.metric_cases import StandardNormal, normal, rng
from tests.methods.test_gaussian_vb import Normal, Walled

pytest.importorskip("zuko", reason="flows are an optional part")
SIGMAS = 4.5
FEW: dict[str, Any] = {
    "flow": "affine-coupling", "iterations": 30, "batch": 16, "hidden": (8,), "transforms": 1
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", KINDS)


def bent(kind: Kind, dim: int) -> tuple[FlowMap, Tensor]:
    """A flow far from the identity."""
    flow = build(kind, dim, transforms=2, hidden=(8,), bins=4, generator=rng(0))
    architecture = FlowMap(flow, dim)
    weights = architecture.init(1.5)
    return architecture, weights + 0.3 * torch.randn(weights.shape, generator=rng(1)).double()


def fit(problem: Problem, seed: int = 0, **fields: Any) -> tuple[list[Flow], CountedTarget]:
    target = CountedTarget(problem)
    budget = Budget(gradients=fields.pop("gradients", None))
    run = FlowVB(**fields).run(target, budget, Generator().manual_seed(seed))
    return [q for q in run if q is not None], target


@every_kind
@pytest.mark.parametrize("dim", [1, 3])
def test_the_density_follows_from_the_map_by_change_of_variables(kind: Kind, dim: int) -> None:
    architecture, weights = bent(kind, dim)
    eps = normal(rng(2), 20, dim)
    z = architecture.draw(weights, eps)
    assert z.dtype == torch.float64
    rows = [
        torch.autograd.functional.jacobian(
            lambda e: architecture.draw(weights, e.unsqueeze(0))[0], each
        )
        for each in eps
    ]
    want = log_normal(eps) - torch.linalg.slogdet(torch.stack(rows)).logabsdet
    seen = Flow(architecture, weights).log_prob(z)
    torch.testing.assert_close(seen, want, rtol=1e-8, atol=1e-8)
    assert (z - eps).abs().max() > 0.5


@every_kind
def test_the_density_integrates_to_one(kind: Kind) -> None:
    side = torch.linspace(-15, 15, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    q = Flow(*bent(kind, 2))
    with torch.no_grad():
        mass = float(q.log_prob(grid).exp().sum()) * 0.05**2
    assert mass == pytest.approx(1.0, abs=0.01)


@every_kind
def test_gradients_are_those_of_finite_differences(kind: Kind) -> None:
    architecture, weights = bent(kind, 2)
    eps, direction, share = normal(rng(2), 5, 2), normal(rng(3), 5, 2), normal(rng(4), 5)
    z = architecture.draw(weights, eps).detach()
    way = normal(rng(5), len(weights))
    step = 1e-6 * way / way.norm()

    def along(function: Any) -> float:
        with torch.no_grad():
            return float(function(weights + step) - function(weights - step)) / 2e-6

    pulled = architecture.pull(weights, eps, direction) @ way / way.norm()
    likelier = architecture.likelier(weights, z, share) @ way / way.norm()
    assert float(pulled) == pytest.approx(
        along(lambda w: (architecture.draw(w, eps) * direction).sum()), rel=1e-4, abs=1e-6
    )
    assert float(likelier) == pytest.approx(
        along(lambda w: (share * architecture.log_prob(w, z)).sum()), rel=1e-4, abs=1e-6
    )
    aside = 1e-6 * direction
    ahead, behind = (architecture.log_prob(weights, z + s * aside) for s in (1, -1))
    slope = (architecture.slope(weights, z) * direction).sum(-1)
    torch.testing.assert_close(slope, ((ahead - behind) / 2e-6).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"flow": "affine-coupling"},
        {"flow": "affine-autoregressive", "iterations": 300},
        {"flow": "spline-coupling", "bins": 4, "transforms": 1},
        {"flow": "affine-coupling", "objective": "forward-kl", "scale": 3.0},
    ],
    ids=lambda fields: f"{fields['flow']}, {fields.get('objective', 'reverse-kl')}",
)
def test_a_correlated_gaussian_is_found(fields: dict[str, Any]) -> None:
    problem = Normal(2, 10.0)
    small = {"iterations": 400, "batch": 64, "transforms": 2, "hidden": (16,), "lr": 1e-2}
    q = fit(problem, **{**small, **fields})[0][-1]
    z = q.sample(4000, rng(3))
    with torch.no_grad():
        terms = q.log_prob(z) - problem.log_density(z)
    kl, error = float(terms.mean()), float(terms.std()) / math.sqrt(len(z))
    assert -SIGMAS * error < kl < 0.03 + SIGMAS * error


def test_the_gradient_dies_out_where_the_flow_is_the_target() -> None:
    """Sticking the landing: not only its mean is zero there, but the gradient of every draw."""
    architecture = FlowMap(
        build("affine-coupling", 2, transforms=1, hidden=(4,), bins=4, generator=rng(0)), 2
    )
    weights = architecture.init(0.7)
    z = architecture.draw(weights, normal(rng(1), 3, 2)).detach()
    slope = architecture.slope(weights, z)  # of q, which stands for the target, too
    with torch.enable_grad():
        at = z.clone().requires_grad_()
        (target,) = torch.autograd.grad(architecture.log_prob(weights, at).sum(), at)
    assert (slope - target).abs().max() == 0
    assert architecture.pull(weights, z, slope - target).abs().max() == 0


def test_the_generator_alone_decides_and_nothing_yielded_changes() -> None:
    state = torch.get_rng_state()
    (a, target), (b, _), (c, _) = (fit(StandardNormal(2), seed, **FEW) for seed in (3, 3, 4))
    assert (len(a), target.gradients) == (3, 480)
    assert torch.equal(a[-1].weights, b[-1].weights)
    assert all(not torch.equal(x.weights, y.weights) for x, y in itertools.pairwise([*a, *c[-1:]]))
    assert torch.equal(state, torch.get_rng_state())


def test_it_says_when_it_is_ready_and_plans_by_the_budget() -> None:
    target = CountedTarget(StandardNormal(2))
    found = list(FlowVB(**FEW).run(target, Budget(gradients=100), rng(0)))
    assert [q is None for q in found] == [True, False, False]
    assert target.gradients == 96


def test_without_zuko_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(NotApplicableError, match=r"needs zuko.*pip install 'postbench\[flows\]'"):
        fit(StandardNormal(2))


@pytest.mark.parametrize("objective", ["reverse-kl", "forward-kl"])
def test_a_density_that_is_not_finite_is_named(objective: str) -> None:
    with pytest.raises(FloatingPointError, match=r"FlowVB came to where .* not finite"):
        fit(Walled(0.1, math.nan), objective=objective, **FEW)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flow": "planar"}, r"FlowVB\(flow=...\) must be one of spline-coupling, .*got 'planar'"),
        ({"objective": "chi"}, r"FlowVB\(objective=...\) must be 'reverse-kl' or 'forward-kl'"),
        ({"bins": 1}, r"FlowVB\(bins=...\) must be at least 2, got 1"),
        ({"transforms": 0}, r"FlowVB\(transforms=...\) must be at least 1, got 0"),
        ({"hidden": (0,)}, r"FlowVB\(hidden=...\) must be one width or more"),
        ({"scale": math.inf}, r"FlowVB\(scale=...\) must be positive and finite, got inf"),
        ({"anneal": 2.0}, r"FlowVB\(anneal=...\) must lie in \[0, 1\], got 2.0"),
        ({"average": 1.0}, r"FlowVB\(average=...\) must lie in \[0, 1\), got 1.0"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowVB(**fields)
