"""Seeds combined into one figure with its interval; a quantity known between two bounds has one
from end to end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
BRACKET = "between bounds"  # the kind of a lower bound that has an upper one beside it
MIRRORED = {"lower bound": "upper bound", "upper bound": "lower bound"}
Worse = Literal["above", "below", "both"]
Reading = tuple[float, float]  # value, standard error


@dataclass(frozen=True)
class Figure:
    """A metric of one method on one problem, its seeds combined.

    Args:
        value: mean over the seeds; of a bracket, of its lower end.
        low, high: 95% interval of that mean; of a bracket, from the low end of the lower bound's to
            the high end of the upper's.
        kind: the weakest of the seeds' kinds.
        seeds: how many seeds gave a value.
        above: of a bracket, the upper bound with its own interval.
        noise: half of the 95% interval that the standard errors alone give the mean. How much seeds
            differ is no noise of the ruler: two runs at 1.3 ± 0.1 and 1.8 ± 0.1 both are far from
            0, wide as the interval of their mean is. None: as the interval.
    """

    value: float
    low: float
    high: float
    kind: str
    seeds: int
    above: Figure | None = None
    noise: float | None = None

    @property
    def half_width(self) -> float:
        """Half of the 95% interval; of a bracket, of the wider of its two ends', so that it holds
        for both.
        """
        if self.above is None:
            return (self.high - self.low) / 2
        return max(self.value - self.low, self.above.half_width)

    @property
    def least(self) -> float:
        """The low end by the noise of the ruler alone: above what the truth reads, or not."""
        return self.low if self.noise is None else self.value - self.noise

    @property
    def most(self) -> float:
        """The high end by the noise of the ruler alone."""
        return self.high if self.noise is None else self.value + self.noise


def combine(
    values: Sequence[float],
    stderrs: Sequence[float],
    kinds: Sequence[str],
    above: Sequence[Reading | None] = (),
) -> Figure:
    r"""Mean over seeds, and the wider of two 95% intervals of that mean.

    .. math::
        h = \max\Big(t_{k-1,\,0.975} \sqrt{S^2 / k},\; 1.96 \sqrt{\textstyle\sum_i s_i^2} / k\Big)

    with S the spread between the k seeds and s_i the standard error within each. The first is
    Student's interval and covers 95% by itself whatever the sources of spread; the second guards
    against few seeds that agree by luck. With one seed there is no spread to see, and the interval
    speaks of that seed only.

    Args:
        values, stderrs, kinds: one a seed; the value of a bracket is its lower end.
        above: the upper end of each seed that is a bracket, None for the others. The ends are
            combined each for itself. A seed known exactly is both ends of its own; one with a lower
            bound alone leaves the mean open from above.
    """
    lower = _mean(values, stderrs, _weakest(kinds))
    if lower.kind != BRACKET:
        return lower
    ends = [end or seed for end, seed in zip(above, zip(values, stderrs, strict=True), strict=True)]
    upper = _mean([value for value, _ in ends], [stderr for _, stderr in ends], "upper bound")
    if not math.isfinite(upper.value):
        return replace(lower, kind="lower bound")
    low, high = sorted((lower.low, upper.high))  # noise alone can turn them round
    return replace(lower, low=low, high=high, above=upper)


def deviation(
    values: Sequence[float], stderrs: Sequence[float], kinds: Sequence[str], ideal: float
) -> Figure:
    """Mean distance of the seeds from an ideal, to whichever side each is: errors of opposite sign
    do not cancel.

    Its ``least`` is what noise does not explain: of the seeds' mean, or of each seed at a level
    that holds for all together.
    """
    mean = _mean(values, stderrs, _weakest(kinds))
    found = _mean([abs(value - ideal) for value in values], stderrs, _weakest(kinds))
    reach = -float(stdtrit(np.inf, (1 - LEVEL ** (1 / len(values))) / 2))
    beyond = [
        max(abs(value - ideal) - reach * stderr, 0.0)
        for value, stderr in zip(values, stderrs, strict=True)
    ]
    least = max(float(np.mean(beyond)), abs(mean.value - ideal) - (mean.noise or 0.0))
    return replace(found, low=max(found.low, 0.0), noise=found.value - least)


def floor(values: Sequence[float], stderrs: Sequence[float], kinds: Sequence[str]) -> Figure:
    """As ``combine`` for draws of the truth itself: seeds are alike but for noise, so that their
    spread is normal, too.

    Student's interval of two seeds would be six times as wide, and a floor as wide as that takes in
    what does not belong.
    """
    return _mean(values, stderrs, _weakest(kinds), alike=True)


def _mean(
    values: Sequence[float], stderrs: Sequence[float], kind: str, *, alike: bool = False
) -> Figure:
    k, mean = len(values), float(np.mean(values))
    if not math.isfinite(mean):
        return Figure(math.inf, math.inf, math.inf, kind, k)
    freedom = np.inf if alike else k - 1
    within = (
        -float(stdtrit(np.inf, (1 - LEVEL) / 2)) * math.sqrt(math.fsum(s * s for s in stderrs)) / k
    )
    between = (
        -float(stdtrit(freedom, (1 - LEVEL) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(k)
        if k > 1
        else 0.0
    )
    half = max(within, between)
    return Figure(mean, mean - half, mean + half, kind, k, noise=within)


def _weakest(kinds: Sequence[str]) -> str:
    found = set(kinds) - {"exact"}
    if found == {BRACKET, "lower bound"}:
        return "lower bound"
    if not found:
        return "exact"
    # a mean of bounds in both directions bounds nothing
    return found.pop() if len(found) == 1 else "estimate"


def loss(figure: Figure, ideal: float = 0.0, worse: Worse = "above") -> Figure:
    """The same figure as a distance from its ideal: perfect at 0, and worse the larger it is.

    Args:
        ideal: the value of a perfect approximation.
        worse: on which side of the ideal; for ``both`` the distance is absolute, and its interval
            that of all absolute values.
    """
    if not math.isfinite(figure.value) or (ideal == 0.0 and worse == "above"):
        return figure
    value, low, high = figure.value - ideal, figure.low - ideal, figure.high - ideal
    moved = replace(
        figure, value=value, low=low, high=high, above=figure.above and loss(figure.above, ideal)
    )
    if worse == "above":
        return moved
    mirrored = replace(
        moved, value=-value, low=-high, high=-low, kind=MIRRORED.get(moved.kind, moved.kind)
    )
    return mirrored if worse == "below" else _folded(moved, mirrored)


def _folded(figure: Figure, mirrored: Figure) -> Figure:
    """Absolute values: of a bound, a bound below only, and none that says anything if 0 lies on its
    open side.
    """
    if figure.kind in MIRRORED:
        bound = figure if figure.kind == "lower bound" else mirrored
        return replace(
            bound, value=max(bound.value, 0.0), low=max(bound.low, 0.0), high=max(bound.high, 0.0)
        )
    ends = abs(figure.low), abs(figure.high)
    return replace(
        figure,
        value=abs(figure.value),
        low=0.0 if figure.low <= 0 <= figure.high else min(ends),
        high=max(ends),
    )
