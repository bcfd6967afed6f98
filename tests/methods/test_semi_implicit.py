"""SIVI, UIVI and KSIVI descend on what their papers say, and come near to known targets."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from bench.metrics.kl_bounds import KlUpper
from methods.base import Budget
from methods.ksivi import KSIVI, discrepancy
from methods.parts.networks.semi_implicit import Batch, Conditional, Fit, Mixture, SemiImplicitVI
from methods.sivi import SIVI, log_mixture
from methods.uivi import UIVI, NoiseWalk
from problems.base import Problem
from tests.helpers.metric_cases import StandardNormal, compare, found, normal, rng
from tests.methods.test_gaussian_vb import Walled

SIGMAS = 4.5
METHODS: list[type[SemiImplicitVI]] = [SIVI, UIVI, KSIVI]
FEW: dict[str, Any] = {"iterations": 30, "batch": 16, "hidden": (8,)}
every = pytest.mark.parametrize("cls", METHODS)


class Squeezed(StandardNormal):
    """A skew and curved density, its Hessian not constant; not normalised."""

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(-1) - 0.3 * (z[..., 0] * z[..., 1]).square() + z[..., 0].sin()


def fit(
    cls: type[SemiImplicitVI], problem: Problem, seed: int = 0, **fields: Any
) -> tuple[list[Mixture], CountedTarget]:
    target = CountedTarget(problem)
    budget = Budget(gradients=fields.pop("gradients", None))
    return list(cls(**fields).run(target, budget, Generator().manual_seed(seed))), target


def gaussian(z: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    law: Any = torch.distributions.Normal(loc, log_scale.exp())
    return law.log_prob(z).sum(-1)


def loss_of(method: SemiImplicitVI, loc: Tensor, log_scale: Tensor, eta: Tensor) -> Tensor:
    """What SIVI and KSIVI descend on, written out, for automatic differentiation."""
    z = loc[: len(eta)] + log_scale.exp() * eta
    if isinstance(method, SIVI):
        rows = [
            torch.stack([gaussian(x, own, log_scale), *gaussian(x, loc[len(eta) :], log_scale)])
            for x, own in zip(z, loc, strict=False)
        ]
        log_q = torch.stack([row.logsumexp(0) - math.log(len(row)) for row in rows])
        return (log_q - Squeezed(2).log_density(z)).mean()
    slope = torch.autograd.grad(Squeezed(2).log_density(z).sum(), z, create_graph=True)[0]
    width, total = torch.pdist(z.detach()).median(), torch.zeros((), dtype=torch.float64)
    away = slope - (loc - z) / log_scale.exp() ** 2
    for i in range(len(z)):
        for j in range(len(z)):
            near = torch.exp(-0.5 * ((z[i] - z[j]) / width).square().sum())
            total = total + (near * (away[i] * away[j]).sum() if i != j else 0.0)
    return total / (len(z) * (len(z) - 1))


@pytest.mark.parametrize("method", [SIVI(components=5, batch=6), KSIVI(batch=6)])
def test_directions_are_the_slope_of_the_loss(method: SemiImplicitVI) -> None:
    fitting = Fit(method, CountedTarget(Squeezed(2)), rng(0))
    batch = fitting.draw()
    by_loc, by_log_scale = method.directions(fitting, batch, 1.0)
    loc, log_scale = (x.clone().requires_grad_() for x in (batch.loc, batch.log_scale))
    want = torch.autograd.grad(loss_of(method, loc, log_scale, batch.eta), (loc, log_scale))
    torch.testing.assert_close(by_loc, want[0], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(by_log_scale, want[1], rtol=1e-6, atol=1e-8)


def test_directions_are_pulled_back_through_the_network() -> None:
    conditional = Conditional(3, 2, (5,))
    weights = conditional.init(rng(0), 1.0).double().requires_grad_()
    psi, by_loc, by_log_scale = normal(rng(1), 7, 3), normal(rng(2), 7, 2), normal(rng(3), 2)
    loc, log_scale = conditional(weights, psi)
    total = (loc * by_loc).sum() + (log_scale * by_log_scale).sum()
    want = torch.autograd.grad(total, weights)[0]
    torch.testing.assert_close(conditional.pull(weights, psi, by_loc, by_log_scale), want)


def test_the_average_of_many_noises_is_the_density() -> None:
    """For a mean that is linear in the noise the mixture is a Gaussian."""
    psi, z = normal(rng(0), 50_000, 1), torch.linspace(-2, 2, 5).double().unsqueeze(1)
    log_scale = torch.tensor([math.log(0.5)]).double()
    terms = log_mixture(z, torch.cat([z, 1.5 * psi]), log_scale)
    sd = math.hypot(1.5, 0.5)
    law: Any = torch.distributions.Normal(0.0, sd)
    # one row is z itself, with weight 1 / 50,001
    assert ((terms - law.log_prob(z[:, 0])).abs() < 0.03).all()


def test_the_chain_on_the_noise_gives_the_slope_of_the_density() -> None:
    conditional, points = Conditional(2, 2, (16,)), 3
    weights = conditional.init(rng(0), 1.0)
    batch = drawn(conditional, weights, points)
    psi = normal(rng(5), 200_000, 2)
    loc, log_scale = (x.double() for x in conditional(weights, psi.float()))
    chains, walk, generator = 2000, NoiseWalk(conditional, 5), rng(7)
    for z in batch.z:
        shares = gaussian(z, loc, log_scale).softmax(0)
        slopes = (loc - z) / log_scale.exp() ** 2
        want = shares @ slopes
        start = psi[torch.multinomial(shares, chains, replacement=True, generator=generator)]
        at, many = torch.zeros(chains, 2), z.expand(chains, -1)
        moved = start
        for _ in range(20):
            noise = torch.randn(chains, 2, generator=generator, dtype=torch.float64)
            chance = torch.rand(chains, generator=generator, dtype=torch.float64)
            moved, at = walk.move(weights, moved, many, noise, chance)
        assert ((moved - start).abs() > 1e-9).any(1).double().mean() > 0.9
        effective = 1 / float(shares.square().sum())
        error = at.std(0) * math.sqrt(1 / chains + 1 / effective)
        assert ((at.mean(0) - want).abs() < SIGMAS * error).all()


def drawn(conditional: Conditional, weights: Tensor, n: int) -> Batch:
    psi, eta = normal(rng(1), n, conditional.mixing_dim), normal(rng(2), n, conditional.dim)
    loc, log_scale = (x.double() for x in conditional(weights, psi.float()))
    return Batch(psi, loc, log_scale, eta, loc + log_scale.exp() * eta)


def test_the_discrepancy_vanishes_where_the_slopes_agree() -> None:
    z = normal(rng(0), 20, 2)
    assert float(discrepancy(z, torch.zeros_like(z), torch.tensor(1.0))) == 0.0
    assert float(discrepancy(z, torch.ones_like(z), torch.tensor(1.0))) > 0.1


@every
def test_a_gaussian_is_found(cls: type[SemiImplicitVI]) -> None:
    short = {"burn_in": 2, "samples": 2, "leapfrogs": 3} if cls is UIVI else {}
    q = fit(cls, StandardNormal(2), iterations=400, lr=5e-3, scale=2.0, **short)[0][-1]
    result = found(KlUpper(250).measure(compare(q, StandardNormal(2))))
    assert result.value - SIGMAS * result.stderr < 0.1
    start = fit(cls, StandardNormal(2), iterations=1, scale=2.0, **short)[0][-1]
    assert found(KlUpper(250).measure(compare(start, StandardNormal(2)))).value > 0.5


@every
def test_the_generator_alone_decides_and_nothing_yielded_changes(
    cls: type[SemiImplicitVI],
) -> None:
    state = torch.get_rng_state()
    (a, _), (b, _), (c, _) = (fit(cls, StandardNormal(2), seed, **FEW) for seed in (3, 3, 4))
    assert len(a) == 3
    assert torch.equal(a[-1].weights, b[-1].weights)
    assert not torch.equal(a[-1].weights, c[-1].weights)
    assert not torch.equal(a[0].weights, a[-1].weights)
    assert torch.equal(state, torch.get_rng_state())


@every
def test_a_budget_of_gradients_is_planned_by(cls: type[SemiImplicitVI]) -> None:
    _, target = fit(cls, StandardNormal(2), gradients=300, **FEW)
    each = 48 if cls is KSIVI else 16
    assert target.gradients == 300 // each * each


@every
def test_a_density_that_is_not_finite_is_named(cls: type[SemiImplicitVI]) -> None:
    with pytest.raises(FloatingPointError, match=f"{cls.__name__} came to where .* not finite"):
        fit(cls, Walled(0.1, math.nan), **FEW)


@every
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise_dim": 0}, r"noise_dim=...\) must be at least 1, or None, got 0"),
        ({"hidden": ()}, r"hidden=...\) must be one width or more"),
        ({"batch": 1}, r"batch=...\) must be at least 2, got 1"),
        ({"lr": 0.0}, r"lr=...\) must be positive and finite, got 0.0"),
        ({"anneal": 1.5}, r"anneal=...\) must lie in \[0, 1\], got 1.5"),
        ({"average": 1.0}, r"average=...\) must lie in \[0, 1\), got 1.0"),
    ],
)
def test_fields_out_of_range_are_named(
    cls: type[SemiImplicitVI], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**fields)


def test_fields_of_one_method_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"SIVI\(components=...\) must be at least 1, got 0"):
        SIVI(components=0)
    with pytest.raises(ValueError, match=r"UIVI\(samples=...\) must be at least 1, got 0"):
        UIVI(samples=0)
    with pytest.raises(ValueError, match=r"UIVI\(burn_in=...\) must not be negative, got -1"):
        UIVI(burn_in=-1)
