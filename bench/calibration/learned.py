r"""Learned pairs whose figures are in closed form: a linear model with Gaussian noise, and encoders
that are its posterior, moved by 0.6 of its standard deviations along the first axis.

.. math:: z \sim N(0, I_L), \; x \mid z \sim N(W z, s^2 I): \quad
   KL(q(z \mid x) \| p(z \mid x)) = 0.6^2 / 2

The encoder shows its density; or hides it behind a map of as much noise as coordinates, or of more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from bench.calibration.ends import Ends
from bench.metrics.amortised.aggregate import AggregateKl, MutualInformation
from bench.metrics.amortised.aggregate_upper import AggregateKlUpper
from bench.metrics.amortised.base import Pair, PairMetric
from bench.metrics.amortised.likelihood import LikelihoodGap, LogLikelihood, NegativeLogLikelihood
from bench.metrics.amortised.posterior import (
    AmortisedElbo,
    AmortisedElboUpper,
    PosteriorKl,
    PosteriorKlUpper,
)
from bench.metrics.amortised.reconstruction import ReconstructionError, SquaredError
from bench.plugins import registry
from methods.amortised.base import GaussianEncoder, NoiseEncoder
from methods.parts.sampling.annealed import Annealing
from problems.generative.base import Decoder

NAME = "linear-gaussian"
MOVED = 0.6  # standard deviations of the posterior
STRETCHED = 1.2  # weights of a decoder that is off, over those of the truth
DRAWS = 400
HELD, FEW = 40, 3  # x; and those whose maps are searched


class Moved(GaussianEncoder):
    """The posterior of a linear-Gaussian model, moved along the first axis of its factor.

    Args:
        model: with ``exact``, the moments of p(z | x); moved: by how many standard deviations.
    """

    def __init__(self, model: Any, moved: float = MOVED) -> None:
        self.model, self.moved = model, moved

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean: Tensor
        mean, covariance = self.model.exact(x)
        factor: Tensor = torch.linalg.cholesky(covariance)
        return mean + self.moved * factor[:, 0], factor.expand(len(x), *factor.shape)


class MovedMap(NoiseEncoder):
    """The same law as a map of noise, whose density nobody says."""

    def __init__(self, model: Any, moved: float = MOVED) -> None:
        self.noise_dim = model.latent_dim
        self.gain, covariance = model.exact(torch.eye(model.width))
        self.factor = torch.linalg.cholesky(covariance)
        self.shift = moved * self.factor[:, 0]

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        z: Tensor = x @ self.gain + self.shift + eps @ self.factor.T
        return z


class TurnedMap(MovedMap):
    """The same law of z in the plane by five noise coordinates: two of them, turned by the fifth,
    are half of the variance.
    """

    def __init__(self, model: Any, moved: float = MOVED) -> None:
        super().__init__(model, moved)
        self.noise_dim = 5

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        cos, sin = eps[:, 4].cos(), eps[:, 4].sin()
        first, second = eps[:, 2:4].unbind(1)
        turned = torch.stack([cos * first - sin * second, sin * first + cos * second], 1)
        return super().forward(x, (eps[:, :2] + turned) / math.sqrt(2))


@dataclass(frozen=True, eq=False)
class LearnedCase:
    """A learned pair whose figures are known.

    Args:
        name: for tables; shows: what the encoder shows of itself.
        pair: with any seed; truths: what figures must read, nats.
        costly: whether a repetition takes seconds.
    """

    name: str
    shows: str
    pair: Pair
    truths: Mapping[PairMetric, float]
    costly: bool = False


def learned_cases() -> list[LearnedCase]:
    """All of them: in the plane where the encoder shows its density, as two kinds of maps, and with
    a decoder that is off; and the two latter in three latent coordinates, where annealing bounds.
    """
    plane, space = _model(2, HELD), _model(3, 12)
    return [
        _shown(plane),
        *(_hidden(plane, shows, make) for shows, make in MAPS.items()),
        _off(plane, False),
        _off(space, True),
        _annealed(space),
    ]


def _model(latent: int, held: int) -> Any:
    return registry.load(registry.find("models", NAME))(latent=latent, held=held)


def pair_of(model: Any, encoder: Any = None) -> Pair:
    """The model's own decoder, with an encoder; its moved posterior where none is given."""
    decoder = model.decoder(Generator()).at_rest()
    return Pair(model, decoder, encoder or Moved(model), model.test.double(), 0, DRAWS)


