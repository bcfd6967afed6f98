"""The divergence from two samples alone, by nearest neighbours: always to be had, and in ten
dimensions seldom right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Resolves, Skipped, Worse, kept
from bench.metrics.draws import chains
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.samples import (
    FEWEST_DRAWS,
    constant_coordinates,
    standardise,
    thinned,
    thinned_note,
)

Floats = NDArray[np.float64]
NEIGHBOURS = 3  # the default of the ITE toolbox, with which the AVB paper measured
MOST = 10_000  # draws of each sample that are compared; the time grows faster than their number
BLOCKS = 20  # subsamples behind the standard error


@dataclass(frozen=True, eq=False)
class Sites:
    """A sample as the distinct places that it visits, in order of first visit.

    Args:
        points: [u, D]; visits: how many rows lie there, [u]; rows: the row of the first visit, [u].
    """

    points: Floats
    visits: NDArray[np.int64]
    rows: NDArray[np.int64]

    @staticmethod
    def of(sample: Tensor, points: Tensor) -> Sites:
        """Rows of a sample [n, D] that are the same number by number, placed where ``points`` [n,
        D] has them.
        """
        _, rows, visits = np.unique(sample.numpy(), axis=0, return_index=True, return_counts=True)
        order = np.argsort(rows)
        return Sites(points.numpy()[rows[order]], visits[order], rows[order])

    def every(self, step: int, start: int) -> Sites:
        """A subsample: sites start, start + step, ..."""
        return Sites(self.points[start::step], self.visits[start::step], self.rows[start::step])

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, eq=False)
class Pair:
    """Both samples as sites, and what neighbours say of the draws of q.

    Args:
        q, p: the sites.
        ratios: estimates of log q/p at the sites of q, [u].
        time: how many successive ratios are worth one.
        note: how many draws were left out; else empty.
    """

    q: Sites
    p: Sites
    ratios: Floats
    time: float
    note: str


def kl_knn(
    draws: Tensor,
    truth: Tensor,
    *,
    k: int = NEIGHBOURS,
    memory: int = 0,
    moments: float | None = None,
) -> Estimate | Skipped:
    """KL(q||p) in nats from draws of q [n, D] and of p [m, D]; see ``KlKnn`` for the estimator.

    Args:
        k: which neighbour.
        memory: rows of ``draws`` up to this far apart are one walk, and not each other's
            neighbours.
        moments: of the truth exist below this order; None: as its draws show.
    """
    found = _pair(draws, truth, k, memory, moments)
    return found if isinstance(found, Skipped) else _forward(found, k)


def kl_knn_reverse(
    draws: Tensor,
    truth: Tensor,
    *,
    k: int = NEIGHBOURS,
    memory: int = 0,
    moments: float | None = None,
) -> Estimate | Skipped:
    """KL(p||q) in nats from draws of q [n, D] and of p [m, D]: ``KlKnn`` with the two samples in
    each other's place.
    """
    found = _pair(draws, truth, k, memory, moments)
    return found if isinstance(found, Skipped) else _reverse(found, k)


def _forward(pair: Pair, k: int) -> Estimate:
    return _estimate(pair.ratios, pair.q, pair.p, k, pair)


def _reverse(pair: Pair, k: int) -> Estimate:
    return _estimate(_log_ratios(pair.p, pair.q, k, 0), pair.p, pair.q, k, pair)


def _pair(
    draws: Tensor, truth: Tensor, k: int, memory: int, moments: float | None
) -> Pair | Skipped:
    step = max(1.0, len(draws) / MOST)
    note = thinned_note(draws, truth, MOST)
    draws, truth = thinned(draws, MOST), thinned(truth, MOST)
    memory = math.ceil(memory / step)
    sites = _samples(draws, truth, k, memory, moments)
    if isinstance(sites, Skipped):
        return sites
    ratios = _log_ratios(*sites, k, memory)
    time = chains.autocorrelation_time(torch.from_numpy(ratios)) if memory else 1.0
    return Pair(*sites, ratios, time, note)


def _samples(
    draws: Tensor, truth: Tensor, k: int, memory: int, moments: float | None
) -> tuple[Sites, Sites] | Skipped:
    """Both samples on the scale of the truth, or why neighbours cannot compare them."""
    scaled = standardise(draws, truth, moments)
    if isinstance(scaled, Skipped):
        return scaled
    if constant := constant_coordinates(draws):
        return Skipped(
            f"Coordinate {constant[0]} is the same in all {len(draws)} draws: they have no density,"
            " and KL is infinite."
        )
    x, y = Sites.of(draws, scaled[0]), Sites.of(truth, scaled[1])
    fewest, found = max(FEWEST_DRAWS, 4 * (k + 1)), min(len(x), len(y))
    if found < fewest:
        return Skipped(
            f"{found} distinct draws are too few for {k} neighbours; at least {fewest} are needed."
        )
    if len(x) - np.diff(_walk(x, memory), axis=0).max() < k:
        return Skipped(
            f"The {len(x)} distinct draws are one walk: none has {k} neighbours that are"
            " independent of it."
        )
    both = np.concatenate([draws.double().numpy()[x.rows], truth.double().numpy()[y.rows]])
    shared = len(both) - len(np.unique(both, axis=0))
    if shared:
        return Skipped(
            f"{shared} draws are draws of the truth as well; neighbours compare independent samples"
            " only."
        )
    return x, y


def _estimate(ratios: Floats, x: Sites, y: Sites, k: int, pair: Pair) -> Estimate:
    stderr = math.sqrt(_block_variance(x, y, k) * pair.time)
    return Estimate(_mean(ratios, x), stderr, "estimate", pair.note)


def _log_ratios(x: Sites, y: Sites, k: int, memory: int) -> Floats:
    """Estimates of log q/p at the sites of x, [u]."""
    own, others = _own_neighbours(x, k, memory)
    ratios: Floats = x.points.shape[1] * np.log(_distance(x, y, k) / own) + np.log(len(y) / others)
    return ratios


def _distance(x: Sites, y: Sites, k: int) -> Floats:
    """Distance from each site of x to the k-th nearest site of y, [u]."""
    return np.asarray(cKDTree(y.points).query(x.points, k=[k], workers=1)[0])[:, 0]


def _own_neighbours(x: Sites, k: int, memory: int) -> tuple[Floats, NDArray[np.int64]]:
    """Distance to the k-th nearest site that is not of the same walk, and how many such sites there
    are: [u], [u].

    Few of the nearest sites are of the same walk, so that few are asked for first, and more where
    these were not enough.
    """
    first, last = _walk(x, memory)
    most, tree = min(k + int((last - first).max()), len(x)), cKDTree(x.points)
    found, rows = np.empty(len(x)), np.arange(len(x))
    reach = min(2 * (k + 1), most)
    while len(rows):
        distances, index = map(np.asarray, tree.query(x.points[rows], k=reach, workers=1))
        strange = (index < first[rows, None]) | (index >= last[rows, None])
        enough = strange.sum(1) >= k
        kth = (strange.cumsum(1) == k).argmax(1)
        found[rows[enough]] = distances[enough, kth[enough]]
        rows, reach = rows[~enough], min(4 * reach, most)
    return found, len(x) - (last - first)


def _walk(x: Sites, memory: int) -> NDArray[np.int64]:
    """Sites of the same walk as each site, itself among them: from the first up to the last and not
    including it, [2, u].
    """
    first, last = (
        np.searchsorted(x.rows, x.rows - memory),
        np.searchsorted(x.rows, x.rows + memory, side="right"),
    )
    return np.stack([first, last]).astype(np.int64)


def _block_variance(x: Sites, y: Sites, k: int) -> float:
    """Variance of the estimate, from its scatter over disjoint subsamples of both samples."""
    blocks = min(BLOCKS, min(len(x), len(y)) // (2 * (k + 1)))
    found = []
    for start in range(blocks):
        part = x.every(blocks, start)
        found.append(_mean(_log_ratios(part, y.every(blocks, start), k, 0), part))
    return float(np.var(found, ddof=1)) / blocks


def _mean(ratios: Floats, x: Sites) -> float:
    return float(np.average(ratios, weights=x.visits))


@kept
def _pair_of(comparison: Comparison, k: int) -> Pair | Skipped:
    return _pair(
        comparison.draws,
        comparison.truth,
        k,
        chains.memory(comparison),
        comparison.problem.moments,
    )


@kept
def compared(comparison: Comparison, k: int) -> Estimate | Skipped:
    """KL(q||p) by nearest neighbours, for the draws of a comparison."""
    found = _pair_of(comparison, k)
    return found if isinstance(found, Skipped) else _forward(found, k)


@kept
def compared_reverse(comparison: Comparison, k: int) -> Estimate | Skipped:
    """KL(p||q) by nearest neighbours, for the draws of a comparison."""
    found = _pair_of(comparison, k)
    return found if isinstance(found, Skipped) else _reverse(found, k)


@dataclass(frozen=True)
class KlKnn(Metric):
    r"""KL(q||p), nats, from draws alone whatever else is known: the figure that the AVB paper
    reported.

    .. math:: \frac{D}{n} \sum_i \log \frac{\nu_k(i)}{\rho_k(i)} + \log \frac{m}{n - 1}

    for n draws of q and m of p, where rho_k(i) and nu_k(i) are the distances from the i-th draw of
    q to its k-th nearest neighbour among the other draws of q, and among those of p. Both samples
    are first put on the scale of the truth's covariance. Rows that repeat (a Metropolis chain that
    stays) are one neighbour, however often they are visited, and count as often as they are visited
    in the mean; draws of one walk are not each other's neighbours. Of more than 10,000 draws of
    either kind 10,000 evenly spaced ones are compared, and the note says so.

    Standard error: scatter over 20 disjoint subsamples, times the root of the autocorrelation time
    of the terms for chains. Biased at any affordable n in ten dimensions, so an ``estimate``: see
    docs/metrics.md.

    Source: Wang, Kulkarni & Verdu, "Divergence estimation for multidimensional densities via
    k-nearest-neighbor distances" (2009), IEEE Transactions on Information Theory 55(5), doi
    10.1109/TIT.2009.2016060.

    Args:
        k: which neighbour; a larger one has less noise and more bias.
    """

    k: int = NEIGHBOURS
    name: ClassVar[str] = "kl_knn"
    resolves: ClassVar[Resolves] = "floor"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL by neighbours, nats"
    meaning: ClassVar[str] = (
        "KL(q‖p) estimated from draws alone by nearest neighbours: the same metric for every"
        " method, biased when far from 0."
    )
    worse: ClassVar[Worse] = "above"
    astray: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"KlKnn(k=...) must be at least 1, got {self.k}.")

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return compared(comparison, self.k)
