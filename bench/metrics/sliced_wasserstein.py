"""How far mass has to move along random lines: a distance in the units of the posterior, which
shows where mass went.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Resolves, Skipped, Worse
from bench.metrics.draws import chains, tails
from bench.metrics.draws.coordinates import effective_at, unstretched
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.samples import standardise

LINES = 100  # at least, in whole sets of D orthogonal ones
# at which chains are asked what they are worth
LEVELS = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
SETS = 4  # at least, where there is more than one coordinate
DOUBT = 0.3  # share of the subtracted term that it may be wrong by


class Moved(NamedTuple):
    """What it costs to move one sample to the other along lines.

    Args:
        squares: mean squared way for each set of lines, [sets].
        of_x, of_y: derivative of their mean by the weight of each draw, [n] and [m], centred.
    """

    squares: Tensor
    of_x: Tensor
    of_y: Tensor


def sliced_wasserstein(
    draws: Tensor,
    truth: Tensor,
    *,
    generator: Generator,
    effective: Tensor | None = None,
    memory: int = 0,
    moments: float | None = None,
) -> Estimate | Skipped:
    """Squared sliced Wasserstein distance from draws of q [n, D] and of p [m, D]; see
    ``SlicedWasserstein``.

    Args:
        generator: of the lines.
        effective: independent draws that quantiles of ``draws`` are worth, any shape; n where not
            given.
        memory: more than 0 if the rows of ``draws`` are chains.
        moments: of the truth exist below this order; None: as its draws show.
    """
    exists = tails.moments(truth, moments)
    if exists <= 2:
        return Skipped(tails.without(2, exists))
    scaled = standardise(draws, truth, exists)
    if isinstance(scaled, Skipped):
        return scaled
    x, y = unstretched(scaled[0], len(truth)), scaled[1]
    sets = lines(x.shape[1], generator)
    moved = _move(x, y, sets)
    share = 1 / len(x) if effective is None else float((1 / effective).mean())
    floor = _own_distance(y, sets) * (share + 1 / len(y))
    time = (
        chains.autocorrelation_time(moved.of_x) if memory and float(moved.of_x.std()) > 0 else 1.0
    )
    variance = float(moved.of_x.var()) * time / len(x) + float(moved.of_y.var()) / len(y)
    if len(sets) > 1:
        variance += float(moved.squares.var()) / len(sets)
    value = float(moved.squares.mean()) - floor
    note = f"That is {math.sqrt(value):.2g} sd along a random line." if value > 0 else ""
    return Estimate(value, math.hypot(math.sqrt(variance), DOUBT * floor), "estimate", note)


def lines(dim: int, generator: Generator) -> Tensor:
    """Random orthonormal bases, [sets, D, D]: along all lines of one a shift moves by the same mean
    square.
    """
    if dim == 1:
        return torch.ones(1, 1, 1, dtype=torch.float64)
    normal = torch.randn(
        max(SETS, math.ceil(LINES / dim)), dim, dim, generator=generator, dtype=torch.float64
    )
    base: Tensor = torch.linalg.qr(normal).Q
    return base


def _move(x: Tensor, y: Tensor, sets: Tensor) -> Moved:
    pairs = _pairs(len(x), len(y))
    of_x, of_y, squares = x.new_zeros(len(x)), y.new_zeros(len(y)), []
    for base in sets:
        a, b = (base @ x.T).sort(1), (base @ y.T).sort(1)
        at_x, at_y, weights = pairs
        to, back = b.values[:, at_y], a.values[:, at_x]
        squares.append(((back - to).square() @ weights).mean())
        of_x += _potential(a.values, a.indices, to, at_x, weights) / len(sets)
        of_y += _potential(b.values, b.indices, back, at_y, weights) / len(sets)
    return Moved(torch.stack(squares), of_x - of_x.mean(), of_y - of_y.mean())


def _pairs(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which order statistic goes to which, and how much of the mass: the quantile functions of n
    and m draws, step by step.
    """
    ends = torch.from_numpy(np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n))
    weights = torch.diff(ends, prepend=ends.new_zeros(1)).double() / (n * m)
    return (ends - 1) // m, (ends - 1) // n, weights