def _shown(model: Any) -> LearnedCase:
    pair, gap = pair_of(model), 0.5 * MOVED**2
    evidence = float(model.log_likelihood_of_truth.mean())
    aggregate, information = _mixture(pair)
    error = float(_squares(pair).mean())
    constant = model.width * (math.log(model.noise) + 0.5 * math.log(2 * math.pi))
    return LearnedCase(
        "own decoder",
        "density",
        pair,
        {
            LogLikelihood(): evidence,
            AmortisedElbo(): evidence - gap,
            PosteriorKl(): gap,
            ReconstructionError(): 0.5 * error / model.noise**2 + constant,
            SquaredError(): error,
            AggregateKl(): aggregate,
            MutualInformation(): information,
        },
    )


MAPS = {"map": MovedMap, "map of 5": TurnedMap}


def _hidden(model: Any, shows: str, make: type[MovedMap]) -> LearnedCase:
    whole, gap = pair_of(model, make(model)), 0.5 * MOVED**2
    evidence = float(model.log_likelihood_of_truth[:FEW].mean())
    pair = replace(whole, x=whole.x[:FEW])
    aggregate, information = _mixture(replace(pair, encoder=Moved(model)))
    truths: dict[PairMetric, float] = {
        PosteriorKl(): gap,
        PosteriorKlUpper(): gap,
        AmortisedElbo(): evidence - gap,
        AmortisedElboUpper(): evidence - gap,
        AggregateKl(): aggregate,
        AggregateKlUpper(): aggregate,
        MutualInformation(): information,
    }
    return LearnedCase("own decoder", shows, pair, truths, costly=True)


def _off(model: Any, costly: bool) -> LearnedCase:
    """A decoder with weights that are too large, as one that was learned."""

    class Learned(type(model)):  # type: ignore[misc]
        """The same model, whose decoder says that it was learned."""

        def decoder(self, generator: Generator) -> Decoder:
            found: Decoder = super().decoder(generator).requires_grad_(True)
            return found

        @property
        def test(self) -> Tensor:
            held: Tensor = super().test.detach()
            return held

    learned = Learned(latent=model.latent, held=model.held)
    pair, likely = pair_of(learned), float(model.log_likelihood_of_truth.mean())
    with torch.no_grad():
        for weight in pair.decoder.parameters():
            weight.mul_(STRETCHED)
        found = float(_log_evidence(model, STRETCHED, pair.x).mean())
    truths: dict[PairMetric, float] = {
        LogLikelihood(): found,
        NegativeLogLikelihood(): -found,
        LikelihoodGap(): likely - found,
    }
    return LearnedCase("decoder off", "density", replace(pair, annealing=ANNEALING), truths, costly)


ANNEALING = Annealing(chains=32, steps=40, leapfrogs=3)


def _annealed(model: Any) -> LearnedCase:
    pair = replace(pair_of(model), annealing=ANNEALING)
    truths: dict[PairMetric, float] = {
        Ends(lambda x: _log_evidence(model, 1.0, x), upper=False): 0.0,
        Ends(lambda x: _log_evidence(model, 1.0, x), upper=True): 0.0,
    }
    return LearnedCase("own decoder", "density", pair, truths, costly=True)


def _log_evidence(model: Any, stretched: float, x: Tensor) -> Tensor:
    """log N(x; 0, W W^T + s^2 I), W the model's weights times a factor: [n, K] -> [n], nats."""
    weight = stretched * model.weight.double().detach()
    covariance = weight @ weight.T + model.noise**2 * torch.eye(model.width).double()
    law = torch.distributions.MultivariateNormal(torch.zeros(model.width).double(), covariance)
    value: Tensor = law.log_prob(x)  # type: ignore[no-untyped-call]
    return value


def _mixture(pair: Pair) -> tuple[float, float]:
    """KL of all codes to the prior, and the information in a code, nats, on a grid of the plane."""
    axis = torch.linspace(-7, 7, 281, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    each = pair.encoder.log_prob(pair.x, z.expand(len(pair.x), *z.shape))
    assert each is not None  # the encoder is Gaussian
    mixed = each.logsumexp(0) - math.log(len(pair.x))
    prior = -0.5 * z.square().sum(1) - math.log(2 * math.pi)
    cell = 0.05**2
    divergence = float((mixed.exp() * (mixed - prior)).sum()) * cell
    return divergence, float((each.exp() * (each - mixed)).sum()) * cell / len(pair.x)


def _squares(pair: Pair) -> Tensor:
    """E |x - W z|^2 for each x, [N]."""
    model: Any = pair.model
    mean, covariance = model.exact(pair.x)
    moved = mean + MOVED * torch.linalg.cholesky(covariance)[:, 0]
    weight = model.weight.double()
    spread = (weight @ covariance @ weight.T).trace()
    squares: Tensor = (pair.x - moved @ weight.T).square().sum(1) + spread
    return squares
