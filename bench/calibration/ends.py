"""Each end of annealing beside log p(x) itself, where that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.metrics.amortised.base import Pair, PairMetric, sampled_over
from bench.metrics.amortised.likelihood import simulated
from bench.metrics.base import Estimate, Kind
from methods.parts.sampling.annealed import Start

COUNT = 32  # of x that the decoder draws


@dataclass(frozen=True)
class Ends(PairMetric):
    """An end of annealing less log p(x), mean over x that the decoder draws, nats.

    Args:
        evidence: log p(x), [n, *shape] -> [n].
        upper: whether the end from above; else that from below.
    """

    evidence: Callable[[Tensor], Tensor]
    upper: bool
    name: ClassVar[str] = "annealing"

    def measure(self, pair: Pair) -> Estimate:
        """The mean distance of that end from log p(x)."""
        generator = pair.generator()
        exact, x, joint = simulated(pair, COUNT, generator)
        start = Start.prior(COUNT, pair.decoder.latent_dim)
        found = (
            pair.annealing.upper(joint, start, exact, generator)
            if self.upper
            else pair.annealing.lower(joint, start, generator)
        )
        kind: Kind = "upper bound" if self.upper else "lower bound"
        return sampled_over(found.value - self.evidence(x), found.stderr, COUNT, kind, "")
