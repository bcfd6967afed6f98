"""The maximum mean discrepancy: one kernel, no density, unbiased, in memory that grows with the
draws and not their square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Resolves, Skipped, Worse
from bench.metrics.draws import chains
from bench.metrics.draws.coordinates import unstretched
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.samples import standardise, thinned, thinned_note

BLOCK = 128  # rows of the kernel matrix held at a time; fits the cache
MOST = 10_000  # draws of each sample that are compared; the time grows with their square
FAR = 1000.0  # squared distance from the centre, in bandwidths, beyond which draws lie far out
SUBSET = 1000  # draws of the truth behind the bandwidth


@dataclass(frozen=True, eq=False)
class Pairs:
    """Sums of a kernel over pairs of draws, which is all that the estimate and its variance need.

    Args:
        rows, columns: sums over the other sample, for each draw of the first [n] and of the second
            [m].
        squares: sum of the squared kernel over all pairs.
        counts: pairs in each row, [n].
    """

    rows: Tensor
    columns: Tensor
    squares: float
    counts: Tensor

    @property
    def mean(self) -> float:
        return float(self.rows.sum() / self.counts.sum())

    @property
    def interaction(self) -> float:
        """Variance of the kernel that no function of one draw alone explains."""
        row, column = (
            self.rows / self.counts,
            self.columns * (len(self.columns) / self.counts.sum()),
        )
        total = float(self.counts.sum())
        return max(
            0.0, self.squares / total - _mean_square(row) - _mean_square(column) + self.mean**2
        )


def mmd(
    draws: Tensor, truth: Tensor, *, memory: int = 0, moments: float | None = None
) -> Estimate | Skipped:
    """Squared MMD between draws of q [n, D] and of p [m, D]; see ``Mmd``.

    Args:
        memory: rows of ``draws`` up to this far apart are one walk, and not compared with each
            other.
        moments: of the truth exist below this order; None: as its draws show.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> q, p = (torch.randn(500, 2, generator=generator).double() for _ in range(2))
        >>> same, shifted = mmd(q, p), mmd(q + 1.0, p)
        >>> abs(same.value) < 4 * same.stderr  # the same law: zero within its error
        True
        >>> shifted.value > 10 * shifted.stderr
        True
    """
    note, step = thinned_note(draws, truth, MOST), max(1.0, len(draws) / MOST)
    draws, truth, memory = thinned(draws, MOST), thinned(truth, MOST), math.ceil(memory / step)
    scaled = standardise(draws, truth, moments)
    if isinstance(scaled, Skipped):
        return scaled
    bandwidth = median_distance(scaled[1][:SUBSET])
    x, y = unstretched(scaled[0], len(truth)) / bandwidth, scaled[1] / bandwidth
    xx, yy, xy = _within(x, memory), _within(y, 0), _between(x, y)
    value = xx.mean + yy.mean - 2 * xy.mean
    return Estimate(value, math.sqrt(_variance(xx, yy, xy, memory)), "exact", note)


def median_distance(sample: Tensor) -> float:
    """Median distance between two draws of a sample [n, D]."""
    return float(torch.pdist(sample).median())


def _variance(xx: Pairs, yy: Pairs, xy: Pairs, memory: int) -> float:
    """Variance from the scatter of each draw's contribution, as the jackknife has it: at least the
    truth, on average.

    Where q = p these contributions are noise, which the scatter counts twice over and now and then
    misses; there the variance of the second-order part is the least that it can be.
    """
    n, m = len(xx.rows), len(yy.rows)
    of_x, of_y = xx.rows / xx.counts - xy.rows / m, yy.rows / yy.counts - xy.columns / n
    time = chains.autocorrelation_time(of_x) if memory else 1.0
    scatter = 4 * (float(of_x.var()) * time / n + float(of_y.var()) / m)
    second = (
        2 * xx.interaction / (n * (n - 1))
        + 2 * yy.interaction / (m * (m - 1))
        + 4 * xy.interaction / (n * m)
    )
    return max(scatter, second)


def _between(x: Tensor, y: Tensor) -> Pairs:
    return _summed(x, y, same=False)


def _summed(x: Tensor, y: Tensor, *, same: bool) -> Pairs:
    """Sums of the kernel over all pairs; of the pairs within one sample half are enough.

    Kernels are worked out in single precision, which is several times as fast and adds some 1e-7
    to their mean, and summed in double; in double throughout where draws lie far out, whose
    distances would be lost.
    """
    rows, columns, squares = x.new_zeros(len(x)), y.new_zeros(len(y)), 0.0
    if max(float(part.square().sum(1).max()) for part in (x, y)) < FAR:
        x, y = x.float(), y.float()
    half = 0.5 * y.square().sum(1)
    for start in range(0, len(x), BLOCK):
        end, first = min(start + BLOCK, len(x)), start if same else 0
        part = x[start:end]
        kernel = (
            torch.addmm(-half[first:], part, y[first:].T)
            .sub_(0.5 * part.square().sum(1, keepdim=True))
            .clamp_(max=0.0)
            .exp_()
        )
        if same:
            kernel[:, : end - start].fill_diagonal_(1.0)
        rows[start:end] += kernel.sum(1).double()
        if same:
            own, others = kernel[:, : end - start], kernel[:, end - start :]
            rows[end:] += others.sum(0).double()
            squares += _sum_of_squares(own) + 2 * _sum_of_squares(others)
        else:
            columns += kernel.sum(0).double()
            squares += _sum_of_squares(kernel)
    counts = torch.full((len(x),), float(len(y)), dtype=torch.float64)
    return Pairs(rows, rows if same else columns, squares, counts)


def _sum_of_squares(kernel: Tensor) -> float:
    return float(torch.linalg.vector_norm(kernel, dtype=torch.float64)) ** 2


def _within(x: Tensor, memory: int) -> Pairs:
    """Pairs of different draws of one sample, those of one walk left out."""
    x = x - x.mean(0)  # a sample far from the truth would lose its distances to rounding
    n, whole = len(x), _summed(x, x, same=True)
    rows, squares = whole.rows - 1.0, whole.squares - n
    for lag in range(1, memory + 1):
        near = (-0.5 * (x[lag:] - x[:-lag]).square().sum(1)).exp()
        rows[lag:] -= near
        rows[:-lag] -= near
        squares -= 2 * float(near.square().sum())
    return Pairs(rows, rows, squares, chains.partners(n, memory))


def _mean_square(values: Tensor) -> float:
    return float(values.square().mean())


@dataclass(frozen=True)
class Mmd(Metric):
    r"""Squared maximum mean discrepancy, no unit, between 0 and 2: a distance in which no density
    is needed and none is seen.

    .. math::
        \mathrm{MMD}^2 = E\,k(x, x') + E\,k(y, y') - 2\,E\,k(x, y), \quad k(a, b) = \exp(-\|a -
        b\|^2 / 2h^2)

    estimated without the diagonal, so that it is unbiased and may be negative: it is neither
    clamped nor rooted. Both samples are first put on the scale of the truth's covariance, q's less
    what the scale of a sample stretches fresh draws by: without that a q 1.2 times too wide read a
    fifth too much at D = 30, n = 1,000, and 9 of 40 intervals held. h is the median distance
    between 1,000 draws of the truth, so that the metric is the same for every method. Direction:
    none. Draws of one walk are not compared with each other. Of more than 10,000 draws of either
    kind 10,000 evenly spaced ones are compared, and the note says so.

    Standard error: of the U-statistic by the scatter of its terms (times their autocorrelation time
    for chains), and no less than its second-order part, so that it holds where q = p, too; there it
    is up to 1.4 times too wide.

    Source: Gretton, Borgwardt, Rasch, Schoelkopf & Smola, "A kernel two-sample test" (2012), JMLR
    13; the orders of the variance as in Sutherland & Deka, "Unbiased estimators for the variance of
    MMD estimators" (2019), arXiv 1906.02104.
    """

    name: ClassVar[str] = "mmd"
    resolves: ClassVar[Resolves] = "floor"
    heading: ClassVar[str] = "MMD²"
    meaning: ClassVar[str] = (
        "Squared maximum mean discrepancy: a distance between two distributions by a kernel, 0"
        " where they are equal."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return mmd(
            comparison.draws,
            comparison.truth,
            memory=chains.memory(comparison),
            moments=comparison.problem.moments,
        )
