"""Generative models: decoders give the likelihood of independent bits, and posteriors the joint
density.
"""

from __future__ import annotations

import io
import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from problems.generative.base import GenerativeModel
from problems.generative.drawn_bits import DrawnBits
from problems.generative.fixed_decoder import FixedDecoder
from problems.generative.four_points import FourPoints

every_model = pytest.mark.parametrize(
    "model", [FourPoints(), FixedDecoder(), DrawnBits()], ids=lambda m: m.name
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every_model
def test_log_likelihood_is_that_of_independent_bits(model: GenerativeModel) -> None:
    decoder = model.decoder(seeded()).at_rest()
    z = torch.randn(7, 1, model.latent_dim, generator=seeded(), dtype=torch.float64)
    x = model.test[:4].double()
    expected = Bernoulli(logits=decoder(z), validate_args=False).log_prob(x).sum(-1)
    torch.testing.assert_close(decoder.log_likelihood(x, z), expected)
    torch.testing.assert_close(decoder.pairs(x, z.squeeze(1)), expected)


@every_model
def test_a_posterior_is_the_joint_density_in_float64(model: GenerativeModel) -> None:
    decoder, x = model.decoder(seeded()), model.test[1]
    posterior = model.posterior(decoder, x)
    z = torch.randn(5, 3, model.latent_dim, generator=seeded(), dtype=torch.float64)
    likelihood = Bernoulli(logits=decoder.double()(z)).log_prob(x.double()).sum(-1)
    expected = likelihood + Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(posterior.log_density(z), expected, rtol=1e-12, atol=1e-12)


@every_model
def test_a_posterior_stays_as_it_was_when_the_decoder_learns_on(model: GenerativeModel) -> None:
    decoder = model.decoder(seeded())
    posterior = model.posterior(decoder, model.test[0])
    z = torch.ones(model.latent_dim, dtype=torch.float64)
    before = posterior.log_density(z)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.add_(1.0)
    assert posterior.log_density(z) == before


@every_model
def test_decoders_depend_on_the_generator_alone_and_are_saved_as_tensors(
    model: GenerativeModel,
) -> None:
    state = torch.get_rng_state()
    first, again = model.decoder(seeded()), model.decoder(seeded())
    assert torch.equal(state, torch.get_rng_state())
    z = torch.randn(3, model.latent_dim, generator=seeded())
    assert torch.equal(first(z), again(z))
    other = model.decoder(seeded(1))
    assert torch.equal(first(z), other(z)) is not first.learned
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(first(z), other(z))


@every_model
def test_batches_are_rows_of_the_training_data(model: GenerativeModel) -> None:
    batch = model.batch(50, seeded())
    assert torch.equal(batch, model.batch(50, seeded()))
    assert batch.shape == (50, *model.shape)
    assert (batch.unsqueeze(1) == model.train).all(-1).any(1).all()


def test_all_four_points_are_read_equally_often() -> None:
    share = FourPoints().batch(40_000, seeded()).mean(0)
    assert (share - 0.25).abs().max() < 4 * math.sqrt(0.25 * 0.75 / 40_000)


def test_some_posteriors_of_the_fixed_decoder_have_four_modes_and_some_have_one() -> None:
    model = FixedDecoder()
    axis = torch.linspace(-5, 5, 201, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    for x, peaks in (((1, 1, 1, 1, 1, 0), 4), ((1, 1, 0, 0, 1, 1), 2), ((0,) * 6, 1)):
        posterior = model.posterior(model.decoder(), torch.tensor(x).float())
        density = posterior.log_density(z).reshape(1, 1, 201, 201)
        highest = torch.nn.functional.max_pool2d(density, 3, 1, 1)
        assert int((density == highest)[..., 1:-1, 1:-1].sum()) == peaks


def test_the_data_of_the_fixed_decoder_are_drawn_from_it() -> None:
    model = FixedDecoder(size=20_000)
    axis = torch.linspace(-6, 6, 241, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    weight = (-0.5 * z.square().sum(-1)).softmax(0)
    expected = weight @ model.decoder().at_rest().mean(z)
    spread = (expected * (1 - expected) / 20_000).sqrt()
    assert ((model.train.double().mean(0) - expected) / spread).abs().max() < 4


def test_the_likelihood_of_the_truth_is_the_mean_over_the_prior_and_sums_to_one() -> None:
    model = FixedDecoder(repeats=1, held=40)
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    axis = torch.linspace(-8, 8, 801, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    weight = (-0.5 * z.square().sum(-1)).log_softmax(0)
    everything = (model.decoder().at_rest().pairs(bits, z) + weight.unsqueeze(1)).logsumexp(0)
    assert abs(float(everything.exp().sum()) - 1) < 1e-9
    at = (model.test.unsqueeze(1) == bits).all(-1).double().argmax(1)
    assert (model.log_likelihood_of_truth - everything[at]).abs().max() < 1e-6
    assert torch.equal(
        DrawnBits(repeats=1, held=40).log_likelihood_of_truth, model.log_likelihood_of_truth
    )


@pytest.mark.parametrize("field", ["latent", "hidden", "activation"])
def test_a_wrong_setting_is_named(field: str) -> None:
    wrong = {"latent": 0, "hidden": (), "activation": "step"}
    with pytest.raises(ValueError, match=rf"FourPoints\({field}="):
        FourPoints(**{field: wrong[field]})  # type: ignore[arg-type]
