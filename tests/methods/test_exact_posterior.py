"""The posterior as an encoder: figures read their best value, whatever shape it has."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Generator, Tensor

from bench.metrics.amortised.aggregate import AggregateKl
from bench.metrics.amortised.base import Pair
from bench.metrics.amortised.likelihood import LogLikelihood
from bench.metrics.amortised.posterior import AmortisedElbo, PosteriorKl
from bench.metrics.base import Estimate
from methods.amortised.base import Learned, TrainingData
from methods.amortised.exact_posterior import ExactPosterior
from methods.base import Budget, NotApplicableError
from problems.generative.base import Decoder, GenerativeModel
from problems.generative.fixed_decoder import FixedDecoder
from problems.generative.four_points import FourPoints
from problems.generative.linear_gaussian import LinearGaussian


@dataclass(frozen=True)
class Uncounted(TrainingData):
    """A model as a learner sees it."""

    model: GenerativeModel

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
        raise AssertionError("nothing is learned")


def learned(model: GenerativeModel) -> Learned:
    generator = torch.Generator().manual_seed(0)
    return next(iter(ExactPosterior().run(Uncounted(model), Budget(), generator)))


def test_posteriors_of_several_modes_are_met_and_nothing_is_lost() -> None:
    model = FixedDecoder(held=12)
    made = learned(model)
    pair = Pair(model, made.decoder, made.encoder, model.test.double(), draws=100)
    for metric, true in (
        (PosteriorKl(), 0.0),
        (LogLikelihood(), float(model.log_likelihood_of_truth.mean())),
        (AmortisedElbo(), float(model.log_likelihood_of_truth.mean())),
    ):
        found = metric.measure(pair)
        assert isinstance(found, Estimate)
        assert found.kind == "exact"
        assert abs(found.value - true) < 2e-6
        assert found.stderr < 1e-6


def test_codes_of_all_that_a_model_can_say_are_the_prior_together() -> None:
    """x from the model itself, so that q(z) tends to N(0, I) with the number of x."""
    model = LinearGaussian(latent=1, width=1, noise=1.0, held=60)
    made = learned(model)
    found = AggregateKl().measure(
        Pair(model, made.decoder, made.encoder, model.test.double(), draws=20)
    )
    assert isinstance(found, Estimate)
    assert found.value < 4 * found.stderr + 2 / math.sqrt(60)


def test_it_says_where_it_cannot_be_had() -> None:
    with pytest.raises(NotApplicableError, match="this one is to be learned"):
        learned(FourPoints())
    with pytest.raises(NotApplicableError, match="z has 3"):
        learned(LinearGaussian(latent=3))
