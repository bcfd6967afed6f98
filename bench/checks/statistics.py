r"""Do these draws follow that density? A test in which every term is bounded, so that heavy tails
do not break it.

Leaps, for a density up to its constant. A move z -> z' that is as likely as its reverse, taken with
probability a(z, z') = p(z') / (p(z) + p(z')), leaves p as it is (A. A. Barker, 1965,
doi:10.1071/PH650119), so that

.. math:: E_{z \sim p}\, a(z, z')\,(h(z') - h(z)) = 0 \quad \text{for every bounded } h.

The moves are differences of other draws (C. J. F. ter Braak, 2006, doi:10.1007/s11222-006-8769-1),
so that they have the scale of the posterior and lead from mode to mode. For the constant too there
is the bridge of ``bench.metrics.models.bridge``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from bench.metrics.models.bridge import (
    SIGMAS,
    Bridge,
    Bumps,
    LogDensity,
    bridge,
    bumps,
    gauge,
    scores,
)

__all__ = ["SIGMAS", "Bridge", "Bumps", "bridge", "bumps", "label", "leaps", "scores"]

KINDS = ("location", "spread", "tie to the next coordinate")


def label(index: int, coordinates: Sequence[str]) -> str:
    """What a test function tells, in words."""
    kind, i = divmod(index, len(coordinates))
    return f"{KINDS[kind]} of {coordinates[i]}" if kind < len(KINDS) else "height of the density"


def leaps(
    draws: Tensor, log_density: LogDensity, generator: Generator
) -> Iterator[tuple[str, Tensor]]:
    """For each kind of move: its name, and how far it drives each test function, in standard errors
    [3 D + 1].

    Each draw moves by the difference of the next two, there and back. The terms of the average
    share draws, but each has mean zero given all draws but its own, so no two of them are
    correlated.
    """
    log_p = log_density(draws)
    h = gauge(draws, log_p)
    before = h(draws, log_p)
    for name, step in _steps(draws.roll(-1, 0) - draws.roll(-2, 0), generator):
        drift = torch.zeros_like(before)
        for new in (draws + step, draws - step):
            new_log_p = log_density(new)
            drift += torch.sigmoid(new_log_p - log_p).unsqueeze(-1) * (h(new, new_log_p) - before)
        yield name, scores(drift)


def _steps(apart: Tensor, generator: Generator) -> Iterator[tuple[str, Tensor]]:
    n, dim = apart.shape
    shorter = 10 ** -torch.rand(n, 1, generator=generator, dtype=apart.dtype)
    yield "leaps as long as from draw to draw", apart
    yield "short steps", apart * shorter * (2.4 / math.sqrt(2 * dim))
    one = torch.nn.functional.one_hot(torch.randint(dim, (n,), generator=generator), dim)
    yield "steps along one coordinate", apart * one * shorter
