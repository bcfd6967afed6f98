"""A smoothed density of draws in the plane, beside densities that are known."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.metrics.models.gaussian_mixture import Gaussians, choose
from bench.metrics.models.smoothed import Smoothed, smoothed
from tests.helpers.metric_cases import normal, rng


def made(draws: Tensor) -> tuple[Smoothed, Gaussians]:
    fit, choosing = draws[:80_000], draws[80_000:]
    mixture = choose(fit[:8000], choosing[:2000], (1, 2, 4, 8), rng(3))
    return smoothed(fit, choosing, mixture), mixture


def test_it_integrates_to_one_and_is_near_a_gaussian_everywhere() -> None:
    density, _ = made(normal(rng(0), 90_000, 2) * torch.tensor([1.0, 0.1]))
    axes = torch.linspace(-8, 8, 1601).double(), torch.linspace(-0.8, 0.8, 801).double()
    values = density.log_prob(torch.cartesian_prod(*axes)).exp()
    assert 0.995 < float(values.sum()) * 0.01 * 0.002 < 1.001
    at = normal(rng(1), 2000, 2)
    true = -0.5 * at.square().sum(1) - math.log(2 * math.pi) - math.log(0.1)
    gap = true - density.log_prob(at * torch.tensor([1.0, 0.1]))
    assert abs(float(gap.mean())) < 0.01
    assert float(gap.std()) < 0.1


def test_it_follows_an_edge_that_a_mixture_of_gaussians_cannot() -> None:
    density, mixture = made(normal(rng(0), 90_000, 2).abs())
    at = normal(rng(1), 4000, 2).abs()
    true = -0.5 * at.square().sum(1) - math.log(math.pi / 2)
    lost, by_mixture = (float((true - one.log_prob(at)).mean()) for one in (density, mixture))
    assert 0 < lost < by_mixture / 2


def test_far_from_all_draws_the_other_density_is_left() -> None:
    density, mixture = made(normal(rng(0), 90_000, 2))
    far = torch.tensor([[20.0, 0.0], [0.0, -9.0]]).double()
    torch.testing.assert_close(
        density.log_prob(far), mixture.log_prob(far) + math.log(density.share)
    )
