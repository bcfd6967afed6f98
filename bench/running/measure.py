"""Measures a checkpoint: what it cost, then how good it is, a row for each figure when made."""

from __future__ import annotations

import time
import typing
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from bench.fitting import surroundings
from bench.fitting.fit import Checkpoint
from bench.metrics.base import Comparison, Estimate, Kind, Metric, Skipped
from bench.metrics.draws.interacting import measured
from bench.metrics.draws.parameters import Named, OwnUnits
from bench.metrics.draws.stream import HELD
from bench.processes.plain import NAME, NotPlainError, count, number, text, worded
from bench.running.finite import finite
from bench.running.matrix import Cell
from bench.seeds import generator_of
from bench.store import COSTS, Row, Status, label
from bench.store.draws import DrawsFolder
from methods.base import Approximation, Draws
from problems.base import Exact, Problem, Reference, Truth

SHARE, LEAST = 0.25, 5.0  # of the wall limit that one metric may take, and seconds at least
KINDS = typing.get_args(Kind)


class Measuring:
    """All that is measured of one cell, checkpoint by checkpoint.

    Args:
        cell: what is run.
        problem, metrics: as built.
        folder: where draws are kept.
        tell: told what is about to be done, before it is.
    """

    def __init__(
        self,
        cell: Cell,
        problem: Problem,
        metrics: Sequence[Metric],
        folder: DrawsFolder,
        tell: Callable[[str], None],
    ) -> None:
        self.cell, self.problem, self.folder, self.tell = cell, problem, folder, tell
        self._metrics = list(_named(metrics))
        self._found: dict[str, Row] = {}
        self._last: Checkpoint | None = None
        self._comparison: Comparison | None = None
        self._units: OwnUnits | None = None
        self.remarks: list[str] = []
        self.partial = ""

    def rows(self, checkpoint: Checkpoint) -> Iterator[Row]:
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
            self._comparison, self._costs = self._compared(checkpoint)
        if not (again and last is not None and last.index == checkpoint.index):
            yield from self._expenses(checkpoint)
            yield from (self._dated(row, checkpoint) for row in self._found.values())
        for name, metric in self._metrics:
            if name in self._found or (getattr(metric, "costly", False) and not checkpoint.final):
                continue
            self.tell(f"measuring {name}")
            row = self._row(checkpoint, name, self._measured(metric, self._comparison))
            self._found[name] = row
            yield row

    def _compared(self, checkpoint: Checkpoint) -> tuple[Comparison, float]:
        """The approximation beside the truth, and seconds for a thousand draws."""
        cell, approximation = self.cell, checkpoint.approximation
        if not isinstance(approximation, Approximation):
            kind = type(approximation).__name__
            raise TypeError(f"run() yielded a {kind}; expected a methods.base.Approximation.")
        started = time.perf_counter()
        most = cell.draws if isinstance(approximation, Draws) else min(cell.draws, HELD)
        raw = approximation.sample(most, generator("draws", cell, cell.method.content))
        sampling = time.perf_counter() - started
        draws, approximation, self.partial = finite(approximation, raw, self.problem.dim)
        truth = _truth(self.problem, len(draws), generator("truth", cell))
        _must_be_a_density(self.problem, truth)
        self._keep(draws, truth, self._own_density(approximation, draws))
        if isinstance(approximation, Draws):  # made while fitting, they cost what fitting cost
            sampling = checkpoint.seconds
        seed = generator("metric", cell).initial_seed()
        whole = not isinstance(approximation, Draws) and isinstance(self.problem.truth, Exact)
        asked = cell.draws if whole and cell.draws > HELD else None
        comparison = Comparison(self.problem, approximation, draws, truth, seed, asked)
        self._pristine = draws.clone(), truth.clone()
        return comparison, sampling * 1000 / len(draws)

    def _expenses(self, checkpoint: Checkpoint) -> Iterator[Row]:
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
            if value == value and name not in checkpoint.untold:
                yield self._row(checkpoint, name, Estimate(float(value), 0.0, "exact"))

    def _measured(
        self, metric: Metric | Exception, comparison: Comparison
    ) -> Estimate | Skipped | Exception:
        if isinstance(metric, Exception):
            return metric
        most = self._most
        try:
            with surroundings.kept(), surroundings.deadline(most), torch.no_grad():
                found = measured(metric, comparison)
        except surroundings.DeadlineError:
            return TimeoutError(f"no figure within {most:g} seconds of the cell's wall limit")
        except (Exception, SystemExit) as error:  # the other metrics are measured all the same
            return error if isinstance(error, Exception) else RuntimeError(f"SystemExit: {error}")
        finally:
            harmed = self._restored(comparison)
        return RuntimeError(f"it overwrote {harmed} of the comparison") if harmed else found

    @property
    def _most(self) -> float | None:
        """Seconds that one figure may take."""
        return None if self.cell.wall is None else max(LEAST, SHARE * self.cell.wall)

    def _own_density(self, approximation: Approximation, draws: Tensor) -> Tensor | None:
        """What an approximation says of its own draws, [n]; None where that is no such table: the
        metrics that need it say why.
        """
        try:
            with surroundings.kept(), surroundings.deadline(self._most), torch.no_grad():
                found = approximation.log_prob(draws.clone())
        except (Exception, SystemExit, surroundings.DeadlineError):
            return None
        right = isinstance(found, Tensor) and found.shape == draws.shape[:1]
        return found.detach().double() if found is not None and right else None

    def _restored(self, comparison: Comparison) -> str:
        """Put the draws back that a metric has overwritten, and name them; empty if it has not."""
        harmed = []
        for name, pristine in zip(("draws", "truth"), self._pristine, strict=True):
            tensor: Tensor = getattr(comparison, name)
            if tensor.shape != pristine.shape or not torch.equal(tensor, pristine):
                harmed.append(name)
        if harmed:
            draws, truth = (pristine.clone() for pristine in self._pristine)
            self._comparison = Comparison(
                self.problem,
                comparison.approximation,
                draws,
                truth,
                comparison.seed,
                comparison.asked,
            )
        return " and ".join(harmed)

    def _row(self, checkpoint: Checkpoint, name: str, found: Estimate | Skipped | Exception) -> Row:
        """The figure, made plain, or why there is none."""
        assert self._comparison is not None
        draws = len(self._comparison.draws)
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

    def _dated(self, row: Row, checkpoint: Checkpoint) -> Row:
        """The row with the index of a checkpoint, and what had been spent then."""
        return Row(
            checkpoint.index,
            checkpoint.final,
            float(checkpoint.seconds),
            checkpoint.gradients,
            checkpoint.evaluations,
            *(row.draws, row.metric, row.value, row.stderr, row.kind, row.status, row.reason),
        )

    def _keep(self, draws: Tensor, truth: Tensor, log_q: Tensor | None) -> None:
        """Keep the draws; where that fails, the figures are worth as much without them."""
        cell, folder = self.cell, self.folder
        name = f"truth-{label(cell.problem.name, cell.problem_settings)}"
        try:
            labels = self.problem.coordinates
            own = None if log_q is None else log_q.numpy()
            named = self._named(lambda units: units.of(draws.clone()), truth)
            failed = folder.save(cell.key, draws.numpy(), labels, log_q=own, named=named)
            if not failed and (cell.seed == 0 or folder.found(name) is None):
                facts = _judge(self.problem.truth, cell.draws)
                named = self._named(lambda units: units.truth, truth)
                failed = folder.save(name, truth.numpy(), labels, facts, named=named)
        except Exception as error:
            failed = f"The draws could not be kept: {worded(error)}."
        if failed:
            self.remark(failed)

    def _named(
        self, work: Callable[[OwnUnits], Named | None], truth: Tensor
    ) -> tuple[list[str], NDArray[np.float64]] | None:
        """Draws in the model's own units, for pictures; None where those are the coordinates, or
        where the model cannot tell.
        """
        try:
            with surroundings.kept(), surroundings.deadline(self._most), torch.no_grad():
                if self._units is None:  # the truth's draws are the same at every checkpoint
                    self._units = OwnUnits(self.problem, truth.clone())
                found = work(self._units)
        except (Exception, SystemExit, surroundings.DeadlineError):
            return None
        return None if found is None else (found[0], found[1].numpy())

    def remark(self, text: str) -> None:
        """Note something that the reader must know, once."""
        if text not in self.remarks:
            self.remarks.append(text)


