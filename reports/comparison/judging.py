r"""What may be said of each pair of figures, so that anything at all is wrongly called better or
worse in at most ``RATE`` of comparisons.

The seeds are the replicates. Of each common seed the difference d = new - old is taken, and
Student's paired test holds their mean against zero:

.. math:: \bar d \pm t_{k-1}\, s_d / \sqrt{k}

which is right for two seeds, too, however much seeds differ among themselves; where both runs draw
the same random numbers in a seed, what is common cancels. One seed has an interval of its standard
errors alone, and shows nothing. Whatever lies inside the noise floor is taken at the floor's upper
end. Over all pairs that are compared Holm's procedure keeps the family-wise error rate. "Same
within X" takes an interval at the level that Bonferroni asks of as many pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from reports.comparing import ROUNDING, holm, paired
from reports.comparison.pairs import Pair
from reports.intervals import LEVEL, WIDTH
from reports.ranking import RATE

Word = Literal["better", "worse", "same", "cannot tell"]
Gate = Literal["kept", "worse", "cannot tell"]
MOST = 1000  # seeds; beyond that more of them are no advice


@dataclass(frozen=True)
class Judged:
    """A pair with what may be said of it.

    Args:
        pair: the figures.
        word: the verdict; ``why`` completes it.
        difference: new less old, of bounds its middle; with the ends of its 95% interval.
        ratio: new over old with the ends of its 95% interval; None where a value is not positive.
        gate: whether it is worse by more than is allowed.
    """

    pair: Pair
    word: Word
    why: str
    difference: tuple[float, float, float]
    ratio: tuple[float, float, float] | None
    gate: Gate


def judge(pairs: Sequence[Pair], allowed: float, rate: float = RATE) -> list[Judged]:
    """A verdict for each pair of a family.

    Args:
        pairs: the whole family.
        allowed: the share of the old figure by which a new one may differ and count as the same.
        rate: the chance of any wrong ``better`` or ``worse``, and of a wrong ``worse`` of the gate.
    """
    sides = [
        (_p(_floored(pair, 1.0)), _p(_negative(_floored(pair, 1.0, new=True)))) for pair in pairs
    ]
    moved = holm({i: min(1.0, 2 * min(of)) for i, of in enumerate(sides)}, rate)
    beyond = holm({i: _p(_floored(pair, 1 + allowed)) for i, pair in enumerate(pairs)}, rate)
    found = []
    for i, pair in enumerate(pairs):
        word, why = _said(pair, sides[i] if i in moved else None, allowed, rate / len(pairs))
        gate: Gate = "worse" if i in beyond else _kept(pair, word, allowed, rate)
        found.append(Judged(pair, word, why, _interval(pair, LEVEL), _ratio(pair), gate))
    return found


def _said(
    pair: Pair, shown: tuple[float, float] | None, allowed: float, rate: float
) -> tuple[Word, str]:
    if pair.identical:
        return "same", "to the last digit"
    if _at_floor(pair):
        return "same", "both within the noise floor"
    if shown is not None:
        return ("worse" if shown[0] < shown[1] else "better"), ""
    within = allowed * abs(pair.old.value)
    _, low, high = _interval(pair, 1 - 2 * rate)
    if len(pair.seeds) > 1 and -within <= low and high <= within:
        return "same", f"within {100 * allowed:.3g}%"
    return "cannot tell", _more(pair, within, rate)


def _more(pair: Pair, within: float, rate: float) -> str:
    """How many more seeds would tell, were the mean and the spread of differences as seen."""
    low, high = pair.least(), pair.most()
    if low is None or high is None:
        return "a bound leaves one side open"
    k = len(pair.seeds)
    if k < 2:
        return "one seed says nothing of its spread"
    if low != high and float(np.mean(low)) < 0 < float(np.mean(high)):
        return "the bounds overlap"
    mean, spread = abs(float(np.mean(low))), float(np.std(low, ddof=1))
    room = max(mean, within - mean)
    for n in range(k + 1, MOST + 1):
        if float(stdtrit(n - 1, 1 - rate / 2)) * spread / math.sqrt(n) < room:
            return f"{n - k} more seed{'s' if n - k > 1 else ''} would"
    return f"more than {MOST:,} seeds would"


def _kept(pair: Pair, word: Word, allowed: float, rate: float) -> Gate:
    """Whether a pair is surely not worse by more than is allowed, each at the error rate."""
    if word in ("better", "same"):
        return "kept"
    most = pair.most(1 + allowed)
    if most is None or len(most) < 2:
        return "cannot tell"
    return "kept" if paired([-d for d in most]) <= rate or max(most) <= 0 else "cannot tell"


def _at_floor(pair: Pair) -> bool:
    noise = pair.noise
    return noise is not None and noise.at_floor(pair.old) and noise.at_floor(pair.new)


def _floored(pair: Pair, scale: float, *, new: bool = False) -> list[float] | None:
    """New less ``scale`` times old at the least, or at the most; the one that may be inside the
    noise floor counts as its upper end.
    """
    found = pair.most(scale) if new else pair.least(scale)
    figure, noise = (pair.new if new else pair.old), pair.noise
    limit = noise.limit(figure) if noise is not None and noise.within(figure) else None
    if found is None or limit is None:
        return found
    values = [figure.readings[seed][0] for seed in pair.seeds]
    if new:
        return [d + max(0.0, limit - v) for d, v in zip(found, values, strict=True)]
    return [d - max(0.0, limit - scale * v) for d, v in zip(found, values, strict=True)]


def _negative(values: list[float] | None) -> list[float] | None:
    return None if values is None else [-value for value in values]


def _p(differences: list[float] | None) -> float:
    """Against "not above zero"; rounding is no difference."""
    if differences is None or max(map(abs, differences)) <= ROUNDING:
        return 1.0
    return paired(differences)


def _interval(pair: Pair, level: float) -> tuple[float, float, float]:
    """The middle of the difference, and its interval at a level."""
    if pair.identical:
        return 0.0, 0.0, 0.0
    low, high = pair.least(), pair.most()
    ends = [None if of is None else float(np.mean(of)) for of in (low, high)]
    known = [end for end in ends if end is not None]
    down = -math.inf if low is None else float(np.mean(low)) - _half(pair, low, level)
    up = math.inf if high is None else float(np.mean(high)) + _half(pair, high, level)
    return sum(known) / len(known), down, up


def _half(pair: Pair, differences: Sequence[float], level: float) -> float:
    k = len(differences)
    if k > 1:
        spread = float(np.std(differences, ddof=1)) / math.sqrt(k)
        return float(stdtrit(k - 1, (1 + level) / 2)) * spread
    (seed,) = pair.seeds
    return WIDTH * math.hypot(pair.old.readings[seed][1], pair.new.readings[seed][1])


def _ratio(pair: Pair) -> tuple[float, float, float] | None:
    """The geometric mean over seeds of new over old, with its 95% interval; of plain figures."""
    if pair.least() != pair.most():
        return None
    both = [(pair.old.readings[s][0], pair.new.readings[s][0]) for s in pair.seeds]
    if not all(a > 0 and b > 0 for a, b in both):
        return None
    logs = [math.log(b / a) for a, b in both]
    mean, k = float(np.mean(logs)), len(logs)
    if k < 2:
        return math.exp(mean), 0.0, math.inf
    half = float(stdtrit(k - 1, (1 + LEVEL) / 2)) * float(np.std(logs, ddof=1)) / math.sqrt(k)
    return math.exp(mean), _exp(mean - half), _exp(mean + half)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf
