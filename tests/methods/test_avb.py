"""AVB's gradients are those of its objective, its map has the Jacobian it says, and what it trains
finds the posterior.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.avb import AVB
from methods.base import Budget, Pushforward
from methods.parts.adversarial.contrast import Contrast
from methods.parts.adversarial.one_map import Game
from methods.parts.networks.discriminator import Activation, Discriminator
from methods.parts.networks.sampler import Sampler, SamplerNetwork
from methods.parts.optimisation.adam import Adam
from methods.parts.record import Recorded
from problems.base import Problem
from problems.mixture import Mixture

SIGMAS = 4.5  # every statistical tolerance, in standard errors
SMALL: dict[str, Any] = {
    "iterations": 40,
    "batch": 32,
    "discriminator_batch": 32,
    "hidden": (16, 16),
    "width": 16,
    "blocks": 1,
    "heads": 1,
}
KNEE = 0.7  # nats; so tight that draws lie on both sides of it
CONTRASTS = ("none", "diagonal", "full")


class Tilted(Problem):
    """A Gaussian in the plane, correlated, off the origin and not normalised."""

    name: ClassVar[str] = "tilted"
    dim: ClassVar[int] = 2
    truth: Any = None
    mean = torch.tensor([1.0, -0.5], dtype=torch.float64)
    factor = torch.tensor([[1.5, 0.0], [0.8, 0.5]], dtype=torch.float64)
    log_z = 3.0

    def log_density(self, z: Tensor) -> Tensor:
        u: Tensor = torch.linalg.solve_triangular(self.factor, (z - self.mean).T, upper=False).T
        constant = self.log_z - float(self.factor.diagonal().log().sum()) - math.log(2 * math.pi)
        return constant - 0.5 * u.square().sum(-1)


class Broken(Tilted):
    """No density anywhere."""

    def log_density(self, z: Tensor) -> Tensor:
        return z.sum(-1) * math.nan


def last(
    method: AVB, problem: Problem, seed: int = 0, budget: Budget | None = None
) -> SamplerNetwork:
    *_, approximation = method.run(
        CountedTarget(problem), budget or Budget(), Generator().manual_seed(seed)
    )
    assert isinstance(approximation, SamplerNetwork)
    return approximation


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def gaussian_log_prob(z: Tensor, loc: Tensor, covariance: Tensor) -> Tensor:
    density = torch.distributions.MultivariateNormal(loc.double(), covariance.double())
    value: Tensor = density.log_prob(z)  # type: ignore[no-untyped-call]
    return value


def divergence(
    approximation: Pushforward, problem: Problem, log_z: float, n: int = 20_000
) -> tuple[float, float, float]:
    """KL(q||p) by the Jacobian, its standard error, and the share of draws on which det J is
    positive.
    """
    eps = normal(n, problem.dim, seed=9)
    sign, log_det = torch.linalg.slogdet(approximation.jacobian(eps))
    log_q = -0.5 * eps.square().sum(-1) - 0.5 * problem.dim * math.log(2 * math.pi) - log_det
    gap = log_q - problem.log_density(approximation.forward(eps)) + log_z
    return float(gap.mean()), float(gap.std()) / math.sqrt(n), float((sign > 0).double().mean())


def test_equal_generators_give_equal_weights_and_global_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    runs = [last(AVB(**SMALL), Mixture(), seed) for seed in (3, 3, 4)]
    assert torch.equal(runs[0].weights, runs[1].weights)
    assert not torch.equal(runs[0].weights, runs[2].weights)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    ("noise_dim", "dim", "hidden"), [(2, 2, (8,)), (3, 3, (6, 5)), (5, 2, (7, 4, 6)), (1, 3, (4,))]
)
def test_jacobian_by_hand_is_that_of_autograd(
    noise_dim: int, dim: int, hidden: tuple[int, ...], skip: bool
) -> None:
    sampler = Sampler(noise_dim, dim, hidden, skip)
    approximation = SamplerNetwork(sampler, sampler.init(Generator().manual_seed(1), 1.5))
    eps = 2 * normal(9, noise_dim)
    by_hand = approximation.jacobian(eps)
    assert by_hand.shape == (9, dim, noise_dim)
    torch.testing.assert_close(
        by_hand, Pushforward.jacobian(approximation, eps), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("skip", [True, False])
def test_the_untrained_sampler_has_the_spread_asked_for(skip: bool) -> None:
    sampler = Sampler(4, 4, (64, 64), skip)
    draws = SamplerNetwork(sampler, sampler.init(Generator().manual_seed(2), 3.0)).sample(
        20_000, Generator().manual_seed(1)
    )
    torch.testing.assert_close(
        draws.std(0), torch.full((4,), 3.0, dtype=torch.float64), rtol=0.1, atol=0
    )
    assert draws.mean(0).abs().max() < 0.6


def test_what_was_yielded_stays_as_it_was() -> None:
    method = AVB(**SMALL, every=15)
    run = method.run(CountedTarget(Mixture()), Budget(), Generator().manual_seed(0))
    seen = [(q, q.sample(5, Generator().manual_seed(1))) for q in run]
    assert len(seen) == 4  # after 1, 15, 30 and 40 iterations
    for approximation, z in seen:
        assert z.dtype == torch.float64
        assert torch.equal(z, approximation.sample(5, Generator().manual_seed(1)))
    assert not torch.equal(seen[0][1], seen[-1][1])


@pytest.mark.parametrize(
    ("contrast", "informed", "noise_dim"),
    [
        ("none", True, None),
        ("none", False, None),
        ("diagonal", False, 5),
        ("diagonal", True, 1),
        ("full", True, 5),
    ],
)
def test_every_variant_runs(contrast: Any, informed: bool, noise_dim: int | None) -> None:
    method = AVB(**SMALL, contrast=contrast, informed=informed, noise_dim=noise_dim)
    approximation = last(method, Tilted())
    assert approximation.noise_dim == (noise_dim or 2)
    assert approximation.sample(7, Generator().manual_seed(0)).isfinite().all()


@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("informed", [True, False])
def test_gradients_are_those_of_the_objective(
    contrast: Any, informed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both players' hand-made gradients against autograd through every part, halfway in the
    annealing, with a tight knee.
    """
    monkeypatch.setattr("methods.parts.adversarial.hints.KNEE", KNEE)
    problem = Tilted()
    method = AVB(**SMALL, contrast=contrast, informed=informed, scale=1.3, lookahead=0.7)
    game = Game(method, CountedTarget(problem), Generator().manual_seed(5))
    game.play(0.1)
    game.heat, game.cold = 0.4, 0.2

    def excess(z: Tensor) -> Tensor:
        return log_path(z) - log_r(z) - game.level

    def verdict(z: Tensor, rival: Tensor) -> Tensor:
        u = (z - game.contrast.loc) @ game.contrast.inverse.T
        if not informed:
            return game.discriminator(rival, u.float())
        hint = excess(z).clamp(-KNEE, KNEE)
        return game.discriminator(rival, torch.column_stack([u, hint]).float()) + hint

    def log_path(z: Tensor) -> Tensor:
        return game.heat * problem.log_density(z) + game.cold * gaussian_log_prob(
            z / 1.3, torch.zeros(2), torch.eye(2)
        )

    def log_r(z: Tensor) -> Tensor:
        return gaussian_log_prob(z, game.contrast.loc, game.contrast.covariance)

    drawn = game.draw()
    inputs, hints = game.lessons(*drawn.lessons)
    found, norm = game.push(game.rival, inputs[-1], hints[-1], game.shares[0])
    rival = game.rival.clone().requires_grad_()
    from_q, from_r = drawn.lessons[0][-1].chunk(2)
    labels = torch.cat([torch.ones(32), torch.zeros(32)])
    verdicts = torch.cat([verdict(from_q, rival), verdict(from_r, rival)])
    torch.nn.functional.binary_cross_entropy_with_logits(
        verdicts, labels.to(verdicts.dtype)
    ).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found, rival.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(norm, found.norm())

    weights = game.weights.clone().requires_grad_()
    z = game.sampler(weights, drawn.eps).double()
    torch.testing.assert_close(z, drawn.z, rtol=1e-5, atol=1e-5)
    gain = excess(z).clamp(max=KNEE) if informed else excess(z)
    assert 0 < (excess(z) > KNEE).sum() + (excess(z) < -KNEE).sum() < 32
    ahead = game.rival + 0.7 * (game.rival - game.trail)
    (verdict(z, ahead) - gain).mean().backward()  # type: ignore[no-untyped-call]
    view = *game.view(drawn), *drawn.hidden
    found, *_ = game.pull(game.weights, game.rival, game.trail, *view)
    torch.testing.assert_close(found, weights.grad, rtol=1e-3, atol=1e-5)


