"""A sampler with several heads: its gradients, its shares, and what it finds of modes apart."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.avb import AVB
from methods.base import Budget
from methods.parts.adversarial.mixed_contrast import MixedContrast, log_mixture
from methods.parts.adversarial.several_maps import HeadedGame
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.networks.heads import HeadedSampler
from methods.parts.networks.pushforward_mixture import PushforwardMixture
from problems.base import Problem
from problems.mixture import Mixture

SIGMAS = 4.5  # every statistical tolerance, in standard errors
KNEE = 0.7  # nats; so tight that draws lie on both sides of it
SMALL: dict[str, Any] = {
    "iterations": 40,
    "batch": 32,
    "discriminator_batch": 32,
    "hidden": (16, 16),
    "width": 16,
    "blocks": 1,
    "heads": 4,
}


def last(method: AVB, problem: Problem, seed: int = 0) -> PushforwardMixture:
    *_, approximation = method.run(CountedTarget(problem), Budget(), Generator().manual_seed(seed))
    assert isinstance(approximation, PushforwardMixture)
    return approximation


def normals(loc: Tensor, covariance: Tensor) -> Any:
    return torch.distributions.MultivariateNormal(loc, covariance)


def mixture_of(contrast: MixedContrast) -> Any:
    shares = torch.distributions.Categorical(logits=contrast.log_weights)
    return torch.distributions.MixtureSameFamily(shares, normals(contrast.loc, contrast.covariance))


@pytest.mark.parametrize("based", [False, True])
def test_the_gradient_by_hand_is_that_of_autograd_and_a_head_alone_is_the_same_map(
    based: bool,
) -> None:
    generator = Generator().manual_seed(0)
    locs, factors = torch.randn(3, 2, generator=generator), torch.rand(3, 2, 2, generator=generator)
    base = GaussianMixture(
        torch.full((3,), 1 / 3, dtype=torch.float64), locs.double(), factors.tril().double()
    )
    sampler = HeadedSampler(3, 2, (8, 7, 6), base if based else None)
    weights = sampler.init(generator, 1.3).double()
    weights += 0.1 * torch.randn(weights.shape, generator=generator)
    eps, direction = (torch.randn(3, 50, 2, generator=generator).double() for _ in range(2))
    leaf = weights.clone().requires_grad_()
    (by_autograd,) = torch.autograd.grad(sampler.forward(leaf, eps)[0], leaf, direction)
    z, hidden = sampler.forward(weights, eps)
    torch.testing.assert_close(sampler.gradient(weights, eps, hidden, direction), by_autograd)
    for k, head in enumerate(sampler.at_rest(weights, torch.zeros(3).double(), {}).heads):
        torch.testing.assert_close(head.forward(eps[k]), z[k])


def test_the_untrained_heads_have_the_spread_asked_for() -> None:
    generator = Generator().manual_seed(2)
    spreads = []
    for _ in range(40):
        sampler = HeadedSampler(4, 3, (64, 64))
        weights = sampler.init(generator, 3.0)
        q = sampler.at_rest(weights, torch.zeros(4).double(), {})
        spreads.append(q.sample(2000, generator).var())
    assert float(torch.stack(spreads).mean().sqrt()) == pytest.approx(3.0, rel=0.15)


def test_draws_are_of_each_head_by_its_share_and_in_no_order() -> None:
    sampler = HeadedSampler(3, 1, (4,))
    weights = sampler.init(Generator().manual_seed(0), 1e-3)
    weights[3:6] = torch.tensor([-1.0, 0.0, 1.0])  # the shifts, over their gain
    shares = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    draws = sampler.at_rest(weights, shares.log(), {}).sample(30_000, Generator().manual_seed(1))
    of = (draws[:, 0] / 10).round().long() + 1
    for half in of.chunk(2):
        seen = half.bincount(minlength=3) / len(half)
        assert ((seen - shares).abs() < SIGMAS * (shares * (1 - shares) / len(half)).sqrt()).all()


def test_the_contrast_is_a_mixture_that_follows_the_heads() -> None:
    generator = Generator().manual_seed(0)
    draws = torch.randn(3, 5000, 2, generator=generator, dtype=torch.float64)
    draws = draws * torch.tensor([[[0.5]], [[1.0]], [[2.0]]]) + torch.arange(3).view(3, 1, 1)
    contrast = MixedContrast.of(torch.randn(3, 50, 2, generator=generator, dtype=torch.float64))
    for _ in range(600):
        contrast.follow(draws, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(contrast.loc, draws.mean(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(contrast.covariance[2], draws[2].T.cov(), rtol=1e-4, atol=1e-4)
    loc, _, inverse, constant, middle, turn = contrast.frame
    z = draws[1, :50].clone().requires_grad_()
    log_r, slope = log_mixture(z, loc, inverse, constant)
    torch.testing.assert_close(log_r, mixture_of(contrast).log_prob(z))
    torch.testing.assert_close(slope, torch.autograd.grad(log_r.sum(), z)[0])
    u = (draws.flatten(0, 1) - middle) @ turn.T
    torch.testing.assert_close(u.T.cov(), torch.eye(2).double(), rtol=1e-2, atol=1e-2)


def test_a_head_with_too_much_mass_loses_it() -> None:
    contrast = MixedContrast.of(
        torch.randn(2, 50, 2, generator=Generator().manual_seed(0)).double()
    )
    draws = torch.randn(2, 50, 2, generator=Generator().manual_seed(1)).double()
    for _ in range(20):
        contrast.follow(draws, torch.tensor([1.0, 0.0], dtype=torch.float64))
    shares = contrast.log_weights.exp()
    assert shares[0] < 0.49
    assert float(shares.sum()) == pytest.approx(1)


@pytest.mark.parametrize("informed", [True, False])
def test_gradients_are_those_of_the_objective(
    informed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both players' hand-made gradients against autograd through every part, halfway in the
    annealing, with unequal heads and a tight knee.
    """
    monkeypatch.setattr("methods.parts.adversarial.hints.KNEE", KNEE)
    problem, method = Mixture(), AVB(**SMALL, informed=informed, scale=1.3, lookahead=0.7)
    game = HeadedGame(method, CountedTarget(problem), Generator().manual_seed(5), 4)
    game.play(0.1)
    uneven = torch.tensor([1.0, 0.0, 0.0, -1.0], dtype=torch.float64)
    game.contrast.log_weights = (game.contrast.log_weights + uneven).log_softmax(0)
    game.contrast.follow(torch.randn(4, 9, 2, generator=game.generator).double(), uneven)
    game.heat, game.cold = 0.4, 0.2
    r, start = mixture_of(game.contrast), normals(torch.zeros(2), 1.69 * torch.eye(2))
    *_, middle, turn = game.frame

    def excess(z: Tensor) -> Tensor:
        path = game.heat * problem.log_density(z) + game.cold * (
            start.log_prob(z) + 2 * math.log(1.3)
        )
        value: Tensor = path - r.log_prob(z) - game.level
        return value

    def verdict(z: Tensor, rival: Tensor) -> Tensor:
        u = (z - middle) @ turn.T
        if not informed:
            return game.discriminator(rival, u.float())
        hint = excess(z).clamp(-KNEE, KNEE)
        return game.discriminator(rival, torch.column_stack([u, hint]).float()) + hint

    drawn = game.draw()
    inputs, hints = game.lessons(*drawn.lessons)
    found, _ = game.push(game.rival, inputs[-1], hints[-1], game.shares[0])
    rival, shares = game.rival.clone().requires_grad_(), game.contrast.log_weights.exp()
    of_q, of_r = drawn.lessons[0][-1].chunk(2)
    rows = torch.nn.functional.softplus(
        torch.cat([-verdict(of_q, rival), verdict(of_r, rival)])
    ).view(2, 4, 8)
    (rows.mean((0, 2)) @ shares.to(rows.dtype)).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found, rival.grad, rtol=1e-3, atol=1e-5)

    weights = game.weights.clone().requires_grad_()
    z = game.sampler.forward(weights, drawn.eps)[0].double().flatten(0, 1)
    torch.testing.assert_close(z, drawn.z, rtol=1e-5, atol=1e-5)
    gain = excess(z).clamp(max=KNEE) if informed else excess(z)
    ahead = game.rival + 0.7 * (game.rival - game.trail)
    loss = (verdict(z, ahead) - gain).view(4, 8).mean(1)
    (loss @ shares.to(loss.dtype)).backward()  # type: ignore[no-untyped-call]
    view = *game.view(drawn), *drawn.hidden
    found, _, above = game.pull(game.weights, game.rival, game.trail, *view)
    torch.testing.assert_close(found, weights.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(
        above.view(4, 8).mean(1).double(), loss.detach().double(), rtol=1e-3, atol=1e-4
    )


def test_heads_are_the_default_where_they_can_be_and_the_run_says_how_far_it_came() -> None:
    rest = {key: value for key, value in SMALL.items() if key != "heads"}
    assert AVB(**rest).several(3) == AVB(**rest).several(2) == 8
    assert AVB(**rest, affine=0).several(3) == 4
    assert AVB(**rest, affine=0).several(2) == 1
    for other in ({"contrast": "diagonal"}, {"noise_dim": 3}, {"skip": False}, {"batch": 30}):
        assert AVB(**{**rest, **other}).several(3) == 1
    plain = AVB(**SMALL, affine=0)
    first, *_ = plain.run(CountedTarget(Mixture()), Budget(), Generator().manual_seed(0))
    assert first is not None
    assert dict(first.diagnostics) == {"iterations": 1.0, "planned": 40.0}


def test_equal_generators_give_equal_draws() -> None:
    draws = [
        last(AVB(**SMALL), Mixture(), seed).sample(20, Generator().manual_seed(0))
        for seed in (3, 3, 4)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_modes_apart_are_found_without_a_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    # the run is that short
    monkeypatch.setattr("methods.parts.adversarial.mixed_contrast.STEP", 0.02)
    method = AVB(
        iterations=400,
        batch=128,
        discriminator_batch=64,
        hidden=(16, 16),
        width=32,
        blocks=1,
        heads=4,
        affine=0,
        sampler_lr=1e-3,
    )
    draws = last(method, Mixture(weight=0.3)).sample(20_000, Generator().manual_seed(0))
    assert float((draws.sum(-1) < 0).double().mean()) == pytest.approx(0.3, abs=0.08)
    centre = (draws.abs() - 2).abs().max(-1).values < 1.5  # three standard deviations
    assert float(centre.double().mean()) > 0.97
