"""A mixture of Gaussians is fitted to every mode, and its ELBO is the one it climbs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.base import Budget
from methods.gaussian_mixture_vb import GaussianMixtureVB
from methods.parts.gaussians.elbo import normals
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.gaussians.mixture_elbo import Chart, MixtureLoss
from problems.base import Problem
from problems.eight_schools import EightSchools
from problems.mixture import Mixture
from problems.ring import Ring
from problems.signed_eight_schools import SignedEightSchools
from tests.helpers.best_gaussian import least_divergence
from tests.methods.test_gaussian_vb import Normal

SIGMAS = 4.5  # every statistical tolerance, in standard errors
SHORT: dict[str, Any] = {"components": 4, "starts": 12, "max_draws": 128}


def fit(problem: Problem, seed: int = 0, **fields: Any) -> list[GaussianMixture]:
    run = GaussianMixtureVB(**fields).run(
        CountedTarget(problem), Budget(), Generator().manual_seed(seed)
    )
    return list(run)


def divergence(problem: Any, q: GaussianMixture) -> tuple[float, float]:
    """KL(q||p) at draws of q, and its standard error."""
    z = q.sample(10_000, Generator().manual_seed(1))
    terms = q.log_prob(z) - problem.log_density(z) + problem.truth.log_z
    return float(terms.mean()), float(terms.std()) / math.sqrt(len(z))


def mixture(dim: int = 3) -> GaussianMixture:
    generator = Generator().manual_seed(0)
    noise = torch.randn(2, dim, dim, generator=generator, dtype=torch.float64)
    factors = 0.3 * noise.tril(-1) + (0.5 + noise.diagonal(dim1=1, dim2=2).abs()).diag_embed()
    locs = torch.randn(2, dim, generator=generator, dtype=torch.float64)
    return GaussianMixture(torch.tensor([0.3, 0.7], dtype=torch.float64), locs, factors)


@pytest.mark.parametrize("problem", [Mixture(weight=0.3), Ring()], ids=lambda p: p.name)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_mode_is_found_with_its_weight(problem: Any, seed: int) -> None:
    """Without ever more draws: these are mixtures of Gaussians themselves."""
    q = fit(problem, seed, components=8, max_draws=128)[-1]
    kl, stderr = divergence(problem, q)
    assert kl < 0.01 + SIGMAS * stderr
    z = q.sample(20_000, Generator().manual_seed(1))
    shares = torch.bincount(problem.modes.label(z)) / len(z)
    assert shares.tolist() == pytest.approx(list(problem.modes.weights), abs=0.02)
    assert q.evidence is not None
    assert abs(q.evidence.log_z) < SIGMAS * q.evidence.stderr + 1e-3


def test_a_gaussian_is_found() -> None:
    problem = Normal(5, 100.0)
    q = fit(problem, components=2, starts=4)[-1]
    z = q.sample(4_000, Generator().manual_seed(1))
    assert float((q.log_prob(z) - problem.log_density(z)).mean()) < 0.005


def test_the_mirror_image_that_a_gaussian_leaves_out_is_found() -> None:
    problem = SignedEightSchools()
    kl, stderr = divergence(problem, fit(problem, **SHORT)[-1])
    assert kl < 0.3  # the best Gaussian has 1.18, of which log 2 is the other half's
    assert kl > -SIGMAS * stderr


def test_a_skewed_posterior_is_followed_better_than_by_any_gaussian() -> None:
    q = fit(EightSchools(), components=4, starts=12, max_draws=512)[-1]
    kl, _ = divergence(EightSchools(), q)
    assert kl < 0.6 * least_divergence("eight-schools", "full")


def test_the_loss_is_the_divergence_and_its_gradient_the_slope() -> None:
    problem, base = Mixture(), mixture(2)
    loss = MixtureLoss(CountedTarget(problem), normals(4096, 2, Generator().manual_seed(2)))
    kl, stderr = divergence(problem, base)
    assert abs(loss.here(base) - kl) < SIGMAS * stderr + 0.01
    small = MixtureLoss(loss.target, loss.eps[:64])
    chart = Chart(base)
    x = 0.1 * torch.randn(len(chart.origin), generator=Generator().manual_seed(3)).double()
    slope = small(chart, x)[1]
    for i in range(len(x)):
        step = torch.zeros_like(x).index_fill_(0, torch.tensor(i), 1e-5)
        rise = (small(chart, x + step)[0] - small(chart, x - step)[0]) / 2e-5
        assert float(slope[i]) == pytest.approx(rise, abs=1e-6)


def test_a_chart_is_its_mixture_at_the_origin() -> None:
    base = mixture()
    chart = Chart(base)
    q = chart.mixture(chart.origin)
    assert len(chart.origin) == 2 * (1 + 3 + 3 + 3)
    for one, other in (
        (q.weights, base.weights),
        (q.locs, base.locs),
        (q.scale_trils, base.scale_trils),
    ):
        torch.testing.assert_close(one, other)


def test_a_component_of_no_weight_is_left_out() -> None:
    base = mixture()
    chart = Chart(base)
    x = chart.origin
    x[0] = -20 * math.sqrt(0.3)  # its logit, in units of its weight
    q = chart.mixture(x)
    assert q.weights.tolist() == [1.0]
    torch.testing.assert_close(q.locs, base.locs[1:])


def test_improves_as_it_goes_and_leaves_alone_what_it_yielded() -> None:
    problem = EightSchools()
    target, copies, yielded = CountedTarget(problem), [], []
    method = GaussianMixtureVB(components=2, starts=2, max_draws=128)
    for q in method.run(target, Budget(), Generator().manual_seed(0)):
        yielded.append(q)
        copies.append((q.weights.clone(), q.locs.clone(), q.scale_trils.clone()))

    def same(q: GaussianMixture, kept: tuple[Tensor, Tensor, Tensor]) -> bool:
        parts = (q.weights, q.locs, q.scale_trils)
        return all(torch.equal(a, b) for a, b in zip(parts, kept, strict=True))

    assert all(same(q, kept) for q, kept in zip(yielded, copies, strict=True))
    assert divergence(problem, yielded[0])[0] > divergence(problem, yielded[-1])[0] + 0.05


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"components": 0}, r"GaussianMixtureVB\(components=...\) must be at least 1, got 0"),
        ({"starts": 0}, r"GaussianMixtureVB\(starts=...\) must be at least 1, got 0"),
        ({"max_draws": 8}, r"GaussianMixtureVB\(max_draws=...\) must be at least draws, 128"),
        ({"tolerance": 0.0}, r"GaussianMixtureVB\(tolerance=...\) must be positive and finite"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianMixtureVB(**fields)
