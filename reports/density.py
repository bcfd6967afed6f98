"""Densities of draws for the eye: smooth enough to read, sharp enough to keep two modes apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.floating]
SHARES = (0.95, 0.8, 0.5)  # of the mass, inside the contours
BINS_1D, BINS_2D = 160, 96


@dataclass(frozen=True)
class Window:
    """The part of one axis that a panel shows."""

    low: float
    high: float

    def edges(self, bins: int) -> Array:
        return np.linspace(self.low, self.high, bins + 1)

    def centres(self, bins: int) -> Array:
        edges = self.edges(bins)
        return (edges[1:] + edges[:-1]) / 2


def window(truth: Array, others: list[Array]) -> Window:
    """Room for the truth and for most draws of the others, at most twice the truth's width: a
    runaway must not squeeze it.
    """
    low, high = (float(np.quantile(truth, q)) for q in (0.002, 0.998))
    room = 0.5 * (high - low) or 1.0
    lowest = min([low, *(float(np.quantile(x, 0.005)) for x in others)])
    highest = max([high, *(float(np.quantile(x, 0.995)) for x in others)])
    margin = 0.12 * room
    return Window(max(lowest, low - room) - margin, min(highest, high + room) + margin)


def bandwidth(x: Array, dims: int) -> float:
    """Scott's rule on the spread of the densest half of the draws, which two far modes do not
    inflate.
    """
    counts, edges = np.histogram(x, bins=int(min(200, 10 + 3 * len(x) ** 0.5)))
    dense = np.sort(counts)[::-1]
    bins = int(np.searchsorted(np.cumsum(dense), 0.5 * len(x))) + 1
    # half of a normal law lies within 1.349 standard deviations
    spread = bins * float(edges[1] - edges[0]) / 1.349
    return float(spread * len(x) ** (-1 / (dims + 4)))


def curve(x: Array, shown: Window) -> Array:
    """Density of draws [n] at the window's centres, [BINS_1D]; its integral is the share of draws
    inside.
    """
    counts, edges = np.histogram(x, bins=shown.edges(BINS_1D))
    step = float(edges[1] - edges[0])
    return gaussian_filter(counts / (len(x) * step), _bins(bandwidth(x, 1), step), mode="constant")


def surface(x: Array, y: Array, across: Window, up: Window) -> Array:
    """Density of draws [n], [n] at the windows' centres, [BINS_2D up, BINS_2D across], up to a
    constant.
    """
    counts, up_edges, across_edges = np.histogram2d(
        y, x, bins=[up.edges(BINS_2D), across.edges(BINS_2D)]
    )
    widths = (
        _bins(bandwidth(y, 2), up_edges[1] - up_edges[0]),
        _bins(bandwidth(x, 2), across_edges[1] - across_edges[0]),
    )
    return gaussian_filter(counts, widths, mode="constant")


def _bins(width: float, step: float) -> float:
    """A bandwidth in bins: something to see where draws coincide, and no wider than a panel where
    they run away.
    """
    return min(max(float(width / step), 0.7), BINS_2D / 4)


def levels(density: Array) -> list[float]:
    """Heights whose contours enclose ``SHARES`` of the mass, strictly rising; none where there is
    nothing to draw.
    """
    ranked = np.sort(density.ravel())[::-1]
    mass = np.cumsum(ranked)
    if not mass[-1] > 0:
        return []
    found = [float(ranked[np.searchsorted(mass, share * mass[-1])]) for share in SHARES]
    return [
        h for i, h in enumerate(found) if 0 < h < float(ranked[0]) and (i == 0 or h > found[i - 1])
    ]


def far(x: Array, truth: Array) -> float:
    """Kolmogorov and Smirnov's distance of two samples of one coordinate: the largest gap between
    their distributions.
    """
    both = np.sort(np.concatenate([x, truth]))
    ranks = [
        np.searchsorted(np.sort(sample), both, side="right") / len(sample) for sample in (x, truth)
    ]
    return float(np.abs(ranks[0] - ranks[1]).max())


def far_pair(a: Array, truth: Array, bins: int = 8) -> float:
    """Total variation of two samples [n, 2], [m, 2] on a grid of the truth's quantiles, between 0
    and 1.
    """
    edges = [np.quantile(truth[:, i], np.linspace(0, 1, bins + 1)[1:-1]) for i in range(2)]
    shares = []
    for sample in (a, truth):
        place = np.searchsorted(edges[0], sample[:, 0]) * bins + np.searchsorted(
            edges[1], sample[:, 1]
        )
        shares.append(np.bincount(place, minlength=bins * bins) / len(sample))
    return float(np.abs(shares[0] - shares[1]).sum() / 2)
