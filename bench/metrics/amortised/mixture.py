"""The mixture of the codes of all data: its draws, and its density where the codes have one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.metrics.amortised.base import Pair
from methods.base import Approximation

AT_ONCE = 2**15  # pairs of z and x in one call: a flow takes some kilobytes for each


@dataclass(frozen=True, eq=False)
class Aggregate(Approximation):
    r"""The mixture of the codes of all x, :math:`q(z) = \frac1N \sum_i q(z \mid x_i)`."""

    pair: Pair

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Of x drawn at random: [n, L]; no more than ``Pair.draws`` of any x."""
        which = torch.randint(len(self.pair.x), (n,), generator=generator)
        counts = torch.bincount(which, minlength=len(self.pair.x))
        drawn = self.pair.encoder.sample(self.pair.x, int(counts.max()), generator)
        rows = torch.cat([row[:count] for row, count in zip(drawn, counts.tolist(), strict=True)])
        return rows[torch.randperm(n, generator=generator)]

    def log_prob(self, z: Tensor) -> Tensor | None:
        if self.pair.log_q is None:
            return None
        return log_mixture(self.pair, z.reshape(-1, z.shape[-1])).reshape(z.shape[:-1])


def log_mixture(pair: Pair, z: Tensor) -> Tensor:
    """Log of the aggregate's density, nats: [n, L] -> [n]; where q has a density."""
    count = len(pair.x)
    parts = []
    for rows in torch.split(z, max(1, AT_ONCE // count)):
        each = pair.encoder.log_prob(pair.x, rows.expand(count, *rows.shape))
        if each is None:
            raise ValueError("the aggregate has a density where each q(z | x) has one, only")
        parts.append(each.logsumexp(0) - math.log(count))
    return torch.cat(parts)
