"""Who is best, as far as the uncertainty allows: no method above another inside the noise, and none
by luck of one seed.

Every figure here is a distance from an ideal, perfect at 0 and worse the larger it is;
``intervals.loss`` makes it one.

Which noise floor a figure is held against depends on the ruler that measured it:

- an ``estimate``: what the same ruler reads on fresh draws of the truth, the row of the method
  ``exact``;
- another kind that is the kind of that row, too (MMD by an unbiased sum): the same;
- an exact value, a bound or a bracket beside a row of another kind: it comes from log q - log p,
  which is constant where q = p. The noise of that ruler on the truth is nil, and its floor is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from reports.intervals import Figure

Rank = Literal["best", "tied", ""]
# nearest neighbours have read up to 2.4 times too much on pairs whose KL is known (10,000 draws, D
# = 10)
BIAS = 3.0
# the figure of one seed is trusted for its method within this factor: how much seeds differ was not
# seen
LONE = 2.0
FEWEST = 2  # seeds of a method that is to be called best


@dataclass(frozen=True)
class Verdict:
    """What may be said of a figure.

    Args:
        rank: ``best``: every other method is shown to be worse; ``tied``: no method is shown to be
            better.
        at_floor: it cannot be told from the truth itself.
    """

    rank: Rank = ""
    at_floor: bool = False


@dataclass(frozen=True)
class Ruler:
    """What the rulers of one metric read on the truth itself.

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
            and figure.most < self.floor.low
        )

    def within(self, figure: Figure) -> bool:
        """Whether the figure lies inside the noise of its own ruler, which then gives no reason to
        see a difference.

        What counts is the standard errors; that seeds differ makes the mean uncertain, and none of
        them nearer to the truth.
        """
        limit = self.limit(figure)
        if limit is None or not math.isfinite(figure.value) or self.misled(figure):
            return False
        if figure.above is not None and figure.above.least > limit:
            return False  # between 0 and 13 is no sign of being near
        if figure.kind == "upper bound":
            return self.floor is not None and figure.high <= self.floor.high
        return figure.least <= limit

    def at_floor(self, figure: Figure) -> bool:
        """The same, of what can be said to be near the truth: a lower bound leaves open how large
        the true value is.
        """
        return figure.kind != "lower bound" and self.within(figure)


def rank(
    figures: Mapping[str, Figure], floor: Figure | None, *, astray: bool = False
) -> dict[str, Verdict]:
    """A verdict for each method.

    A method is out when another is shown to be better: their possible values (``_possible``) do not
    meet. If one method remains of several, it is the best, given ``FEWEST`` seeds; if more remain,
    those with evidence of being good are tied. What lies inside the noise of its ruler may be
    anything below, so it is never out, and two such methods are tied whatever their intervals. A
    lower bound can put its method out and can keep a rival from being called best, but earns no
    mark. An estimate without a noise floor to hold it against may be noise: it is never out, and
    never the best.

    Args:
        floor: the figure of exact draws, or None where there were none.
        astray: as of ``Ruler``.
    """
    ruler = Ruler(floor, astray)
    left = {name: figure for name, figure in figures.items() if math.isfinite(figure.value)}
    remaining = [
        name
        for name, figure in left.items()
        if not any(
            _possible(rival, figure, ruler)[1] < _possible(figure, rival, ruler)[0]
            for rival in left.values()
        )
    ]
    marked = [
        name
        for name in remaining
        if left[name].kind != "lower bound" and not ruler.misled(left[name])
    ]
    held = all(
        left[name].seeds >= FEWEST and ruler.limit(left[name]) is not None for name in remaining
    )
    word: Rank = "best" if len(remaining) == 1 and held else "tied"
    ranks: dict[str, Rank] = dict.fromkeys(marked, word) if len(figures) > 1 else {}
    return {
        name: Verdict(ranks.get(name, ""), ruler.at_floor(figure))
        for name, figure in figures.items()
    }


def _possible(figure: Figure, rival: Figure, ruler: Ruler) -> tuple[float, float]:
    """The values a figure leaves possible for its method when it is held against a rival.

    A bound leaves one side open, and so does whatever lies inside the noise. Estimates by one ruler
    compare by their intervals; against another kind an estimate may be too large by a factor
    ``BIAS``, and one of KL that has left the floor too small by any: neighbours saturate, and read
    a lost mode of 8.3 nats as 0.8. One seed is trusted within ``LONE``.
    """
    if ruler.misled(figure):
        return -math.inf, math.inf
    limit, low, high = ruler.limit(figure), figure.low, figure.high
    if limit is None or ruler.within(figure):
        low, high = -math.inf, max(high, limit if limit is not None else -math.inf)
    elif ruler.astray and figure.kind == "estimate" and rival.kind != "estimate":
        high = math.inf
    if figure.kind in ("lower bound", "upper bound"):
        low, high = (low, math.inf) if figure.kind == "lower bound" else (-math.inf, high)
    factor = BIAS if figure.kind == "estimate" and rival.kind != "estimate" else 1.0
    factor *= LONE if figure.seeds < FEWEST else 1.0
    return min(low, low / factor), max(high, high * factor)
