"""Ours beside the peers, alternating in one process: medians of ratios with their spread, compile
time in and out.

What shares a machine with others is timed in ratios: every round runs each contender once, in an
order that turns by one from round to round, so that what slows the machine for a while slows all of
them alike. Seconds are of the processor, of all threads of this process, so that whoever waits for
a core is not charged.

A script defines contenders and prints a table:

    ours = Contender("gaussian-vb", fit_ours)
    peer = Contender("pyro SVI", fit_pyro, set_up=compile_pyro)
    print(table("eight-schools", alternate([ours, peer], rounds=5)))
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Contender:
    """What is timed.

    Args:
        name: for the table.
        work: one piece of work from a seed, the thing that ``set_up`` returned before it where
            there is one; returns what it achieved (1 for one fit; effective draws, ...), or a
            function that works that out when the clock has stopped. Its cost is seconds per that: 0
            or NaN where it did not get there.
        set_up: compiles or records; timed apart, anew in every round, so that no round profits from
            the compilation of the last. None where there is nothing to set up.
    """

    name: str
    work: Callable[..., float | Callable[[], float]]
    set_up: Callable[[], Any] | None = None


@dataclass
class Times:
    """Processor seconds of one contender, a figure a round.

    Args:
        name: of the contender.
        setup: of its set-up, 0 where there is none.
        work: of its work.
        achieved: what the work returned.
        failed: why it did not come to an end, the first time; empty where it always did.
    """

    name: str
    setup: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    achieved: list[float] = field(default_factory=list)
    failed: str = ""

    def costs(self, *, setup: bool) -> list[float]:
        """Seconds per unit of what was achieved, a figure a round; infinite where nothing was."""
        parts = zip(self.setup, self.work, self.achieved, strict=True)
        return [
            ((ahead if setup else 0.0) + work) / what if what > 0 else math.inf
            for ahead, work, what in parts
        ]


def alternate(
    contenders: Sequence[Contender],
    rounds: int = 5,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Times]:
    """Run every contender once a round, seeds 0, 1, ...; each starts as often in every place.

    One that raises takes no further part, and its table line says why.
    """
    found = {each.name: Times(each.name) for each in contenders}
    if len(found) < len(contenders):
        raise ValueError("alternate(contenders=...) must have a name each, all different.")
    for seed in range(rounds):
        turn = seed % len(contenders)
        for each in (*contenders[turn:], *contenders[:turn]):
            times = found[each.name]
            if not times.failed:
                _run(each, times, seed, clock)
    return found


def _run(contender: Contender, times: Times, seed: int, clock: Callable[[], float]) -> None:
    try:
        since = clock()
        ready = () if contender.set_up is None else (contender.set_up(),)
        between = clock()
        found = contender.work(*ready, seed)
        ended = clock()
        achieved = float(found() if callable(found) else found)
    except Exception as error:  # a peer that fails is a line of the table
        times.failed = f"{type(error).__name__}: {error}"
        return
    times.setup.append(between - since if ready else 0.0)
    times.work.append(ended - between)
    times.achieved.append(achieved)


@dataclass(frozen=True)
class Ratio:
    """A median with the lowest and the highest of its rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def ratio(theirs: Times, ours: Times, *, setup: bool) -> Ratio:
    """How many times the cost of ours theirs is, round by round; above 1 ours is the faster.

    Args:
        theirs, ours: of the same rounds.
        setup: whether set-up counts.
    """
    pairs = list(zip(theirs.costs(setup=setup), ours.costs(setup=setup), strict=False))
    found = [_over(a, b) for a, b in pairs]
    if not found:
        return Ratio(math.nan, math.nan, math.nan)
    return Ratio(statistics.median(found), min(found), max(found))


def _over(a: float, b: float) -> float:
    return math.nan if math.isinf(a) and math.isinf(b) else math.inf if b == 0 else a / b


def table(title: str, found: Mapping[str, Times], first: str | None = None) -> str:
    """Medians of every contender, and of the ratios of its cost to that of one of them.

    Args:
        title: what was done.
        found: of ``alternate``.
        first: whom the others are held against; the first one where it is left out.
    """
    times = list(found.values())
    ours = found[first] if first is not None else times[0]
    rows = [("", "set-up, s", "work, s", "achieved", "ratio, set-up in", "ratio, set-up out")]
    rows += [_row(each, ours) for each in times]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
    counted = f"{max((len(each.work) for each in times), default=0)} rounds, processor seconds"
    note = f"Ratios: cost beside {ours.name}, median (lowest to highest); above 1 it is dearer."
    return "\n".join([f"{title}: {counted}", *lines, note])


def _row(times: Times, ours: Times) -> tuple[str, ...]:
    if times.failed or not times.work:
        return (times.name, "", "", "", times.failed or "did not run", "")
    ratios = (
        ("", "")
        if times is ours
        else tuple(str(ratio(times, ours, setup=setup)) for setup in (True, False))
    )
    medians = (statistics.median(each) for each in (times.setup, times.work, times.achieved))
    return (times.name, *(f"{median:.3g}" for median in medians), *ratios)


def _padded(row: Iterable[str], widths: Sequence[int]) -> list[str]:
    return [
        words.ljust(width) if i == 0 else words.rjust(width)
        for i, (words, width) in enumerate(zip(row, widths, strict=True))
    ]
