"""What happens to one cell: build, fit, measure, and report every step as an event."""

from __future__ import annotations

import dataclasses
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Generator

from bench.fitting import surroundings
from bench.fitting.fit import Checkpoint, fit, learn
from bench.fitting.resume import Resumption
from bench.metrics.brackets.folding import folded
from bench.processes.plain import figures, text, worded
from bench.processes.wire import Message
from bench.running.events import Doing, Ended, Event, Measured, packed
from bench.running.finite import DivergedError
from bench.running.matrix import Cell
from bench.running.measure_pair import OfPair
from bench.running.measure_posterior import OfPosterior
from bench.running.measuring import Measuring, generator
from bench.store import Row, Status
from bench.store.draws import DrawsFolder
from methods.base import Approximation, NotApplicableError
from problems.base import Problem

RESUME, KEPT_EVERY = "resume", 60.0  # the folder of learners' states, and seconds between two
PATIENCE = 1.0  # seconds past its limit after which a method is interrupted wherever it is
DEAF = "the method went on after it was told to stop; what it had yielded by then counts"


def main(cell: Cell, folder: Path, send: Callable[[Message], None]) -> None:
    """Run one cell in a process of its own, and send its events as messages."""
    import torch

    torch.set_num_threads(1)  # cells side by side must not fight for cores

    def leave() -> None:
        os._exit(0)

    work(cell, folder, lambda event: send(packed(event)), leave)


def work(
    cell: Cell,
    folder: Path,
    emit: Callable[[Event], None],
    leave: Callable[[], None] | None = None,
) -> None:
    """Run one cell and emit its events, the last one ``Ended``. Whatever goes wrong is an event,
    too.

    Args:
        cell: what to run.
        folder: of the store.
        emit: takes the events.
        leave: ends the process, for a method that nothing else stops; None where it is not the
            cell's own.
    """
    with surroundings.kept():
        course = _Cell(cell, folder, emit, leave)
        try:
            course.run()
        except (DivergedError, FloatingPointError) as error:
            course.end("diverged", text(error))
        except NotApplicableError as error:
            course.end("skipped", text(error))
        except TimeoutError as error:
            course.end("timed-out", text(error))
        except (Exception, SystemExit) as error:  # a cell that fails is a row; the run goes on
            traceback.print_exc()  # the whole story goes to the cell's log
            course.end("failed", worded(error))
        else:
            course.end(*course.verdict())


