"""Who is best, as far as the uncertainty allows: seeds combined into an interval, intervals compared by what they can bear.

Every metric ranked here is perfect at 0 and worse the larger it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

Rank = Literal["best", "tied", ""]
LEVEL = 0.95
BIAS = 3.0  # nearest-neighbour KL has been off by up to 2.4 times on pairs whose KL is known (10,000 draws, D = 10)


@dataclass(frozen=True)
class Figure:
    """A metric of one method on one problem, its seeds combined.

    Args:
        value: mean over the seeds.
        low, high: 95% interval of that mean.
        kind: the weakest of the seeds' kinds.
        seeds: how many seeds gave a value.
    """

    value: float
    low: float
    high: float
    kind: str
    seeds: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Verdict:
    """What may be said of a figure.

    Args:
        rank: ``best``: every other method is shown to be worse; ``tied``: no method is shown to be better.
        at_floor: it cannot be told from the truth itself.
    """

    rank: Rank = ""
    at_floor: bool = False


def combine(values: Sequence[float], stderrs: Sequence[float], kinds: Sequence[str]) -> Figure:
    r"""Mean over seeds, and the wider of two 95% intervals of that mean.

    .. math:: h = \max\Big(t_{k-1,\,0.975} \sqrt{S^2 / k},\; 1.96 \sqrt{\textstyle\sum_i s_i^2} / k\Big)

    with S the spread between the k seeds and s_i the standard error within each. The first is Student's interval and covers
    95% by itself whatever the sources of spread; the second guards against few seeds that agree by luck. With one seed there
    is no spread to see, and the interval speaks of that seed only.
    """
    k, mean = len(values), float(np.mean(values))
    if not math.isfinite(mean):
        return Figure(math.inf, math.inf, math.inf, _weakest(kinds), k)
    within = -float(stdtrit(np.inf, (1 - LEVEL) / 2)) * math.sqrt(math.fsum(s * s for s in stderrs)) / k
    between = -float(stdtrit(k - 1, (1 - LEVEL) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(k) if k > 1 else 0.0
    half = max(within, between)
    return Figure(mean, mean - half, mean + half, _weakest(kinds), k)


def _weakest(kinds: Sequence[str]) -> str:
    found = set(kinds) - {"exact"}
    if not found:
        return "exact"
    return found.pop() if len(found) == 1 else "estimate"  # a mean of bounds in both directions bounds nothing


def at_floor(figure: Figure, floor: Figure | None) -> bool:
    """Whether the figure gives no reason to think the approximation differs from the truth.

    An estimate is held against the floor: what the same ruler reads on fresh draws of the truth. An exact value has no bias to
    fear, so the floor of a blunter ruler says nothing about it, and it is held against 0. A lower bound near zero leaves
    open how large the truth is, so it is never at the floor; an upper bound is where all of its interval lies below.
    """
    if floor is None or not math.isfinite(figure.value) or figure.kind == "lower bound":
        return False
    if figure.kind == "upper bound":
        return figure.high <= floor.high
    limit = floor.high if figure.kind in ("estimate", floor.kind) else 0.0
    return figure.low <= limit


def rank(figures: Mapping[str, Figure], floor: Figure | None) -> dict[str, Verdict]:
    """A verdict for each method; ``floor`` is the figure of exact draws, or None where there were none.

    A method is out when another is shown to be better: their possible values (``_possible``) do not meet. If one method
    remains of several, it is the best; if more remain, those with evidence of being good are tied. A lower bound can put its
    method out and can keep a rival from being called best, but earns no mark: the true value may be anything above it.
    """
    left = {name: figure for name, figure in figures.items() if math.isfinite(figure.value)}
    remaining = [
        name
        for name, figure in left.items()
        if not any(_possible(rival, figure, floor)[1] < _possible(figure, rival, floor)[0] for rival in left.values())
    ]
    marked = {name for name in remaining if left[name].kind != "lower bound"}
    word: Rank = "best" if len(remaining) == 1 else "tied"
    ranks: dict[str, Rank] = dict.fromkeys(marked, word) if len(figures) > 1 else {}
    return {name: Verdict(ranks.get(name, ""), at_floor(figure, floor)) for name, figure in figures.items()}


def _possible(figure: Figure, rival: Figure, floor: Figure | None) -> tuple[float, float]:
    """The values a figure leaves possible when it is held against a rival.

    A bound leaves one side open. An estimate at the floor may be anything below. Above the floor, estimates by one ruler
    compare by their intervals; against another kind an estimate is trusted within a factor ``BIAS`` only.
    """
    if figure.kind == "lower bound":
        return figure.low, math.inf
    if figure.kind == "upper bound":
        return -math.inf, figure.high
    if figure.kind == "estimate" and at_floor(figure, floor):
        return -math.inf, max(figure.high, floor.high if floor else -math.inf)
    if figure.kind == "estimate" and rival.kind != "estimate":
        return min(figure.low, figure.low / BIAS), max(figure.high, figure.high * BIAS)
    return figure.low, figure.high
