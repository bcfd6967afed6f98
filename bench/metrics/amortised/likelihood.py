"""How probable the learned model finds data that it has not seen."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from bench.metrics.amortised.base import PLANE, Pair, PairMetric, sampled_over
from bench.metrics.base import Estimate, Kind, Skipped, Worse
from methods.parts.sampling.annealed import Start
from problems.generative.parts.latent_grid import log_prior


class _OfEvidence(PairMetric):
    """A figure that is made of log p(x), which beyond the plane takes annealing."""

    def slow(self, pair: Pair) -> bool:
        return pair.decoder.latent_dim > PLANE


class _OfLearned(_OfEvidence):
    """What the log p(x) of a decoder that was learned falls short of: its sign is turned, so that a
    bound from below becomes one from above.
    """

    @abstractmethod
    def mark(self, pair: Pair) -> Tensor | float | Skipped:
        """What log p(x) is held against, nats, [N] or one for every x; or why there is none."""

    def measure(self, pair: Pair) -> Estimate | Skipped:
        if not pair.model.decoder(pair.generator()).learned:
            return Skipped("The decoder is given: its likelihood is the same for every learner.")
        mark = self.mark(pair)
        if isinstance(mark, Skipped):
            return mark
        found = pair.evidence
        kind: Kind = "exact" if found.kind == "exact" else "upper bound"
        return sampled_over(mark - found.value, found.stderr, len(pair.x), kind, "")


@dataclass(frozen=True)
class LogLikelihood(_OfEvidence):
    r"""Mean log likelihood of the x under the decoder alone, nats per x; the encoder has no part in
    it, but for where annealing starts.

    .. math::
        \frac1N \sum_i \log p_\theta(x_i), \qquad
        \log p_\theta(x) = \log \int p_\theta(x \mid z) N(z; 0, I) dz

    Where z has one or two coordinates: adaptive quadrature, good to 1e-6 nats, kind ``exact``. Else
    annealed importance sampling, kind ``lower bound``: below in expectation. Standard error: of the
    chains, 0 for quadrature.

    Source: Y. Wu et al., 2017, arXiv:1611.04273.
    """

    name: ClassVar[str] = "log_likelihood"
    unit: ClassVar[str] = "nats"
    ideal: ClassVar[float | None] = None
    heading: ClassVar[str] = "log p(x), nats"
    meaning: ClassVar[str] = "Mean log likelihood of test data under the learned decoder."
    worse: ClassVar[Worse] = "below"
    unranked: ClassVar[str] = "its best value is that of the law of the data, another for each"

    def measure(self, pair: Pair) -> Estimate | Skipped:
        found = pair.evidence
        note = "" if found.kind == "exact" else "By annealed importance sampling."
        return sampled_over(found.value, found.stderr, len(pair.x), found.kind, note)


@dataclass(frozen=True)
class NegativeLogLikelihood(_OfLearned):
    r"""Minus ``log_likelihood``, nats per x: by it learners are ranked where the law of the data is
    not known. Of discrete data it is never negative; 0 is a model that is certain of all x.

    .. math:: -\frac1N \sum_i \log p_\theta(x_i)

    Kind ``exact`` by quadrature, ``upper bound`` by annealing.
    """

    name: ClassVar[str] = "negative_log_likelihood"
    unit: ClassVar[str] = "nats"
    ideal: ClassVar[float | None] = 0.0
    heading: ClassVar[str] = "-log p(x), nats"
    meaning: ClassVar[str] = "Minus the mean log likelihood of test data under the learned decoder."
    worse: ClassVar[Worse] = "above"
    density: ClassVar[bool] = True
    target: ClassVar[str] = "certainty about the test data"

    def mark(self, pair: Pair) -> float:
        return 0.0


@dataclass(frozen=True)
class LikelihoodGap(_OfLearned):
    r"""What the learned decoder loses to the law that drew the data, nats per x: an estimate of
    KL(p^* || p_theta) from test data.

    .. math:: \frac1N \sum_i \log p^*(x_i) - \log p_\theta(x_i)

    log p_theta(x) as of ``log_likelihood``: kind ``exact`` where z has one or two coordinates, else
    ``upper bound``. It falls below 0 by chance where the test data are few.
    """

    name: ClassVar[str] = "likelihood_gap"
    unit: ClassVar[str] = "nats"
    ideal: ClassVar[float | None] = 0.0
    heading: ClassVar[str] = "log p*(x) - log p(x), nats"
    meaning: ClassVar[str] = (
        "How much likelier test data are under their own law than by the model."
    )
    worse: ClassVar[Worse] = "above"
    density: ClassVar[bool] = True
    target: ClassVar[str] = "the law of the data"

    def mark(self, pair: Pair) -> Tensor | Skipped:
        truth = pair.model.log_likelihood_of_truth
        if truth is None:
            return Skipped("The law that drew the data is not known.")
        if len(truth) != len(pair.x):
            return Skipped("The law that drew the data is known for all test data, not for a part.")
        return truth


@dataclass(frozen=True)
class AnnealingGap(PairMetric):
    r"""How far apart the two ends of annealing are on data that the decoder itself draws, nats per
    x: how good ``log_likelihood`` is where it is a bound.

    .. math::
        z \sim N(0, I), \; x \sim p_\theta(x \mid z): \quad
        \frac1n \sum_i \Bigl( -\log \frac1C \sum_c \frac1{w'_{ic}}
        - \log \frac1C \sum_c w_{ic} \Bigr)

    w: weights of chains from the prior; w': of chains backwards from z. Its expectation is not
    negative. Kind ``exact``: of the gap, for this many chains and temperatures. Standard error: of
    the x.

    Source: R. B. Grosse, Z. Ghahramani, R. P. Adams, 2015, arXiv:1511.02543.

    Args:
        count: of x drawn.

    Raises:
        ValueError: if there are fewer than two.
    """

    count: int = 32
    name: ClassVar[str] = "annealing_gap"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "gap of annealing, nats"
    meaning: ClassVar[str] = "Bound from above less bound from below of log p(x), by annealing."
    worse: ClassVar[Worse] = "above"
    costly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"AnnealingGap(count=...) must be at least 2, got {self.count}.")

    def measure(self, pair: Pair) -> Estimate | Skipped:
        generator = pair.generator()
        exact, _, joint = simulated(pair, self.count, generator)
        start = Start.prior(self.count, pair.decoder.latent_dim)
        low = pair.annealing.lower(joint, start, generator)
        high = pair.annealing.upper(joint, start, exact, generator)
        gap = high.value - low.value
        stderr = float(gap.std()) / math.sqrt(self.count)
        return Estimate(float(gap.mean()), stderr, "exact", "", self.count)


def simulated(
    pair: Pair, count: int, generator: Generator
) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
    """Data that the decoder draws: codes z, [n, L], which are exact draws of p(z | x); their x, [n,
    *shape]; and log p(x, z) of these x, [..., n, L] -> [..., n], nats.
    """
    exact = torch.randn(count, pair.decoder.latent_dim, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        x = pair.decoder.sample(exact, generator)

    def joint(z: Tensor) -> Tensor:
        return pair.decoder.log_likelihood(x, z) + log_prior(z)

    return exact, x, joint
