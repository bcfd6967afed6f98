"""AVB's heads begin at a mixture of Gaussians: what it finds, what it costs, and that the game
keeps it.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.avb import AVB
from methods.base import Approximation, Budget
from methods.parts.adversarial.affine import Metered, SpentError, fitted, split
from methods.parts.adversarial.several_maps import HeadedGame
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.networks.pushforward_mixture import PushforwardMixture
from problems.base import Problem
from problems.gaussian import Gaussian100
from problems.mixture import Mixture

SIGMAS = 4.5  # every statistical tolerance, in standard errors
SHORT: dict[str, Any] = {
    "iterations": 600,
    "batch": 64,
    "discriminator_batch": 32,
    "hidden": (16, 16),
    "width": 16,
    "blocks": 1,
    "heads": 4,
    "affine": 0.9,
}
NEEDLE = Gaussian100(dim=10, condition=1e4)


class Far(Mixture):
    """Two bumps, with a density far from the origin alone."""

    def log_density(self, z: Tensor) -> Tensor:
        return torch.where(z.abs().amax(-1) > 2.5, super().log_density(z), math.nan)


def last(method: AVB, problem: Problem, seed: int = 0) -> PushforwardMixture:
    *_, q = method.run(CountedTarget(problem), Budget(), Generator().manual_seed(seed))
    assert isinstance(q, PushforwardMixture)
    return q


def excess(q: Approximation, problem: Problem, n: int = 4000) -> Tensor:
    """Log q - log p at draws of a mixture of Gaussians, [n]."""
    z = q.sample(n, Generator().manual_seed(1))
    log_q = q.log_prob(z)
    assert log_q is not None
    return log_q - problem.log_density(z)


def test_a_gaussian_is_found_in_its_own_units_and_takes_one_component() -> None:
    target = Metered(CountedTarget(NEEDLE), 200_000)
    *_, q = fitted(target, 4, Generator().manual_seed(0))
    assert len(q.weights) == 4
    assert excess(q, NEEDLE).abs().max() < 1e-3
    assert all(torch.equal(q.locs[0], loc) for loc in q.locs)


def test_the_game_keeps_a_gaussian_of_condition_ten_thousand() -> None:
    q = last(AVB(**SHORT), NEEDLE)
    eps = torch.randn(4, 1000, 10, generator=Generator().manual_seed(2), dtype=torch.float64)
    for head, noise in zip(q.heads, eps, strict=True):
        sign, log_det = torch.linalg.slogdet(head.jacobian(noise))
        assert (sign == sign[0]).all()
        log_q = -0.5 * noise.square().sum(-1) - 5 * math.log(2 * math.pi) - log_det
        gap = log_q - NEEDLE.log_density(head.forward(noise))
        assert abs(float(gap.mean())) < 0.03
        assert float(gap.std()) < 0.3


def test_modes_of_unequal_weight_are_kept_at_theirs_without_a_bridge() -> None:
    problem = Mixture(weight=0.3)
    draws = last(AVB(**SHORT), problem).sample(20_000, Generator().manual_seed(0))
    share = float((draws.sum(-1) < 0).double().mean())
    assert abs(share - 0.3) < 0.02 + SIGMAS * math.sqrt(0.21 / 20_000)
    centre = (draws.abs() - 2).abs().max(-1).values < 1.5  # three standard deviations
    assert float(centre.double().mean()) > 0.99


def test_a_mixture_that_leaves_something_is_given_more_components() -> None:
    problem = Mixture(separation=0.4, scale=0.5)  # one mode, no Gaussian
    found = list(fitted(Metered(CountedTarget(problem), 200_000), 4, Generator().manual_seed(0)))
    first, end = excess(found[0], problem, 20_000), excess(found[-1], problem, 20_000)
    assert all(torch.equal(found[0].locs[0], loc) for loc in found[0].locs)
    assert float(end.mean()) < float(first.mean()) - 0.01
    assert -SIGMAS * float(end.std()) / math.sqrt(20_000) < float(end.mean()) < 0.01


def test_split_leaves_the_density_as_it_is() -> None:
    generator = Generator().manual_seed(0)
    locs = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    factors = torch.eye(3).double().repeat(2, 1, 1)
    q = GaussianMixture(torch.tensor([0.8, 0.2], dtype=torch.float64), locs, factors)
    more = split(q, 5)
    torch.testing.assert_close(
        more.weights, torch.tensor([0.2, 0.2, 0.2, 0.2, 0.2], dtype=torch.float64)
    )
    z = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(more.log_prob(z), q.log_prob(z))


def test_the_game_begins_at_the_mixture_and_r_is_it() -> None:
    generator = Generator().manual_seed(3)
    locs = 5 * torch.randn(4, 2, generator=generator, dtype=torch.float64)
    factors = torch.randn(4, 2, 2, generator=generator, dtype=torch.float64).tril()
    factors.diagonal(dim1=-2, dim2=-1).abs_().add_(0.1)
    start = GaussianMixture(torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64), locs, factors)
    game = HeadedGame(AVB(**SHORT), CountedTarget(Mixture()), generator, 4, start)
    q = game.approximation({})
    eps = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    for head, loc, factor in zip(q.heads, locs, factors, strict=True):
        torch.testing.assert_close(head.forward(eps), loc + eps @ factor.T, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(q.log_weights.exp(), start.weights)
    torch.testing.assert_close(game.contrast.loc, locs)
    torch.testing.assert_close(game.contrast.covariance, factors @ factors.mT)


@pytest.mark.parametrize("gradients", [1, 100, 1000, 12_345])
def test_the_gradients_of_the_affine_maps_come_off_the_run(gradients: int) -> None:
    method, target = AVB(**SHORT), CountedTarget(Mixture())
    budget = Budget(gradients=gradients)
    told = [dict(q.diagnostics) for q in method.run(target, budget, Generator().manual_seed(0))]
    planned = method.planned(budget)
    assert target.gradients <= max(64, gradients)
    assert target.gradients > 64 * (planned - 1)
    assert told[-1] == {"iterations": planned, "planned": planned}
    assert all(a["iterations"] <= b["iterations"] for a, b in itertools.pairwise(told))


def test_what_is_granted_is_not_exceeded() -> None:
    counted = CountedTarget(Mixture())
    target = Metered(counted, 10)
    target.value_and_grad(torch.zeros(10, 2).double())
    with pytest.raises(SpentError):
        target.value_and_grad(torch.zeros(2).double())
    assert counted.gradients == target.spent == 10


def test_where_no_start_has_a_density_the_heads_begin_around_the_origin() -> None:
    target = CountedTarget(Far())
    assert not list(fitted(Metered(target, 10_000), 4, Generator().manual_seed(0)))
    with pytest.raises(FloatingPointError, match="change scale"):
        last(AVB(**SHORT), Far())
