"""Whether a map lays its noise over itself, told by the sign of det J at draws of its own: in a
second, and without a search.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from bench.metrics.brackets.pushforward import branch
from methods import PushforwardMixture
from methods.base import Approximation, Pushforward

DRAWS = 4000


@torch.no_grad()
def folded(approximation: Approximation, dim: int, generator: Generator) -> float | None:
    """The share of its draws at which det J of a square map has the rarer sign, 0 for one that does
    not fold; of a mixture of maps, the share of all draws that is rare within their own map.

    None for what is no square map of ``dim`` coordinates, or is singular at a draw.
    """
    maps: list[tuple[float, Pushforward]] = []
    if isinstance(approximation, PushforwardMixture):
        weights = approximation.log_weights.exp().tolist()
        maps = list(zip(weights, approximation.heads, strict=True))
    elif isinstance(approximation, Pushforward):
        maps = [(1.0, approximation)]
    if not maps or any(each.noise_dim != dim for _, each in maps):
        return None
    share, count = 0.0, max(DRAWS // len(maps), 1)
    for weight, each in maps:
        eps = torch.randn(count, dim, generator=generator, dtype=torch.float64)
        rarer = _rarer(branch(each, eps).sign)
        share += weight * rarer
    return share if math.isfinite(share) else None


def _rarer(sign: Tensor) -> float:
    if bool((sign == 0).any()):
        return math.nan
    positive = float((sign > 0).double().mean())
    return min(positive, 1 - positive)
