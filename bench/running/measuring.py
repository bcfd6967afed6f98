"""Measures a checkpoint: what it cost, then how good it is, a row for each figure when made."""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Generator

from bench.fitting import surroundings
from bench.fitting.fit import Checkpoint
from bench.metrics.base import Estimate, Figure, Kind, Skipped
from bench.processes.plain import NAME, NotPlainError, count, number, text, worded
from bench.running.matrix import Cell
from bench.seeds import generator_of
from bench.store import COSTS, Row, Status
from bench.store.draws import DrawsFolder

SHARE, LEAST = 0.25, 5.0  # of the wall limit that one metric may take, and seconds at least
KINDS = typing.get_args(Kind)
Yielded = TypeVar("Yielded")  # an approximation, or a learned pair
Compared = TypeVar("Compared")  # what metrics take
Known = TypeVar("Known", bound=Figure)  # the metrics themselves


class Measuring(ABC, Generic[Yielded, Compared, Known]):
    """All that is measured of one cell, checkpoint by checkpoint.

    Args:
        cell: what is run.
        metrics: as built.
        folder: where draws are kept.
        tell: told what is about to be done, before it is.
    """

    uncounted: ClassVar[frozenset[str]] = frozenset()  # costs that such cells do not have

    def __init__(
        self,
        cell: Cell,
        metrics: Sequence[Known],
        folder: DrawsFolder,
        tell: Callable[[str], None],
    ) -> None:
        self.cell, self.folder, self.tell = cell, folder, tell
        self._metrics = list(_named(metrics))
        self._found: dict[str, Row] = {}
        self._last: Checkpoint[Yielded] | None = None
        self._comparison: Compared | None = None
        self._costs = 0.0
        self.remarks: list[str] = []
        self.partial = ""

    @abstractmethod
    def compared(self, checkpoint: Checkpoint[Yielded]) -> tuple[Compared, float]:
        """What metrics take of a checkpoint, and seconds for a thousand draws. Keeps the draws.

        Raises:
            DivergedError: if too few draws are finite to measure anything.
        """

    @abstractmethod
    def figure(self, metric: Known, comparison: Compared) -> Any:
        """Measure a comparison by one metric: what it finds, not looked at yet."""

    def waits(self, metric: Known | Exception) -> bool:
        """Whether a metric is measured at the last checkpoint alone."""
        return bool(getattr(metric, "costly", False))

    @abstractmethod
    def restored(self, comparison: Compared) -> tuple[Compared, str]:
        """The comparison without what a metric has overwritten, and what that was."""

    @abstractmethod
    def draws(self, comparison: Compared) -> int:
        """How many draws a figure rests on that does not say so."""

    @abstractmethod
    def diagnosed(self, checkpoint: Checkpoint[Yielded]) -> Any:
        """What the method says of itself."""

    def rows(self, checkpoint: Checkpoint[Yielded]) -> Iterator[Row]:
        """The rows of a checkpoint. Keeps the draws.

        Of an approximation that comes once more, only what is not known yet is measured; of what
        it has cost since, a row is made for all that is known.

        Raises:
            DivergedError: if too few draws are finite to measure anything.
        """
        last, self._last = self._last, checkpoint
        again = last is not None and last.approximation is checkpoint.approximation
        if not again:
            self._found, self._comparison = {}, None
        if self._comparison is None:
            self.tell("drawing from the approximation")
            self._comparison, self._costs = self.compared(checkpoint)
        if not (again and last is not None and last.index == checkpoint.index):
            yield from self._expenses(checkpoint)
            yield from (self._dated(row, checkpoint) for row in self._found.values())
        for name, metric in self._metrics:
            if name in self._found or (not checkpoint.final and self.waits(metric)):
                continue
            self.tell(f"measuring {name}")
            row = self._row(checkpoint, name, self._measured(metric, self._comparison))
            self._found[name] = row
            yield row

    def _expenses(self, checkpoint: Checkpoint[Yielded]) -> Iterator[Row]:
        costs = (
            checkpoint.seconds,
            checkpoint.setup,
            checkpoint.gradients,
            checkpoint.evaluations,
            self._costs,
            checkpoint.memory,
        )
        for name, value in zip(COSTS, costs, strict=True):
            # not NaN: the platform, or the method, could tell
            if value == value and name not in checkpoint.untold | self.uncounted:
                yield self._row(checkpoint, name, Estimate(float(value), 0.0, "exact"))

    def _measured(
        self, metric: Known | Exception, comparison: Compared
    ) -> Estimate | Skipped | Exception:
        if isinstance(metric, Exception):
            return metric
        most = self.most
        try:
            with surroundings.kept(), surroundings.deadline(most), torch.no_grad():
                found = self.figure(metric, comparison)
        except surroundings.DeadlineError:
            return TimeoutError(f"no figure within {most:g} seconds of the cell's wall limit")
        except (Exception, SystemExit) as error:  # the other metrics are measured all the same
            return error if isinstance(error, Exception) else RuntimeError(f"SystemExit: {error}")
        finally:
            self._comparison, harmed = self.restored(comparison)
        return RuntimeError(f"it overwrote {harmed} of the comparison") if harmed else found

    @property
    def most(self) -> float | None:
        """Seconds that one figure may take."""
        return None if self.cell.wall is None else max(LEAST, SHARE * self.cell.wall)

    def _row(
        self,
        checkpoint: Checkpoint[Yielded],
        name: str,
        found: Estimate | Skipped | Exception,
    ) -> Row:
        """The figure, made plain, or why there is none."""
        assert self._comparison is not None
        draws = self.draws(self._comparison)
        try:
            if isinstance(found, Skipped):
                return self._dated(_without(name, draws, "skipped", text(found.reason)), checkpoint)
            if isinstance(found, Estimate):
                return self._dated(_plain(name, draws, found), checkpoint)
            if not isinstance(found, Exception):
                kind = type(found).__name__
                raise NotPlainError(f"measure() gave a {kind}; expected Estimate or Skipped")
            reason = worded(found)
        except NotPlainError as error:
            reason = text(error)
        return self._dated(_without(name, draws, "failed", reason), checkpoint)

    def _dated(self, row: Row, checkpoint: Checkpoint[Yielded]) -> Row:
        """The row with the index of a checkpoint, and what had been spent then."""
        return Row(
            checkpoint.index,
            checkpoint.final,
            float(checkpoint.seconds),
            checkpoint.gradients,
            checkpoint.evaluations,
            *(row.draws, row.metric, row.value, row.stderr, row.kind, row.status, row.reason),
        )

    def remark(self, text: str) -> None:
        """Note something that the reader must know, once."""
        if text not in self.remarks:
            self.remarks.append(text)


