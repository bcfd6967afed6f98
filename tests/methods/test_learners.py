"""Learners: what they learn of data whose optimum is known, and what every one of them keeps to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.distributions import Bernoulli, Normal

from methods.amortised.avb import AmortisedAVB, Coder, Discriminator
from methods.amortised.base import Learned, Learner
from methods.amortised.iwae import IWAE
from methods.amortised.noise import Coefficients, Plain
from methods.amortised.vae import VAE
from methods.amortised.vae_flow import FlowVAE
from methods.base import Budget, NotApplicableError, Pushforward
from problems.generative.base import Decoder, GenerativeModel, perceptron
from problems.generative.fixed_decoder import FixedDecoder
from problems.generative.four_points import FourPoints
from problems.generative.parts.latent_grid import log_prior
from tests.helpers.pretend_card import pretended

SMALL: dict[str, Any] = {"hidden": (16,), "batch": 64, "lr": 1e-2}
RIVAL: dict[str, Any] = {
    **SMALL,
    "hidden": (32,),
    "width": 32,
    "blocks": 1,
    "noise_dim": 4,
    "steps": 1,
    "lr": 3e-3,
    "discriminator_lr": 4e-3,
}
LEARNERS: dict[str, Learner] = {
    "vae": VAE(**SMALL),
    "vae-full": VAE(full=True, **SMALL),
    "iwae": IWAE(k=4, **SMALL),
    "vae-flow": FlowVAE(transforms=1, **SMALL),
    "avb": AmortisedAVB(**RIVAL),
    "avb-contrast": AmortisedAVB(contrast=True, draws=16, **RIVAL),
    "avb-parts": AmortisedAVB(contrast=True, parts=4, **RIVAL),
}
every_learner = pytest.mark.parametrize("name", list(LEARNERS))


@dataclass
class Seen:
    """A model as a learner sees it."""

    model: GenerativeModel
    rows: int = 0

    @property
    def latent_dim(self) -> int:
        return self.model.latent_dim

    @property
    def train(self) -> Tensor:
        return self.model.train

    def batch(self, n: int, generator: Generator) -> Tensor:
        return self.model.batch(n, generator)

    def decoder(self, generator: Generator) -> Decoder:
        return self.model.decoder(generator)

    def charge(self, rows: int) -> None:
        self.rows += rows


def learner(name: str, iterations: int) -> Learner:
    if name == "vae-flow":
        pytest.importorskip("zuko")
    changed: Any = replace(LEARNERS[name], iterations=iterations)  # type: ignore[type-var]
    return changed  # type: ignore[no-any-return]


def last(found: Learner, model: GenerativeModel, seed: int = 0, **budget: int) -> Learned:
    seen = Seen(model)
    generator = torch.Generator().manual_seed(seed)
    return list(found.run(seen, Budget(**budget), generator))[-1]


def figures(learned: Learned, model: GenerativeModel) -> tuple[Tensor, Tensor]:
    """What the decoder makes of five z, and three draws of the encoder for each x of the test."""
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = learned.encoder.sample(model.test, 3, torch.Generator().manual_seed(0))
    return learned.decoder(z), draws


def evidence(learned: Learned, x: Tensor) -> Tensor:
    """log p(x) of each x on a grid of the plane, [N]."""
    axis = torch.linspace(-7, 7, 281, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    joint = learned.decoder.pairs(x.double(), z) + log_prior(z)[:, None]
    return joint.logsumexp(0) + 2 * math.log(14 / 280)


@pytest.mark.parametrize(
    ("name", "iterations"), [("vae", 300), ("iwae", 300), ("avb", 900), ("avb-contrast", 1200)]
)
def test_a_learner_gets_the_four_points_above_what_independent_bits_reach(
    name: str, iterations: int
) -> None:
    model = FourPoints(hidden=(32,))
    learned = last(learner(name, iterations), model)
    marginal = math.log(0.25) + 3 * math.log(0.75)  # each bit by itself: z tells nothing
    assert evidence(learned, model.test).mean() > marginal + 0.3
    z = learned.encoder.sample(model.test, 500, torch.Generator().manual_seed(0))
    likelihood = learned.decoder.log_likelihood(model.test.double().unsqueeze(1), z)
    assert likelihood.mean() > marginal + 0.8


@every_learner
def test_a_learner_keeps_to_its_generator_its_budget_and_a_decoder_that_is_given(
    name: str,
) -> None:
    state = torch.get_rng_state()
    model, cost = FixedDecoder(), {"iwae": 4 * 64, "avb": 3 * 64, "avb-contrast": 3 * 64}
    cost["avb-parts"] = 3 * 64
    runs = []
    for seed in (0, 0, 1):
        seen = Seen(model)
        budget = Budget(gradients=3 * cost.get(name, 64) + 1)
        generator = torch.Generator().manual_seed(seed)
        runs.append(list(learner(name, 100).run(seen, budget, generator)))
        assert seen.rows == 3 * cost.get(name, 64)
    assert torch.equal(state, torch.get_rng_state())
    draws = [
        [step.encoder.sample(model.test[:2], 4, torch.Generator().manual_seed(0)) for step in run]
        for run in runs
    ]
    assert torch.equal(draws[0][-1], draws[1][-1])
    assert not torch.equal(draws[0][-1], draws[2][-1])
    assert not torch.equal(draws[0][0], draws[0][-1])  # the first has not learned on
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    learned = runs[0][-1]
    assert torch.equal(learned.decoder(z), model.decoder().at_rest()(z))
    q = learned.encoder.at(model.test[0])
    assert q.sample(3, torch.Generator()).dtype == torch.float64
    density = q.log_prob(z)
    assert (density is None) == name.startswith("avb")
    assert isinstance(q, Pushforward) == (density is None)


@pytest.mark.parametrize("full", [False, True])
def test_a_vae_finds_a_posterior_that_is_of_its_family(
    full: bool,
) -> None:
    """A decoder with flat logits leaves the prior as the posterior of every x."""
    model = FixedDecoder(gain=1e-6, tilt=0.0)
    learned = last(VAE(full=full, iterations=300, **SMALL), model)
    z = learned.encoder.sample(model.test[:3], 4000, torch.Generator().manual_seed(0))
    density = learned.encoder.log_prob(model.test[:3], z)
    assert density is not None
    assert (density - log_prior(z)).mean(1).abs().max() < 0.01


def test_the_density_of_a_flow_is_that_of_its_draws() -> None:
    learned = last(learner("vae-flow", 100), FixedDecoder())
    x = FixedDecoder().test[0]
    q = learned.encoder.at(x)
    axis = torch.linspace(-8, 8, 161, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    density = q.log_prob(z)
    assert density is not None
    mass = density.exp() * 0.01
    assert abs(mass.sum() - 1) < 0.01
    draws = q.sample(20_000, torch.Generator().manual_seed(0))
    spread = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - mass @ z) / spread).abs().max() < 5


def test_a_discriminator_depends_on_x_and_on_z() -> None:
    """Of the reported troubles, one is a discriminator that sees z alone."""
    generator = torch.Generator().manual_seed(0)
    network = Discriminator(6, 2, 16, 1, generator)
    x, z = torch.randn(4, 6, generator=generator), torch.randn(4, 2, generator=generator)
    x.requires_grad_()
    z.requires_grad_()
    by_x, by_z = torch.autograd.grad(network(x, z).sum(), (x, z))
    assert (by_x.norm(dim=1) > 0).all()
    assert (by_z.norm(dim=1) > 0).all()


@pytest.mark.parametrize("contrast", [False, True])
def test_the_terms_of_avbs_objective_are_nats_of_a_whole_x_and_none_is_scaled_by_its_pixels(
    contrast: bool,
) -> None:
    generator = torch.Generator().manual_seed(0)
    decoder = FixedDecoder().decoder()
    x = FixedDecoder().test[:8].repeat_interleave(8, 0)
    network = Plain(perceptron((x.shape[1] + 3, 16, 2), generator), 3, 8)
    eps = torch.randn(len(x), 3, generator=generator)
    with torch.no_grad():
        z, u, excess, likelihood = Coder(network, decoder, contrast)(x, eps, True)
        loc, scale = network.moments(x, eps)[1:] if contrast else (torch.zeros(2), torch.ones(2))
        bits = Bernoulli(logits=decoder(z)).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(likelihood, bits)
    torch.testing.assert_close(u, (z - loc) / scale)
    log_r = Normal(loc, scale).log_prob(z).sum(1)
    torch.testing.assert_close(excess, log_r - log_prior(z), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["avb", "avb-contrast", "avb-parts"])
def test_avb_keeps_both_modes_of_a_posterior_that_a_gaussian_covers_half(name: str) -> None:
    model = FixedDecoder(gain=3.0, tilt=0.0, size=512)
    found = learner(name, 600)
    x = torch.tensor([[1.0, 1.0, 0.0, 0.0, 1.0, 1.0]])
    learned = last(found, model)
    z = learned.encoder.sample(x, 4000, torch.Generator().manual_seed(0))[0]
    right = float((z[:, 0] > 0).double().mean())
    assert 0.1 < right < 0.9  # tilt 0: the two modes are mirror images; a Gaussian keeps one


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VAE(batch=0), r"VAE\(batch="),
        (lambda: VAE(device="tpu"), r"VAE\(device=.*cpu, cuda"),
        (lambda: IWAE(k=0), r"IWAE\(k="),
        (lambda: FlowVAE(bins=1), r"FlowVAE\(bins="),
        (lambda: AmortisedAVB(draws=3), r"AmortisedAVB\(draws=.* divide the batch, which is 256"),
        (lambda: AmortisedAVB(contrast=True), r"AmortisedAVB\(draws=.* at least 4 .* unless parts"),
        (lambda: AmortisedAVB(parts=-1), r"AmortisedAVB\(parts="),
    ],
)
def test_a_wrong_field_is_named(make: Callable[[], Learner], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_training_that_diverges_says_so() -> None:
    model = FourPoints(hidden=(8,))
    with pytest.raises(FloatingPointError, match="smaller lr"):
        last(VAE(lr=1e30, iterations=20, hidden=(8,)), model)


@every_learner
def test_a_learner_on_a_graphics_card_begins_as_on_the_cpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no graphics card here.")
    found: Any = learner(name, 1)
    model = FourPoints(hidden=(16,))
    here, there = (
        figures(last(replace(found, device=device), model), model) for device in ("cpu", "cuda")
    )
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-3)


@every_learner
def test_on_a_pretended_card_no_tensor_is_left_behind(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Any = learner(name, 3)
    model = FourPoints(hidden=(16,))
    with pretended(monkeypatch) as card:
        there = figures(last(replace(found, device=card), model), model)
    assert all(each.device.type == "cpu" for each in there)
    here = figures(last(found, model), model)
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)


@every_learner
def test_a_device_that_is_not_here_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found: Any = learner(name, 1)
    with pytest.raises(NotApplicableError, match=r"device='cuda'\) needs a graphics card"):
        last(replace(found, device="cuda"), FourPoints(hidden=(16,)))


def test_the_moments_of_coefficients_are_those_of_their_draws_for_every_x() -> None:
    generator = torch.Generator().manual_seed(0)
    network = Coefficients(3, 2, (8,), 4, 2, generator)
    n = 100_000
    for x in torch.randn(3, 3, generator=generator):
        eps = torch.randn(n, network.noise_dim, generator=generator)
        with torch.no_grad():
            z, loc, scale = network.moments(x.expand(n, 3), eps)
            assert torch.equal(z, network(x.expand(n, 3), eps))
        spread = z.std(0)
        # the parts' noise is independent, their products in a batch only nearly so: 1 / sqrt(n)
        assert ((loc[0] - z.mean(0)) / spread).abs().max() < 1e-4
        assert (scale[0] / spread - 1).abs().max() < 6 / math.sqrt(n)
        assert torch.equal(loc[0], loc[-1])


def test_the_moments_of_a_plain_encoder_are_those_of_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    network = Plain(torch.nn.Linear(3, 2), 1, 4)
    x = torch.randn(2, 2, generator=generator).repeat_interleave(4, 0)
    with torch.no_grad():
        z, loc, scale = network.moments(x, torch.randn(8, 1, generator=generator))
    for rows in (slice(0, 4), slice(4, 8)):
        torch.testing.assert_close(loc[rows], z[rows].mean(0).expand(4, 2))
        torch.testing.assert_close(scale[rows], (z[rows].var(0) + 1e-6).sqrt().expand(4, 2))
