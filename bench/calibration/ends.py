"""Each end of annealing beside log p(x) itself, where that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics.amortised.base import Pair, PairMetric, sampled_over
from bench.metrics.base import Estimate, Kind
from methods.parts.sampling.annealed import Start
from problems.generative.parts.latent_grid import log_prior

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
        generator, dim = pair.generator(), pair.decoder.latent_dim
        exact = torch.randn(COUNT, dim, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            x = pair.decoder.sample(exact, generator)

        def joint(z: Tensor) -> Tensor:
            return pair.decoder.log_likelihood(x, z) + log_prior(z)

        start = Start.prior(COUNT, dim)
        found = (
            pair.annealing.upper(joint, start, exact, generator)
            if self.upper
            else pair.annealing.lower(joint, start, generator)
        )
        kind: Kind = "upper bound" if self.upper else "lower bound"
        return sampled_over(found.value - self.evidence(x), found.stderr, COUNT, kind, "")
