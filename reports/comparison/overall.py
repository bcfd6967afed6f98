r"""Methods over many problems: average ranks, win rates and performance profiles.

- Average ranks differ by chance by less than the critical difference
  :math:`q_{0.05}(k) \sqrt{k (k + 1) / (6 N)}` for k entries on N problems (Nemenyi's test; Demsar,
  Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006).
- A win rate is the share of problems on which one entry is nearer to the truth than another, a tie
  counting half; its interval comes from drawing problems, and seeds within each, again.
- A performance profile is the share of problems on which an entry is within a factor of the best
  (Dolan and More, Benchmarking optimization software with performance profiles, 2002).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, studentized_range

from reports.comparing import ROUNDING
from reports.ranking import RATE

FACTORS = (1.0, 1.1, 1.5, 2.0, 5.0, 10.0)
AGAIN = 1000  # times that problems and seeds are drawn again
Values = Mapping[str, Mapping[str, Sequence[float]]]  # distances by problem, entry and seed


@dataclass(frozen=True)
class Overall:
    """What is said of entries over problems.

    Args:
        problems: how many have a figure of every entry.
        ranks: average rank of each entry, 1 the best.
        critical: the difference of two average ranks that chance explains; NaN of one problem.
        wins: share of problems on which the first is better than the second, with the ends of its
            95% interval.
        profiles: share of problems within each of ``FACTORS`` of the best.
    """

    problems: int
    ranks: Mapping[str, float]
    critical: float
    wins: Mapping[tuple[str, str], tuple[float, float, float]]
    profiles: Mapping[str, Sequence[float]]


def overall(values: Values, floors: Mapping[str, float]) -> Overall | None:
    """Rank entries over the problems that have a figure of each; None where there is none.

    Args:
        values: distances from the truth by problem and entry, one a seed.
        floors: by problem, what the metric reads on the truth at the most: all below is alike.
    """
    entries = list(dict.fromkeys(entry for of in values.values() for entry in of))
    shared = [problem for problem, of in values.items() if len(of) == len(entries)]
    if not shared or len(entries) < 2:
        return None
    least = np.array([max(floors.get(problem, 0.0), ROUNDING) for problem in shared])[:, None]
    seeds = [[np.asarray(values[problem][entry]) for entry in entries] for problem in shared]
    means = np.maximum([[of.mean() for of in row] for row in seeds], least)
    ranks = np.mean([rankdata(row) for row in means], axis=0)
    ratios = means / means.min(1, keepdims=True)
    shares = [(ratios <= factor * (1 + ROUNDING)).mean(0) for factor in FACTORS]
    return Overall(
        len(shared),
        dict(zip(entries, map(float, ranks), strict=True)),
        critical_difference(len(entries), len(shared)),
        _wins(entries, seeds, means, least),
        {entry: [float(share[i]) for share in shares] for i, entry in enumerate(entries)},
    )


def critical_difference(entries: int, problems: int) -> float:
    """Nemenyi's critical difference of average ranks; NaN where there is one problem."""
    if problems < 2:
        return math.nan
    q = float(studentized_range.ppf(1 - RATE, entries, np.inf)) / math.sqrt(2)
    return q * math.sqrt(entries * (entries + 1) / (6 * problems))


def _wins(
    entries: Sequence[str],
    seeds: Sequence[Sequence[NDArray[np.float64]]],
    means: NDArray[np.float64],
    least: NDArray[np.float64],
) -> dict[tuple[str, str], tuple[float, float, float]]:
    rng = np.random.default_rng(0)
    drawn = np.stack([_drawn(row, rng) for row in seeds], 1)  # [again, problems, entries]
    which = rng.integers(len(seeds), size=(AGAIN, len(seeds)))
    drawn = np.take_along_axis(np.maximum(drawn, least), which[:, :, None], 1)
    found = {}
    for (i, a), (j, b) in itertools.combinations(enumerate(entries), 2):
        rates = _rate(drawn[..., i], drawn[..., j])
        low, high = np.quantile(rates, (RATE / 2, 1 - RATE / 2))
        found[a, b] = float(_rate(means[:, i], means[:, j])), float(low), float(high)
    return found


def _drawn(seeds: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> NDArray[np.float64]:
    """Means over seeds that are drawn again, [again, entries]; the same seeds of entries that have
    as many.
    """
    which = {k: rng.integers(k, size=(AGAIN, k)) for k in sorted({len(of) for of in seeds})}
    return np.stack([of[which[len(of)]].mean(1) for of in seeds], -1)


def _rate(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share, over the last axis, of a below b, ties counting half."""
    found: NDArray[np.float64] = ((a < b) + 0.5 * (a == b)).mean(-1)
    return found
