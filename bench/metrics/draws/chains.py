"""What order tells about draws: how many independent ones a chain is worth, and how long it
remembers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.metrics.base import Comparison, kept
from methods.base import Draws

SHORTEST = 4  # draws per chain below which no autocorrelation can be told
# rows; beyond that a chain is close enough to independence for the metrics, whatever its slowest
# coordinate
LONGEST_MEMORY = 50


def ess_mean(chains: Tensor) -> Tensor:
    """Effective number of draws for the mean of each coordinate: [chains, draws, D] -> [D].

    Split chains, autocovariances summed by Geyer's initial monotone sequence, variance between
    chains included: Vehtari, Gelman, Simpson, Carpenter & Buerkner, "Rank-normalization, folding,
    and localization" (2021), arXiv 1903.08008, as ArviZ computes it. Where chains are shorter than
    four draws, the number of chains.
    """
    return _ess(chains, "mean")


def ess_sd(chains: Tensor) -> Tensor:
    """Effective number of draws for the standard deviation of each coordinate: [chains, draws, D]
    -> [D].
    """
    return _ess(chains, "sd")


def _ess(chains: Tensor, method: Literal["mean", "sd"]) -> Tensor:
    if chains.ndim != 3:
        raise ValueError(f"Expected chains [chains, draws, D], got shape {list(chains.shape)}.")
    count, length, dim = chains.shape
    if length < SHORTEST:
        return torch.full((dim,), float(count), dtype=torch.float64)
    from arviz_stats.base.array import (
        array_stats,  # 1.4 seconds to import, and needed for chains alone
    )

    ess: Callable[..., NDArray[np.float64]] = array_stats.ess
    flat = chains.double().flatten(0, 1)
    # ArviZ takes a range below 1e-15 for a constant
    unit = (flat - flat.mean(0)) / flat.std(0).where(flat.std(0) > 0, 1.0)
    with np.errstate(all="ignore"):  # a chain that never moves has no variance within
        found = ess(unit.reshape(chains.shape).numpy(), chain_axis=0, draw_axis=1, method=method)
    return torch.as_tensor(np.asarray(found, dtype=np.float64)).nan_to_num(nan=1.0).clamp(min=1.0)


@kept
def effective(comparison: Comparison) -> Tensor:
    """Effective number of draws for the mean of each coordinate, [D]: n for independent draws, less
    for chains.
    """
    n = len(comparison.draws)
    if not isinstance(comparison.approximation, Draws):
        return torch.full((comparison.draws.shape[1],), float(n), dtype=torch.float64)
    return ess_mean(comparison.approximation.chains).clamp(max=float(n))


def autocorrelation_time(series: Tensor) -> float:
    """How many successive values [n] of a chain are worth one independent value; 1 or more."""
    return max(1.0, len(series) / float(ess_mean(series.reshape(1, -1, 1))[0]))


def memory(comparison: Comparison) -> int:
    """How many rows apart two draws may be and still be taken for one and the same walk; 0 for
    independent draws.

    Twice the excess of the autocorrelation time of the slowest coordinate, at most
    ``LONGEST_MEMORY``. Metrics that compare draws with one another leave out such pairs, as Theiler
    did for time series: "Spurious dimension from correlation algorithms applied to limited
    time-series data" (1986), doi 10.1103/PhysRevA.34.2427.
    """
    if not isinstance(comparison.approximation, Draws):
        return 0
    time = len(comparison.draws) / float(effective(comparison).min())
    return min(math.ceil(2 * (time - 1)), LONGEST_MEMORY, len(comparison.draws) // 20)


def partners(n: int, memory: int) -> Tensor:
    """How many rows each of n may be compared with, [n]: not itself, nor those up to ``memory``
    rows apart.
    """
    at = torch.arange(n, dtype=torch.float64)
    return n - 1 - at.clamp(max=memory) - (n - 1 - at).clamp(max=memory)