def test_draws_of_q_are_the_samplers_and_those_of_r_have_its_moments() -> None:
    method = AVB(**{**SMALL, "discriminator_batch": 4000, "steps": 2}, noise_dim=3)
    game = Game(method, CountedTarget(Tilted()), Generator().manual_seed(5))
    generator = Generator()
    generator.set_state(game.generator.get_state())
    drawn = game.draw()
    z, u = drawn.lessons
    assert z.shape == u.shape == (2, 8000, 2)
    eps = torch.randn(8032, 3, generator=generator)
    by_hand = game.sampler(game.weights, eps).double()
    torch.testing.assert_close(z[:, :4000].flatten(0, 1), by_hand[:8000], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(u, game.contrast.standardise(z))
    r = z[:, 4000:].flatten(0, 1)
    spread = game.contrast.covariance.diagonal().sqrt()
    assert ((r.mean(0) - game.contrast.loc).abs() < SIGMAS * spread / math.sqrt(8000)).all()
    torch.testing.assert_close(torch.cov(r.T), game.contrast.covariance, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("activation", ["silu", "leaky-relu"])
@pytest.mark.parametrize("width", [8, 256])  # the wide one multiplies by another library
def test_the_discriminators_gradients_by_hand_are_those_of_autograd(
    activation: Activation, width: int
) -> None:
    discriminator = Discriminator(3, width, 2, activation)
    generator = Generator().manual_seed(0)
    weights = discriminator.init(generator)
    x, offset = torch.randn(256, 3, generator=generator), torch.randn(256, generator=generator)
    leaf, at = weights.clone().requires_grad_(), x.clone().requires_grad_()
    verdict = discriminator(leaf, at)
    labels = torch.cat([torch.ones(128), torch.zeros(128)])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(verdict + offset, labels)
    (by_weights,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    (by_input,) = torch.autograd.grad(verdict.sum(), at)
    found = discriminator.loss_gradient(weights, x, offset)
    torch.testing.assert_close(found, by_weights, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(discriminator.slope(weights, x), by_input, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [8, 128])
def test_the_samplers_gradient_by_hand_is_that_of_autograd(width: int) -> None:
    sampler = Sampler(3, 2, (width, width))
    generator = Generator().manual_seed(0)
    weights = sampler.init(generator, 1.5)
    eps, direction = (torch.randn(512, n, generator=generator) for n in (3, 2))
    leaf = weights.clone().requires_grad_()
    z, hidden = sampler.forward(weights, eps)
    torch.testing.assert_close(z, sampler(leaf, eps), rtol=1e-4, atol=1e-5)
    (by_autograd,) = torch.autograd.grad(sampler(leaf, eps), leaf, direction)
    found = sampler.gradient(weights, eps, hidden, direction)
    torch.testing.assert_close(found, by_autograd, rtol=1e-4, atol=1e-4)


def test_the_update_is_that_of_torchs_adam_with_clipping() -> None:
    generator = Generator().manual_seed(0)
    weights = torch.randn(50, generator=generator)
    leaf = weights.clone().requires_grad_()
    ours, theirs = Adam(weights, 0.5, 3.0), torch.optim.Adam([leaf], lr=0.1, betas=(0.5, 0.999))
    for size in (0.1, 10.0, 0.3):
        gradient = size * torch.randn(50, generator=generator)
        leaf.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([leaf], 3.0)
        theirs.step()
        ours.step(gradient, gradient.norm(), 0.1)
        torch.testing.assert_close(weights, leaf.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gradients", [1, 1000, 1279, 10_000])
def test_the_run_is_planned_within_the_gradients(gradients: int) -> None:
    method, target = AVB(**SMALL), CountedTarget(Tilted())
    budget = Budget(gradients=gradients)
    count = sum(1 for _ in method.run(target, budget, Generator().manual_seed(0)))
    assert method.planned(budget) == max(1, min(40, gradients // 32))
    assert target.gradients == 32 * method.planned(budget)
    assert count >= 1


def test_a_shorter_budget_makes_a_whole_schedule_not_a_cut_one() -> None:
    short = last(AVB(**SMALL), Tilted(), budget=Budget(gradients=32 * 25))
    assert torch.equal(short.weights, last(AVB(**{**SMALL, "iterations": 25}), Tilted()).weights)


def test_a_correlated_gaussian_is_found() -> None:
    method = AVB(
        iterations=400,
        batch=128,
        discriminator_batch=64,
        hidden=(16,),
        width=32,
        blocks=1,
        heads=1,
        sampler_lr=2e-3,
    )
    kl, stderr, positive = divergence(last(method, Tilted()), Tilted(), Tilted.log_z)
    assert positive == 1.0
    assert -SIGMAS * stderr < kl < 0.03


def test_both_modes_are_found() -> None:
    method = AVB(
        iterations=400,
        batch=128,
        discriminator_batch=64,
        hidden=(32, 32),
        width=32,
        blocks=1,
        heads=1,
        sampler_lr=2e-3,
    )
    draws = last(method, Mixture()).sample(4000, Generator().manual_seed(0))
    share = float((draws.sum(-1) > 0).double().mean())
    assert 0.3 < share < 0.7
    centre = (draws.abs() - 2).abs().max(-1).values < 1.5  # three standard deviations
    assert float(centre.double().mean()) > 0.75


def test_the_discriminator_learns_a_known_log_ratio() -> None:
    """q = N(m, I) against r = N(0, I): log q - log r = m.x - |m|^2 / 2, its slope m."""
    m = torch.tensor([1.0, -0.5])
    discriminator, generator = Discriminator(2, 16, 1), Generator().manual_seed(0)
    weights = discriminator.init(generator)
    adam = torch.optim.Adam([weights])
    gradient = Recorded(discriminator.loss_gradient)
    steps = 1500
    for i in range(steps):
        adam.param_groups[0]["lr"] = 1e-2 * (1 - i / steps)
        x = torch.randn(1024, 2, generator=generator)
        x[:512] += m
        weights.grad = gradient(weights, x, torch.zeros(1024))
        adam.step()
    x = torch.randn(4000, 2, generator=generator) + m
    error = discriminator(weights, x) - (x @ m - 0.5 * m @ m)
    assert float(error.square().mean().sqrt()) < 0.15
    torch.testing.assert_close(discriminator.slope(weights, x).mean(0), m, rtol=0, atol=0.1)


@pytest.mark.parametrize("kind", CONTRASTS)
def test_contrast_follows_the_moments_of_its_draws(kind: Any) -> None:
    draws = normal(5000, 2) @ Tilted.factor.T + Tilted.mean
    contrast = Contrast(kind, normal(50, 2))
    for _ in range(600):
        contrast.follow(draws)
    covariance = {
        "none": torch.eye(2).double(),
        "diagonal": torch.cov(draws.T).diagonal().diag(),
        "full": torch.cov(draws.T),
    }
    torch.testing.assert_close(contrast.covariance, covariance[kind], rtol=1e-4, atol=1e-4)
    u = contrast.standardise(draws)
    torch.testing.assert_close(contrast.restore(u), draws)
    torch.testing.assert_close(
        contrast.log_prob(u), gaussian_log_prob(draws, contrast.loc, contrast.covariance)
    )


def test_divergence_says_what_to_try() -> None:
    with pytest.raises(FloatingPointError, match="not finite at 32 of 32 points"):
        last(AVB(**SMALL), Broken())
    with pytest.raises(FloatingPointError, match="sampler_lr"):
        Contrast("full", torch.full((5, 2), math.nan, dtype=torch.float64))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contrast", "half"),
        ("iterations", 0),
        ("batch", 1),
        ("steps", 0),
        ("discriminator_batch", 0),
        ("noise_dim", 0),
        ("heads", 0),
        ("heads", 3),
        ("hidden", ()),
        ("hidden", (8, 0)),
        ("width", 0),
        ("blocks", -1),
        ("activation", "relu"),
        ("sampler_lr", 0.0),
        ("discriminator_lr", math.inf),
        ("sampler_beta1", 1.0),
        ("discriminator_beta1", -0.1),
        ("lookahead", -1.0),
        ("final_lr", 1.5),
        ("clip", math.nan),
        ("scale", -1.0),
        ("anneal", 2.0),
        ("affine", 1.0),
        ("average", 1.0),
        ("every", 0),
    ],
)
def test_a_bad_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"AVB\({field}=") as caught:
        AVB(**{field: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"skip": False}, "skip is not True"),
        ({"contrast": "none"}, "contrast is not 'full'"),
        ({"noise_dim": 3}, "noise_dim is not None"),
        ({"batch": 101}, "batch, 101, is not"),
        ({"discriminator_batch": 2}, "discriminator_batch, 2, is not"),
    ],
)
def test_what_several_heads_do_not_go_with_is_said(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"AVB\(heads=.* where {message}.* got 2"):
        AVB(heads=2, **fields)
