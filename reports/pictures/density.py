"""Densities of draws for the eye: smooth enough to read, sharp enough to keep two modes apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.floating]
SHARES = (0.95, 0.8, 0.5)  # of the mass, inside the contours
BINS_1D, BINS_2D = 160, 64
FAR = 2.0  # widths of a window beyond it, to which draws further away are brought


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


def constant(truth: Array) -> bool:
    """Whether a coordinate of the truth [n] is one value to rounding, so that there is no density
    to draw.
    """
    low, high = (float(np.quantile(truth, q)) for q in (0.002, 0.998))
    return not high - low > 1e-12 * max(abs(low), abs(high))


def bandwidth(x: Array, dims: int) -> float:
    """Scott's rule on the spread of the densest half of the draws, which two far modes do not
    inflate.

    Args:
        x: draws [n] in units of a window's width, those far outside drawn in (``_placed``).
        dims: of the density.
    """
    counts, edges = np.histogram(x, bins=int(min(200, 10 + 3 * len(x) ** 0.5)))
    dense = np.sort(counts)[::-1]
    bins = int(np.searchsorted(np.cumsum(dense), 0.5 * len(x))) + 1
    # half of a normal law lies within 1.349 standard deviations
    spread = bins * float(edges[1] - edges[0]) / 1.349
    return float(spread * len(x) ** (-1 / (dims + 4)))


def _placed(x: Array, shown: Window) -> Array:
    """Draws [n] with the window at 0 to 1; those that are far away are brought to its surroundings,
    where they are as little seen.
    """
    placed: Array = np.clip((x - shown.low) / (shown.high - shown.low), -FAR, 1 + FAR)
    return placed


def curve(x: Array, shown: Window) -> Array:
    """Density of draws [n] at the window's centres, [BINS_1D]; its integral is the share of draws
    inside.
    """
    placed = _placed(x, shown)
    counts, _ = np.histogram(placed, bins=BINS_1D, range=(0.0, 1.0))
    step = (shown.high - shown.low) / BINS_1D
    width = _bins(bandwidth(placed, 1), 1 / BINS_1D)
    return gaussian_filter(counts / (len(x) * step), width, mode="constant")


def surface(x: Array, y: Array, across: Window, up: Window) -> Array:
    """Density of draws [n], [n] at the windows' centres, [BINS_2D up, BINS_2D across], up to a
    constant.
    """
    right, high = _placed(x, across), _placed(y, up)
    counts, _, _ = np.histogram2d(high, right, bins=BINS_2D, range=((0.0, 1.0), (0.0, 1.0)))
    widths = [_bins(bandwidth(placed, 2), 1 / BINS_2D) for placed in (high, right)]
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