def generator(purpose: str, cell: Cell, *more: object) -> Generator:
    """A generator of its own for each purpose, so that no figure depends on what else was
    computed.
    """
    return generator_of(purpose, cell.problem.content, cell.seed, *more)


def _named(metrics: Sequence[Metric]) -> Iterator[tuple[str, Metric | Exception]]:
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


def _truth(problem: Problem, n: int, source: Generator) -> Tensor:
    truth = problem.truth
    if isinstance(truth, Reference):  # as many as there are; the other half is the noise floor's
        truth = truth.half(0)
        n = min(n, len(truth.draws))
    draws = truth.sample(n, source)
    if draws.ndim != 2 or draws.shape != (n, problem.dim):
        raise ValueError(
            f"truth.sample({n}) returned shape {list(draws.shape)}; expected {[n, problem.dim]}."
        )
    bad = int((~torch.isfinite(draws)).any(-1).sum())
    if bad:
        raise ValueError(f"{bad} of {n} draws of the truth are not finite.")
    return draws.detach().double().clone()


def _judge(truth: Truth, asked: int) -> dict[str, bool | int | float | None]:
    """What a page says of the draws by which cells were judged."""
    stored = truth if isinstance(truth, Reference) else None
    error = stored.log_z_stderr if stored else None
    return {"reference": stored is not None, "asked": asked, "log_z_stderr": error}


def _must_be_a_density(problem: Problem, truth: Tensor) -> None:
    with torch.no_grad():
        shape = list(problem.log_density(truth[:2]).shape)
    if shape != [len(truth[:2])]:
        raise ValueError(
            f"log_density returned shape {shape} for points {list(truth[:2].shape)}; expected"
            f" [{len(truth[:2])}], one value a row."
        )
