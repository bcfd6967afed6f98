"""Measures an approximation of one posterior, beside draws of the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from bench.fitting import surroundings
from bench.fitting.fit import Checkpoint
from bench.metrics.base import Comparison, Metric
from bench.metrics.draws.interacting import measured
from bench.metrics.draws.parameters import Named, OwnUnits
from bench.metrics.draws.stream import HELD
from bench.processes.plain import worded
from bench.running.finite import finite
from bench.running.matrix import Cell
from bench.running.measuring import Measuring, generator
from bench.store import kept_label
from bench.store.draws import DrawsFolder
from methods.base import Approximation, Draws
from problems.base import Exact, Problem, Reference, Truth


class OfPosterior(Measuring[Approximation, Comparison, Metric]):
    """All that is measured of a method on one posterior.

    Args:
        cell, metrics, folder, tell: as of ``Measuring``.
        problem: as built.
    """

    def __init__(
        self,
        cell: Cell,
        problem: Problem,
        metrics: Sequence[Metric],
        folder: DrawsFolder,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(cell, metrics, folder, tell)
        self.problem = problem
        self._units: OwnUnits | None = None

    def compared(self, checkpoint: Checkpoint[Approximation]) -> tuple[Comparison, float]:
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

    def figure(self, metric: Metric, comparison: Comparison) -> Any:
        return measured(metric, comparison)

    def draws(self, comparison: Comparison) -> int:
        return len(comparison.draws)

    def diagnosed(self, checkpoint: Checkpoint[Approximation]) -> Any:
        return checkpoint.approximation.diagnostics

    def restored(self, comparison: Comparison) -> tuple[Comparison, str]:
        harmed = []
        for name, pristine in zip(("draws", "truth"), self._pristine, strict=True):
            tensor: Tensor = getattr(comparison, name)
            if tensor.shape != pristine.shape or not torch.equal(tensor, pristine):
                harmed.append(name)
        if not harmed:
            return comparison, ""
        draws, truth = (pristine.clone() for pristine in self._pristine)
        fresh = Comparison(
            *(self.problem, comparison.approximation, draws, truth),
            *(comparison.seed, comparison.asked),
        )
        return fresh, " and ".join(harmed)

    def _own_density(self, approximation: Approximation, draws: Tensor) -> Tensor | None:
        """What an approximation says of its own draws, [n]; None where that is no such table: the
        metrics that need it say why.
        """
        try:
            with surroundings.kept(), surroundings.deadline(self.most), torch.no_grad():
                found = approximation.log_prob(draws.clone())
        except (Exception, SystemExit, surroundings.DeadlineError):
            return None
        right = isinstance(found, Tensor) and found.shape == draws.shape[:1]
        return found.detach().double() if found is not None and right else None

    def _keep(self, draws: Tensor, truth: Tensor, log_q: Tensor | None) -> None:
        """Keep the draws; where that fails, the figures are worth as much without them."""
        cell, folder = self.cell, self.folder
        name = f"truth-{kept_label(cell.problem.name, cell.problem_settings)}"
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
            with surroundings.kept(), surroundings.deadline(self.most), torch.no_grad():
                if self._units is None:  # the truth's draws are the same at every checkpoint
                    self._units = OwnUnits(self.problem, truth.clone())
                found = work(self._units)
        except (Exception, SystemExit, surroundings.DeadlineError):
            return None
        return None if found is None else (found[0], found[1].numpy())


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