class _Cell:
    """One cell while it is fitted and measured: what it is made of, and what it has reached."""

    def __init__(
        self,
        cell: Cell,
        folder: Path,
        emit: Callable[[Event], None],
        leave: Callable[[], None] | None,
    ) -> None:
        self.cell, self.emit, self._leave = cell, emit, leave
        self._folder = folder / "draws"
        self._own = surroundings.read()
        self._measuring: Measuring[Any, Any, Any] | None = None
        self._diagnostics: Mapping[str, float] = {}
        self._last: Checkpoint[Any] | None = None
        self._place = folder / RESUME / f"{cell.key}.npz"
        self._resumption: Resumption | None = None
        self._rows: list[dict[str, Any]] = []  # all that were emitted

    def run(self) -> None:
        """Build the problem and the method, fit, and measure each checkpoint.

        Raises:
            Exception: whatever the plugins raise.
        """
        self._tell("building the problem, the method and the metrics")
        for checkpoint in self._learned() if self.cell.amortised else self._fitted():
            self._measure(checkpoint)
            self._tell("fitting")

    def _fitted(self) -> Iterator[Checkpoint[Any]]:
        """The checkpoints of a method on a posterior."""
        cell = self.cell
        problem, method = _problem(cell), cell.method.build()
        metrics = [metric.build() for metric in cell.metrics]
        folder = DrawsFolder(self._folder)
        self._measuring = OfPosterior(cell, problem, metrics, folder, self._tell)
        return fit(problem, method, cell.budget, self._seeded(), **self._stops())

    def _learned(self) -> Iterator[Checkpoint[Any]]:
        """The checkpoints of a learner on a generative model."""
        cell = self.cell
        model, learner = cell.problem.build(), cell.method.build()
        metrics = [metric.build() for metric in cell.metrics]
        pair = OfPair(cell, model, metrics, DrawsFolder(self._folder), self._tell)
        self._measuring, self._resumption = pair, Resumption(self._place, KEPT_EVERY)
        rows = self._resumption.before.rows
        pair.go_on(self._resumption.before)
        for row in rows:
            self._rows.append(row)
            self.emit(Measured((Row(**row),)))
        self._resumption.measured = lambda: pair.so_far(self._rows)
        stops = {**self._stops(), "resumption": self._resumption}
        return learn(model, learner, cell.budget, self._seeded(), **stops)

    def _seeded(self) -> Generator:
        """What the method draws from; fitting begins."""
        self._tell("fitting")
        return generator("method", self.cell, self.cell.method.content)

    def _stops(self) -> dict[str, Any]:
        """How a method is ended that goes on past its budget."""
        return {"patience": PATIENCE, "abandon": self._abandon if self._leave else None}

    def _measure(self, checkpoint: Checkpoint[Any]) -> None:
        assert self._measuring is not None
        self._last = checkpoint
        with surroundings.lent(self._own):
            for row in self._measuring.rows(checkpoint):
                self._rows.append(dataclasses.asdict(row))
                self.emit(Measured((row,)))
            if checkpoint.final:
                self._diagnose(checkpoint)

    def _diagnose(self, checkpoint: Checkpoint[Any]) -> None:
        """Keep what the method says of itself."""
        assert self._measuring is not None
        self._tell("reading the diagnostics")
        try:
            self._diagnostics, left_out = figures(self._measuring.diagnosed(checkpoint))
        except Exception as error:
            left_out = [worded(error)]
        if left_out:
            self._measuring.remark(f"diagnostics left out: {'; '.join(left_out[:5])}")
        done, planned = (self._diagnostics.get(name, 0) for name in ("iterations", "planned"))
        if done < planned:
            self._measuring.remark(f"it was cut after {done:.0f} of {planned:.0f} iterations")
        if isinstance(self._measuring, OfPosterior):
            self._fold(self._measuring, checkpoint.approximation)

    def _fold(self, measuring: OfPosterior, approximation: Approximation) -> None:
        """Say what a method does not know of its map: whether it folds."""
        problem, source = measuring.problem, generator("fold", self.cell)
        try:
            share = folded(approximation, problem.dim, source)
        except Exception:  # its metrics say what is wrong with such a map
            return
        if share is not None:
            self._diagnostics = {**self._diagnostics, "folded": share}
        if share:
            measuring.remark(f"the map folds: det J has the rarer sign on {share:.2%} of its draws")

    def verdict(self) -> tuple[Status, str]:
        """How a cell ended whose method came to its end."""
        assert self._measuring is not None
        assert self._last is not None
        if self._measuring.partial:
            return "partial", self._measuring.partial
        if self._last.cut_short:
            guard = self.cell.budget.guard
            return "cut-short", f"fitting was ended by its guard of {guard:g} s (budget.guard)"
        return "ok", DEAF if self._last.deaf else ""

    def end(self, status: Status, reason: str) -> None:
        """Emit the last event, with what the reader must know beside the reason."""
        remarks = self._measuring.remarks if self._measuring is not None else []
        said = text("; ".join(part for part in (reason, *remarks) if part))
        self.emit(Ended(status, said, self._diagnostics))
        if self._resumption is not None:
            self._resumption.remove()

    def _abandon(self, checkpoint: Checkpoint[Any]) -> None:
        """Measure in the midst of a method that does not stop, and end the process."""
        assert self._leave is not None
        try:
            self._measure(checkpoint)
            self.end(*self.verdict())
        except BaseException as error:
            self.end("failed", worded(error))
        self._leave()

    def _tell(self, what: str) -> None:
        self.emit(Doing(what))


def _problem(cell: Cell) -> Problem:
    problem: Problem = cell.problem.build()
    if not cell.reference:
        return problem
    from bench.plugins.referenced import referenced

    return referenced(problem)
