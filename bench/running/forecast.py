"""How long the rest of a run may take: worked out from what its cells have taken so far, and before
that from what such cells took elsewhere.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

from bench.running.matrix import Cell

OVERDUE = 0.25  # of what a cell has taken that it may still take, once it is past its expectation
Kind = tuple[str, str]  # of cells: the contents of problem and method


class Forecast:
    """What is left of a run, in seconds of wall time, measuring and the page included.

    A cell is expected to take what cells of the same problem and method took in this run. Where
    none has ended it takes what was expected before the run, corrected by what the cells of the
    same method, or all, took beside what was expected of them; where nothing was expected, the
    mean of the same method, or of all. What was expected of gradients alone is corrected by the
    same method alone: one may end long before its budget, and the next spend all of it.

    Args:
        cells: that are to run, in their order.
        jobs: how many of them run side by side.
        expected: seconds of a cell, by its key, as far as they are known before the run.
        page: seconds that the page takes at the end.
        planned: keys of those whose seconds are expected of their budget of gradients alone.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        jobs: int,
        expected: Mapping[str, float] | None = None,
        page: float = 0.0,
        planned: Collection[str] = (),
    ) -> None:
        self._planned = frozenset(planned)
        self._speeds: list[float] = []  # ratios that tell of the machine, whatever the method
        self._waiting = {cell.key: cell for cell in cells}
        self._jobs, self._page = max(1, jobs), page
        self._expected = dict(expected or {})
        self._running: dict[str, tuple[Cell, float]] = {}
        self.taken: defaultdict[Kind, list[float]] = defaultdict(list)
        self._by_method: defaultdict[str, list[float]] = defaultdict(list)
        self._ratios: defaultdict[str, list[float]] = defaultdict(list)

    def started(self, cell: Cell, now: float) -> None:
        """A cell has a process; ``now`` is of a clock that never goes back."""
        self._waiting.pop(cell.key, None)
        self._running[cell.key] = (cell, now)

    def ended(self, cell: Cell, now: float) -> None:
        """A cell is over, measuring included."""
        self._waiting.pop(cell.key, None)
        _, since = self._running.pop(cell.key, (cell, now))
        took = now - since
        self.taken[_kind(cell)].append(took)
        self._by_method[cell.method.content].append(took)
        known = self._expected.get(cell.key)
        if known:
            self._ratios[cell.method.content].append(took / known)
            if cell.key not in self._planned:
                self._speeds.append(took / known)

    def seconds(self, now: float) -> float | None:
        """Seconds until the end; None where nothing is known of some cell."""
        ends = []
        for cell, since in self._running.values():
            whole = self._of(cell)
            if whole is None:
                return None
            ends.append(max(whole - (now - since), OVERDUE * (now - since)))
        heapq.heapify(ends)
        last = max(ends, default=0.0)
        for cell in self._waiting.values():
            whole = self._of(cell)
            if whole is None:
                return None
            free = heapq.heappop(ends) if len(ends) >= self._jobs else 0.0
            heapq.heappush(ends, free + whole)
            last = max(last, free + whole)
        return last + self._page

    def left(self, now: float) -> str:
        """The time left in words, such as ``about 3 min left``; ``or more`` where some method has
        not ended once, empty where nothing is known at all.
        """
        seconds = self.seconds(now)
        if seconds is None:
            return ""
        rest = [*self._waiting.values(), *(cell for cell, _ in self._running.values())]
        sure = all(
            cell.key in self._expected or cell.method.content in self._by_method for cell in rest
        )
        return f"{worded(seconds)} left" + ("" if sure else " or more")

    def unknown(self) -> list[Cell]:
        """Cells of which nothing is known yet."""
        return [cell for cell in self._waiting.values() if self._of(cell) is None]

    def _of(self, cell: Cell) -> float | None:
        if same := self.taken.get(_kind(cell)):
            return fmean(same)
        method, known = cell.method.content, self._expected.get(cell.key)
        if known is not None:
            others = [] if cell.key in self._planned else self._speeds
            ratios = self._ratios.get(method) or others
            return known * (fmean(ratios) if ratios else 1.0)
        if takes := self._by_method.get(method):
            return fmean(takes)
        every = [took for takes in self.taken.values() for took in takes]
        return fmean(every) if every else None


def worded(seconds: float) -> str:
    """A duration as a guess is told: ``a few seconds``, ``about 40 s``, ``about 3 min``."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 90:
        return f"about {5 * round(seconds / 5)} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} hours"


def _kind(cell: Cell) -> Kind:
    return cell.problem.content, cell.method.content
