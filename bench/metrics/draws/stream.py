r"""Audits: moments and quantiles of more draws than are held, block by block, in memory that does
not grow with their number.

A comparison holds at most ``HELD`` draws of each side, and every metric but these works on those.
Moments and quantiles go on with fresh draws of q, as many as were asked for, and ``TIMES`` as many
of the truth, so that the noise of the truth's draws is half of that of q's; where the truth's own
mean and variance are known they stand in place of its draws, without any noise.

What is left of a stream: sums of powers about the centre of the draws that are held,

.. math:: S_k = \sum_i ((x_i - c) / s)^k, \quad k = 1, \dots, 4

and how many draws lie up to each of ``GRID`` points, which are quantiles of the draws that are
held: between two of them lie some 0.05% of the mass. Taking the share in between for a straight
line adds a twentieth of a share's own noise at most, whatever the number of draws.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Skipped, kept
from bench.metrics.draws.parameters import Parameters, columns, parameters
from bench.seeds import generator_of
from problems.base import Exact

HELD = 100_000  # draws of each side that a comparison holds at most
BLOCK = 50_000
TIMES = 4  # draws of the truth for each of q's
GRID = 2000


@dataclass(frozen=True, eq=False)
class Moments:
    """The first moments of each column of a sample.

    Args:
        mean, variance: [K].
        log_sd: variance of the log of the standard deviation, times the number of draws, [K].
        count: independent draws behind a mean, [K], and ``sd_count`` behind a standard deviation;
            infinite where the moments are known.
    """

    mean: Tensor
    variance: Tensor
    log_sd: Tensor
    count: Tensor
    sd_count: Tensor

    def only(self, kept: Tensor) -> Moments:
        """Of some of the columns, [K] of bool."""
        parts = self.mean, self.variance, self.log_sd, self.count, self.sd_count
        return Moments(*(part[kept] for part in parts))


@dataclass(frozen=True, eq=False)
class Sketch:
    """What is left of a stream of draws.

    Args:
        count: draws; bad: how many of them were not finite.
        powers: S_1 to S_4, [4, K]; centre, unit: c and s, [K].
        squares: variance of the mean over columns of the weighted squares of a draw.
        points: the grid, [GRID, K]; below: the share of draws up to each point, [GRID, K].
        low, high: the smallest and the largest draw of each column, [K].
    """

    count: int
    bad: int
    powers: Tensor
    centre: Tensor
    unit: Tensor
    squares: float
    points: Tensor
    below: Tensor
    low: Tensor
    high: Tensor

    @property
    def moments(self) -> Moments:
        """Mean, variance and how well its root is known, by the kurtosis."""
        n, (a, b, c, d) = self.count, self.powers / self.count
        variance = b - a.square()
        fourth = d - 4 * a * c + 6 * a.square() * b - 3 * a**4
        log_sd = (fourth / variance.square() - 1).nan_to_num(nan=0.0) / 4
        count = torch.full_like(a, float(n))
        scaled = self.unit.square() * variance * n / (n - 1)
        return Moments(self.centre + self.unit * a, scaled, log_sd, count, count)

    def quantiles(self, levels: Tensor) -> Tensor:
        """Quantiles of each column: levels [P, K] -> [P, K]."""
        found = []
        for k in range(levels.shape[1]):
            shares, points = (part.numpy() for part in self._curve(k))
            found.append(np.interp(levels[:, k].numpy(), shares, points))
        return torch.from_numpy(np.stack(found, -1))

    def share_below(self, at: Tensor) -> Tensor:
        """Share of each column up to the points [P, K]: [P, K]."""
        found = []
        for k in range(at.shape[1]):
            shares, points = (part.numpy() for part in self._curve(k))
            found.append(np.interp(at[:, k].numpy(), points, shares, left=0.0, right=1.0))
        return torch.from_numpy(np.stack(found, -1))

    def _curve(self, k: int) -> tuple[Tensor, Tensor]:
        """Shares and points of one column, from the smallest draw to the largest."""
        ends = self.low[k : k + 1], self.high[k : k + 1]
        shares = torch.cat([torch.zeros(1).double(), self.below[:, k], torch.ones(1).double()])
        return shares, torch.cat([ends[0], self.points[:, k], ends[1]])


@dataclass(frozen=True, eq=False)
class Audit:
    """What streams of q and of the truth say.

    Args:
        draws: of q.
        of_truth: goes through the truth's stream.
        exact: the truth's moments, where mathematics gives them.
    """

    draws: Sketch
    of_truth: Callable[[], Sketch]
    exact: Moments | None

    @functools.cached_property
    def truth(self) -> Sketch:
        """Of the truth, made when it is asked for: known moments need none."""
        return self.of_truth()

    @property
    def moments(self) -> tuple[Moments, Moments]:
        """Of q and of the truth."""
        return self.draws.moments, self.exact or self.truth.moments

    @property
    def note(self) -> str:
        """How many draws a figure rests on."""
        return f"By {self.draws.count:,} draws of q and {self.truth.count:,} of the truth."

    @property
    def moments_note(self) -> str:
        """The same of moments, which may need no draws of the truth."""
        if self.exact is None:
            return self.note
        return f"By {self.draws.count:,} draws of q and the truth's own moments, which are known."

    @property
    def refused(self) -> Skipped | None:
        """Why there are no figures, where draws are not finite."""
        parts = [("q", self.draws)] + ([] if self.exact else [("the truth", self.truth)])
        for name, part in parts:
            if part.bad:
                return Skipped(f"{part.bad:,} of the draws of {name} are not finite.")
        return None


@kept
def audit(comparison: Comparison, constrained: bool = False) -> Audit | None:
    """What streams of draws say; None where all draws that were asked for are held.

    Args:
        constrained: in the model's own units.
    """
    asked = comparison.asked
    if asked is None or asked <= len(comparison.draws):
        return None
    held = comparison.draws, comparison.truth
    carried: Callable[[Tensor], Tensor] = _as_it_is
    if constrained:
        own = parameters(comparison)
        if isinstance(own, Skipped):
            return None
        held, carried = (own.draws, own.truth), _carried(comparison, own)
    unit = held[1].double().std(0)
    ratio = held[0].double().var(0) / unit.square()

    def of_draws() -> Sketch:
        source = comparison.approximation.sample
        stream = blocks(comparison.draws, source, asked, generator(comparison, "draws"))
        return sketch(map(carried, stream), held[0], unit, torch.ones_like(unit))

    def of_truth() -> Sketch:
        source, size = comparison.problem.truth.sample, TIMES * asked
        stream = blocks(comparison.truth, source, size, generator(comparison, "truth"))
        return sketch(map(carried, stream), held[1], unit, ratio)

    return Audit(of_draws(), of_truth, None if constrained else exact_moments(comparison))


def _as_it_is(z: Tensor) -> Tensor:
    return z


def _carried(comparison: Comparison, own: Parameters) -> Callable[[Tensor], Tensor]:
    return lambda z: columns(comparison.problem, z)[1][:, own.chosen]


def generator(comparison: Comparison, name: str) -> Generator:
    """Of the draws beyond those that are held."""
    return generator_of("stream", comparison.seed, name)


def exact_moments(comparison: Comparison) -> Moments | None:
    """The truth's own moments, where it knows both."""
    truth = comparison.problem.truth
    if not isinstance(truth, Exact) or truth.mean is None or truth.variance is None:
        return None
    mean, variance = truth.mean.double(), truth.variance.double()
    sure = torch.full_like(mean, torch.inf)
    return Moments(mean, variance, torch.zeros_like(mean), sure, sure)


