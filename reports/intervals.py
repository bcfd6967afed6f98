"""Seeds combined into one figure with its interval; a quantity known between two bounds has one
from end to end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.special import ndtri, stdtrit

from reports.comparing import ROUNDING, Reading

LEVEL = 0.95
WIDTH = float(ndtri((1 + LEVEL) / 2))  # half of a 95% interval, in standard errors
BRACKET = "between bounds"  # the kind of a lower bound that has an upper one beside it
MIRRORED = {"lower bound": "upper bound", "upper bound": "lower bound"}
SPREAD = 4.0  # standard errors between the lowest and the highest seed that noise does not explain
Worse = Literal["above", "below", "both"]


@dataclass(frozen=True)
class Figure:
    """A metric of one method on one problem, its seeds combined.

    Args:
        value: mean over the seeds; of a bracket, of its lower end.
        low, high: 95% interval that the noise of measuring leaves that mean; of a bracket, from the
            low end of the lower bound's to the high end of the upper's; NaN where there is none.
        kind: the weakest of the seeds' kinds.
        seeds: how many seeds gave a value.
        above: of a bracket, the upper bound with its own interval.
        readings: value and standard error of each seed; of a bracket, of its lower end.
    """

    value: float
    low: float
    high: float
    kind: str
    seeds: int
    above: Figure | None = None
    readings: Mapping[int, Reading] = field(default_factory=dict)

    @property
    def half_width(self) -> float:
        """Half of the 95% interval; of a bracket, of the wider of its two ends', so that it holds
        for both.
        """
        if self.above is None:
            return (self.high - self.low) / 2
        return max(self.value - self.low, self.above.half_width)

    @property
    def spread(self) -> list[float]:
        """The seeds' values from the lowest to the highest, where they differ by more than noise;
        empty where they do not.
        """
        values = sorted(value for value, _ in self.readings.values())
        if len(values) < 2 or not math.isfinite(values[0]) or not math.isfinite(values[-1]):
            return []
        noise = math.sqrt(sum(s * s for _, s in self.readings.values()) / len(values))
        least = 0.0 if math.isnan(noise) else SPREAD * noise
        return values if values[-1] - values[0] > max(least, ROUNDING) else []


def combine(
    values: Sequence[float],
    stderrs: Sequence[float],
    kinds: Sequence[str],
    above: Sequence[Reading | None] = (),
    seeds: Sequence[int] | None = None,
) -> Figure:
    r"""Mean over seeds, with the 95% interval that the noise of measuring leaves it.

    .. math:: h = 1.96 \sqrt{\textstyle\sum_i s_i^2} / k

    with s_i the standard error within each of the k seeds. How much the seeds differ is no part of
    it: two or three of them say too little about their own spread for an interval, so that their
    values are shown, and ``comparing.better`` weighs them where methods are ranked.

    Where a seed has no standard error (its draws interact), seeds are all that there is: the
    interval is Student's, from their spread; of one seed there is none, and its ends are NaN.

    Args:
        values, stderrs, kinds: one a seed; the value of a bracket is its lower end; NaN for a
            standard error that is not known.
        above: the upper end of each seed that is a bracket, None for the others. The ends are
            combined each for itself. A seed known exactly is both ends of its own; one with a lower
            bound alone leaves the mean open from above.
        seeds: their numbers, by which methods are paired; 0, 1, ... by default.
    """
    lower = _mean(values, stderrs, _weakest(kinds), seeds)
    if lower.kind != BRACKET:
        return lower
    ends = [end or seed for end, seed in zip(above, zip(values, stderrs, strict=True), strict=True)]
    upper = _mean(
        [value for value, _ in ends], [stderr for _, stderr in ends], "upper bound", seeds
    )
    if not math.isfinite(upper.value):
        return replace(lower, kind="lower bound")
    low, high = sorted((lower.low, upper.high))  # noise alone can turn them round
    return replace(lower, low=low, high=high, above=upper)


def deviation(
    values: Sequence[float],
    stderrs: Sequence[float],
    kinds: Sequence[str],
    ideal: float,
    seeds: Sequence[int] | None = None,
) -> Figure:
    """Mean distance of the seeds from an ideal, to whichever side each is: errors of opposite sign
    do not cancel.

    Its low end is what noise does not explain: of the seeds' mean, or of each seed at a level that
    holds for all together.
    """
    mean = _mean(values, stderrs, _weakest(kinds))
    found = _mean([abs(value - ideal) for value in values], stderrs, _weakest(kinds), seeds)
    if any(map(math.isnan, stderrs)):
        least = max(abs(mean.value - ideal) - mean.half_width, 0.0)
        return replace(found, low=found.low if len(values) == 1 else least)
    reach = float(ndtri((1 + LEVEL ** (1 / len(values))) / 2))
    beyond = [
        max(abs(value - ideal) - reach * stderr, 0.0)
        for value, stderr in zip(values, stderrs, strict=True)
    ]
    least = max(float(np.mean(beyond)), abs(mean.value - ideal) - mean.half_width, 0.0)
    return replace(found, low=min(least, found.value))


def floor(
    values: Sequence[float],
    stderrs: Sequence[float],
    kinds: Sequence[str],
    seeds: Sequence[int] | None = None,
) -> Figure:
    """As ``combine`` for draws of the truth itself: seeds are alike but for noise, so that their
    spread is noise, too, and the wider of the two intervals is taken.
    """
    found = _mean(values, stderrs, _weakest(kinds), seeds)
    if found.seeds < 2 or not math.isfinite(found.value):
        return found
    between = WIDTH * float(np.std(values, ddof=1)) / math.sqrt(found.seeds)
    half = max(found.half_width, between)
    return replace(found, low=found.value - half, high=found.value + half)


def _mean(
    values: Sequence[float],
    stderrs: Sequence[float],
    kind: str,
    seeds: Sequence[int] | None = None,
) -> Figure:
    k = len(values)
    mean = sum(values) / k
    if not math.isfinite(mean):
        return Figure(math.inf, math.inf, math.inf, kind, k)
    half = WIDTH * math.sqrt(sum(s * s for s in stderrs)) / k
    if math.isnan(half) and k > 1:
        half = float(stdtrit(k - 1, (1 + LEVEL) / 2) * np.std(values, ddof=1)) / math.sqrt(k)
    found = zip(seeds or range(k), zip(values, stderrs, strict=True), strict=True)
    return Figure(mean, mean - half, mean + half, kind, k, readings=dict(found))


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
    moved = _moved(figure, ideal, 1.0)
    if worse == "above":
        return moved
    mirrored = _moved(figure, ideal, -1.0)
    mirrored = replace(mirrored, kind=MIRRORED.get(moved.kind, moved.kind))
    return mirrored if worse == "below" else _folded(moved, mirrored)


def _moved(figure: Figure, ideal: float, sign: float) -> Figure:
    low, high = sorted((sign * (figure.low - ideal), sign * (figure.high - ideal)))
    readings = {
        seed: (sign * (value - ideal), stderr) for seed, (value, stderr) in figure.readings.items()
    }
    above = figure.above and _moved(figure.above, ideal, sign)
    return replace(
        figure,
        value=sign * (figure.value - ideal),
        low=low,
        high=high,
        above=above,
        readings=readings,
    )


def _folded(figure: Figure, mirrored: Figure) -> Figure:
    """Absolute values: of a bound, a bound below only, and none that says anything if 0 lies on its
    open side.
    """
    if figure.kind in MIRRORED:
        bound = figure if figure.kind == "lower bound" else mirrored
        readings = {seed: (max(value, 0.0), s) for seed, (value, s) in bound.readings.items()}
        return replace(
            bound,
            value=max(bound.value, 0.0),
            low=max(bound.low, 0.0),
            high=max(bound.high, 0.0),
            readings=readings,
        )
    ends = abs(figure.low), abs(figure.high)
    return replace(
        figure,
        value=abs(figure.value),
        low=0.0 if figure.low <= 0 <= figure.high else min(ends),
        high=max(ends),
        readings={seed: (abs(value), s) for seed, (value, s) in figure.readings.items()},
    )
