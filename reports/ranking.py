"""Which method is better than which, as far as the uncertainty allows: none above another inside
the noise, none by luck of one seed, and all that is said of one problem wrong at most once in
twenty times.

Every figure here is a distance from an ideal, perfect at 0 and worse the larger it is;
``intervals.loss`` makes it one.

Which noise floor a figure is held against depends on the estimator that measured it:

- an ``estimate``: what the same estimator reads on fresh draws of the truth, the row of the method
  ``exact``;
- another kind that is the kind of that row, too (MMD by an unbiased sum): the same;
- an exact value, a bound or a bracket beside a row of another kind: it comes from log q - log p,
  which is constant where q = p. That estimator has no noise on the truth, and its floor is 0.

All pairs of methods are compared (``comparing.better``), each by the worst that its figure leaves
possible for the one and the best that it leaves for the other: a bound leaves one side open, and so
does whatever lies inside the noise. What is shown of one problem by one metric is a family: Holm's
procedure keeps the chance that any of it is wrong at ``RATE``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from reports.comparing import Reading, better, holm
from reports.intervals import Figure

Rank = Literal["best", "tied", ""]
Fault = Literal["", "impossible", "below", "denied", "chains", "interacting"]
RATE = 0.05  # of anything wrong in what is said of one problem by one metric
# nearest neighbours have read up to 2.4 times too much on pairs whose KL is known (10,000 draws, D
# = 10)
BIAS = 3.0
FEWEST = 2  # seeds of a method that earns a star


@dataclass(frozen=True)
class Verdict:
    """What may be said of a figure.

    Args:
        rank: ``best``: better than another method, and no method is shown to be better; ``tied``:
            no method is shown to be better, and none to be worse.
        at_floor: it cannot be told from the truth itself.
        fault: why the figure is not believed, and earns no mark: ``impossible``, a divergence below
            zero; ``below``, an estimate below all that the truth reads; ``denied`` by a bound;
            ``chains`` that do not agree; ``interacting`` draws, whose neighbours are not those of
            independent ones.
    """

    rank: Rank = ""
    at_floor: bool = False
    fault: Fault = ""


@dataclass(frozen=True)
class Margin:
    """By how much one method is better than another.

    Args:
        value: the difference of their means over seeds; of figures that leave a side open, the
            least that the difference can be.
        half_width: of its 95% interval by the noise of measuring; None where it is a least value.
        span: the smallest and the largest difference of any two seeds where they differ by more
            than noise.
    """

    value: float
    half_width: float | None = None
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Ranking:
    """Verdicts by method, and the margin of every pair (better, worse) that is shown."""

    verdicts: Mapping[str, Verdict]
    shown: Mapping[tuple[str, str], Margin]


@dataclass(frozen=True)
class NoiseFloor:
    """What the estimators of one metric read on the truth itself.

    Args:
        floor: the figure of exact draws, or None where there were none.
        astray: whether an estimate that falls below the floor has been misled: nearest neighbours
            read a wide approximation so.
    """

    floor: Figure | None = None
    astray: bool = False

    def limit(self, figure: Figure) -> float | None:
        """The highest reading that says nothing; None where that was not measured."""
        if self.floor is not None and figure.kind == self.floor.kind:
            return self.floor.high if figure.kind == "estimate" else max(self.floor.high, 0.0)
        if figure.kind == "estimate":
            return self.floor.high if self.floor is not None else None
        return 0.0

    def misled(self, figure: Figure) -> bool:
        """Whether an estimate lies below all of the floor's interval by more than its noise, where
        nothing should be.
        """
        return (
            self.astray
            and self.floor is not None
            and figure.kind == "estimate"
            and figure.high < self.floor.low
        )

    def within(self, figure: Figure) -> bool:
        """Whether the figure lies inside the noise of its own estimator, which then gives no reason
        to see a difference.
        """
        limit = self.limit(figure)
        if limit is None or not math.isfinite(figure.value) or self.misled(figure):
            return False
        if figure.above is not None and figure.above.low > limit:
            return False  # between 0 and 13 is no sign of being near
        if figure.kind == "upper bound":
            return self.floor is not None and figure.high <= self.floor.high
        return figure.low <= limit

    def at_floor(self, figure: Figure) -> bool:
        """The same, of what can be said to be near the truth: a lower bound leaves open how large
        the true value is.
        """
        return figure.kind != "lower bound" and self.within(figure)


def rank(
    figures: Mapping[str, Figure],
    noise: NoiseFloor,
    *,
    faults: Mapping[str, Fault] | None = None,
    shared: Collection[str] = (),
) -> Ranking:
    """A verdict for each method, and what is shown of each pair.

    A method that is shown to be better than another, while none is shown to be better than it,
    is among the best, given ``FEWEST`` seeds. What lies inside the noise of its estimator may
    be anything below, so it is never shown to be worse, and all such methods have one rank. A
    lower bound can show its method to be worse, and earns no mark. An estimate without a noise
    floor to hold it against may be noise: it is never shown to be worse, and earns no star. A
    figure with a fault takes part in nothing; in place of an estimate that a bound denies, the
    bound does.

    Args:
        figures: distances by method.
        noise: what was read on the truth.
        faults: of methods whose figure is not believed.
        shared: the kinds whose figures rest, in one seed, on the same draws of the truth.
    """
    faults = {name: fault for name, fault in (faults or {}).items() if fault}
    faults |= {name: "below" for name, of in figures.items() if noise.misled(of)}
    left = {name: of for name, of in figures.items() if faults.get(name, "denied") == "denied"}
    shown = _shown(left, noise, shared)
    sound = {name: of for name, of in left.items() if name not in faults}
    near = {name for name, figure in sound.items() if noise.at_floor(figure)}
    ranks = _ranks(sound, noise, shown, near) if len(figures) > 1 else {}
    verdicts = {
        name: Verdict(ranks.get(name, ""), name in near, faults.get(name, "")) for name in figures
    }
    return Ranking(verdicts, shown)


def _shown(
    figures: Mapping[str, Figure], noise: NoiseFloor, shared: Collection[str]
) -> dict[tuple[str, str], Margin]:
    chances: dict[tuple[str, str], float] = {}
    for a, b in itertools.combinations(figures, 2):
        both = {(x, y): _chance(figures[x], figures[y], noise, shared) for x, y in ((a, b), (b, a))}
        pair = min(both, key=lambda found: both[found])
        chances[pair] = min(1.0, 2 * both[pair])  # either of them may be the better one
    shown = holm(chances, RATE)
    return {(a, b): _margin(figures[a], figures[b], noise) for a, b in chances if (a, b) in shown}


def _ranks(
    figures: Mapping[str, Figure],
    noise: NoiseFloor,
    shown: Collection[tuple[str, str]],
    near: Collection[str],
) -> dict[str, Rank]:
    ahead, behind = ({pair[i] for pair in shown} for i in (0, 1))
    marked = [
        name
        for name, figure in figures.items()
        if name not in behind and figure.kind != "lower bound" and math.isfinite(figure.value)
    ]
    level = all(name in ahead for name in near)  # inside the floor all are alike
    found: dict[str, Rank] = {}
    for name in marked:
        figure = figures[name]
        earned = name in ahead and (level or name not in near)
        held = figure.seeds >= FEWEST and noise.limit(figure) is not None
        found[name] = "best" if earned and held else "tied"
    return found


def _chance(first: Figure, second: Figure, noise: NoiseFloor, shared: Collection[str]) -> float:
    """The p-value against "the first is not better than the second"."""
    if not math.isfinite(first.value):
        return 1.0
    if not math.isfinite(second.value):
        return 0.0
    high, low = _most(first, second, noise), _least(second, first, noise)
    if high is None or low is None:
        return 1.0
    paired = first.kind == second.kind and first.kind in shared
    found = better(high, low, shared=paired)
    if noise.within(first) and (limit := noise.limit(first)) is not None:
        factor = _bias(first, second)
        found = max(found, better(limit * factor, low))
    return found


def _bias(figure: Figure, rival: Figure) -> float:
    """By which factor a figure may be too large, held against another kind."""
    return BIAS if figure.kind == "estimate" and rival.kind != "estimate" else 1.0


def _most(figure: Figure, rival: Figure, noise: NoiseFloor) -> dict[int, Reading] | None:
    """The seeds' readings of what a method may be at the worst; None where nothing bounds that.

    Estimates by one estimator compare as they are; against another kind an estimate may be wrong by
    a factor ``BIAS``, and one of KL that has left the floor too small by any: neighbours saturate,
    and read a lost mode of 8.3 nats as 0.8.
    """
    if figure.kind == "lower bound":
        return None
    saturated = figure.kind == "estimate" and rival.kind != "estimate" and noise.astray
    if saturated and not noise.within(figure):
        return None
    readings, factor = (figure.above or figure).readings, _bias(figure, rival)
    return {s: (max(v, v * factor), e * factor) for s, (v, e) in readings.items()}


def _least(figure: Figure, rival: Figure, noise: NoiseFloor) -> dict[int, Reading] | None:
    """The seeds' readings of what a method may be at the best; None where it may be the truth."""
    if figure.kind == "upper bound" or noise.limit(figure) is None or noise.within(figure):
        return None
    factor = _bias(figure, rival)
    return {s: (min(v, v / factor), e / factor) for s, (v, e) in figure.readings.items()}


def _margin(first: Figure, second: Figure, noise: NoiseFloor) -> Margin:
    if not math.isfinite(second.value):
        return Margin(math.inf)
    plain = first.kind == second.kind and first.kind in ("exact", "estimate")
    if not plain or (first.kind == "estimate" and noise.within(first)):
        top = (first.above or first).high
        limit = noise.limit(first)
        if noise.within(first) and limit is not None:
            top = max(top, limit)
        factors = _bias(first, second), _bias(second, first)
        return Margin(max(second.low / factors[1] - max(top, top * factors[0]), 0.0))
    half = math.hypot(first.half_width, second.half_width)
    value, span = second.value - first.value, None
    if first.spread or second.spread:
        a, b = ([v for v, _ in of.readings.values()] for of in (first, second))
        span = min(b) - max(a), max(b) - min(a)
    return Margin(value, half, span)