def blocks(
    start: Tensor,
    source: Callable[[int, Generator], Tensor],
    size: int,
    generator: Generator,
) -> Iterator[Tensor]:
    """Draws that are held, [n, D], then fresh ones, ``size`` in all; fewer where the source gives
    no more.
    """
    yield from torch.split(start, BLOCK)
    left = size - len(start)
    while left > 0:
        with torch.no_grad():
            found = source(min(left, BLOCK), generator).detach().double()
        if not len(found):
            return
        yield found[:left]
        left -= len(found)


def sketch(stream: Iterator[Tensor], pilot: Tensor, unit: Tensor, weights: Tensor) -> Sketch:
    """Go through blocks [n, K] once.

    Args:
        pilot: draws of the same law that are held, [m, K]: they make the centre and the grid.
        unit: s, [K]; weights: of the squares, [K].
    """
    pilot = pilot.double()
    centre, dim = pilot.mean(0), pilot.shape[1]
    levels = torch.linspace(0, 1, GRID + 2, dtype=torch.float64)[1:-1].numpy()
    points = [torch.from_numpy(np.quantile(pilot[:, k].numpy(), levels)) for k in range(dim)]
    powers = torch.zeros(4, dim, dtype=torch.float64)
    counts = torch.zeros(GRID + 1, dim, dtype=torch.float64)
    low, high = torch.full((dim,), torch.inf).double(), torch.full((dim,), -torch.inf).double()
    count, bad, sums = 0, 0, torch.zeros(2, dtype=torch.float64)
    for block in stream:
        sound = torch.isfinite(block).all(1)
        bad += int((~sound).sum())
        x = block[sound]
        if not len(x):
            continue
        count += len(x)
        low, high = torch.minimum(low, x.amin(0)), torch.maximum(high, x.amax(0))
        u = (x - centre) / unit
        square = u.square()
        powers += torch.stack(
            [u.sum(0), square.sum(0), (square * u).sum(0), square.square().sum(0)]
        )
        row = (square * weights).mean(1)
        sums += torch.stack([row.sum(), row.square().sum()])
        for k in range(dim):
            # a point is the end of its bin, itself included
            place = torch.searchsorted(points[k], x[:, k].contiguous(), right=False)
            counts[:, k] += torch.bincount(place, minlength=GRID + 1)
    squares = float(sums[1] / count - (sums[0] / count) ** 2)
    below = counts.cumsum(0)[:-1] / count
    grid = torch.stack(points, -1)
    return Sketch(count, bad, powers, centre, unit, squares, grid, below, low, high)


def held_moments(
    sample: Tensor, count: Tensor | None = None, sd_count: Tensor | None = None
) -> Moments:
    """Of a sample that is held, [n, K].

    Args:
        count, sd_count: independent draws that a mean and an sd are worth, [K]; n where not given.
    """
    sample = sample.double()
    plain = torch.full((sample.shape[1],), float(len(sample)), dtype=torch.float64)
    squares = (sample - sample.mean(0)).square()
    spread = squares.square().mean(0) / squares.mean(0).square() - 1
    log_sd = spread.nan_to_num(nan=0.0) / 4
    worth = (plain if each is None else each for each in (count, sd_count))
    return Moments(sample.mean(0), sample.var(0), log_sd, *worth)