def _potential(own: Tensor, order: Tensor, other: Tensor, at: Tensor, weights: Tensor) -> Tensor:
    """Kantorovich's potential at each draw, mean over lines, [n]: the integral of twice the way t -
    T(t).
    """
    n = own.shape[1]
    goal = torch.zeros_like(own).index_add_(1, at, other * weights * n)
    way = own - goal
    steps = own.diff(dim=1) * (way[:, 1:] + way[:, :-1])
    potential = torch.cat([own.new_zeros(len(own), 1), steps.cumsum(1)], 1)
    return torch.zeros_like(own).scatter_(1, order, potential).mean(0)


def _own_distance(y: Tensor, sets: Tensor) -> float:
    """Squared distance of two samples of the truth, for samples of one draw each: to be scaled by
    1/n + 1/m.
    """
    half = len(y) // 2
    found = [
        _squared(*parts, sets)
        for parts in ((y[0 : 2 * half : 2], y[1::2]), (y[:half], y[half : 2 * half]))
    ]
    return sum(found) / len(found) * half / 2


def _squared(x: Tensor, y: Tensor, sets: Tensor) -> float:
    y = y[: len(x)]
    means = [
        ((base @ x.T).sort(1).values - (base @ y.T).sort(1).values).square().mean() for base in sets
    ]
    return float(torch.stack(means).mean())


@dataclass(frozen=True)
class SlicedWasserstein(Metric):
    r"""Squared 2-Wasserstein distance along random lines, in variances of the truth, less what two
    samples of the truth read.

    .. math::
        \mathrm{SW}^2 = \frac{1}{L} \sum_{l=1}^{L} \int_0^1 (F_{u_l \cdot x}^{-1}(t) - F_{u_l \cdot
        y}^{-1}(t))^2 dt - \Big(\frac{1}{n} + \frac{1}{m}\Big) b

    Samples are first put on the scale of the truth's covariance, q's less what the scale of a
    sample stretches fresh draws by; the lines u are random orthonormal bases, at least 100 lines in
    all, seeded. b is measured between halves of the truth's draws, where the distance is noise.
    Without that term the figure could not fall to 0; with it, it may be negative, and is neither
    clamped nor rooted. The note gives the root, the distance in sd. For chains n is there the
    effective size of quantiles. Direction: none. An ``estimate``: the term is right for q = p and
    for a shift, else roughly.

    Standard error: delta method, by the scatter of Kantorovich's potential over the draws of both
    samples (times its autocorrelation time for chains); and that of the sets of lines; and 0.3 of
    the subtracted term, which is no better known for an approximation of another shape.

    Source: Bonneel, Rabin, Peyre & Pfister, "Sliced and Radon Wasserstein barycenters of measures"
    (2015), doi 10.1007/s10851-014-0506-3; variance as in del Barrio & Loubes, "Central limit
    theorems for empirical transportation cost in general dimension" (2019), arXiv 1705.01299;
    orthogonal lines as in Rowland, Hron, Tang, Choromanski, Sarlos & Weller, "Orthogonal estimation
    of Wasserstein distances" (2019), arXiv 1903.03784.
    """

    name: ClassVar[str] = "sliced_wasserstein"
    resolves: ClassVar[Resolves] = "floor"
    unit: ClassVar[str] = "sd^2"
    heading: ClassVar[str] = "Sliced Wasserstein², sd²"
    meaning: ClassVar[str] = (
        "Mean squared way that mass has to move along random lines, in squared standard"
        " deviations of the truth."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return sliced_wasserstein(
            comparison.draws,
            comparison.truth,
            generator=comparison.generator(),
            effective=effective_at(comparison, LEVELS),
            memory=chains.memory(comparison),
            moments=comparison.problem.moments,
        )