def generator(purpose: str, cell: Cell, *more: object) -> Generator:
    """A generator of its own for each purpose, so that no figure depends on what else was
    computed.
    """
    return generator_of(purpose, cell.problem.content, cell.seed, *more)


def _named(metrics: Sequence[Known]) -> Iterator[tuple[str, Known | Exception]]:
    """Each metric under a name that no other row of a checkpoint has."""
    taken = set(COSTS)
    for metric in metrics:
        wanted = name = text(metric.name, NAME)
        number = 1
        while name in taken:
            number += 1
            name = f"{wanted} ({number})"
        taken.add(name)
        clash = ValueError(f"another row of the cell has the name {wanted!r}; rename the metric")
        yield name, metric if name == wanted else clash


def _plain(name: str, draws: int, found: Estimate) -> Row:
    """A row of the figure alone, its costs to be filled in.

    Raises:
        NotPlainError: if a part of it is not what it should be.
    """
    value, stderr = number(found.value), number(found.stderr)
    if value != value:
        raise NotPlainError("ArithmeticError: the metric returned NaN")
    if found.kind not in KINDS:
        raise NotPlainError(f"the kind is {text(found.kind, 60)!r}; expected {', '.join(KINDS)}")
    rests = getattr(found, "draws", None)
    n = draws if rests is None else count(rests)
    note = text(found.note) if found.note else ""
    return Row(0, False, 0.0, 0, 0, n, name, value, stderr, str(found.kind), "ok", note)


def _without(name: str, draws: int, status: Status, reason: str) -> Row:
    return Row(0, False, 0.0, 0, 0, draws, name, None, None, None, status, reason)
