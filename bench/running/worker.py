"""What happens to one cell: build, fit, measure, and report every step as an event."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Generator, Tensor

from bench.fitting.fit import Checkpoint, fit
from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.running.matrix import Cell
from bench.seeds import generator_of
from bench.store import Row, Status, Store, label
from methods.base import Draws, Method
from problems.base import Problem, Reference


@dataclass(frozen=True)
class Measured:
    """Event: the rows of one checkpoint."""

    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Ended:
    """Event: the cell is over; nothing follows."""

    status: Status
    reason: str = ""
    diagnostics: dict[str, float] = field(default_factory=dict)


Event = Measured | Ended


class DivergedError(Exception):
    """The approximation is not made of finite numbers."""


def work(cell: Cell, folder: Path) -> Iterator[Event]:
    """Run one cell and yield its events, the last one ``Ended``. Whatever goes wrong is an event,
    too.
    """
    diagnostics: dict[str, float] = {}
    cut_short = False
    seen: set[tuple[int, str]] = set()  # a final checkpoint may be the one before, once more
    try:
        problem = _problem(cell)
        method: Method = cell.method.build()
        metrics: list[Metric] = [metric.build() for metric in cell.metrics]
        for checkpoint in fit(
            problem, method, cell.budget, generator("method", cell, cell.method.content)
        ):
            rows = measure(cell, problem, metrics, checkpoint, Store(folder))
            fresh = tuple(row for row in rows if (row.checkpoint, row.metric) not in seen)
            seen.update((row.checkpoint, row.metric) for row in fresh)
            yield Measured(fresh)
            cut_short = checkpoint.cut_short
            if isinstance(checkpoint.approximation, Draws):
                diagnostics = {
                    name: float(value)
                    for name, value in checkpoint.approximation.diagnostics.items()
                }
    except (DivergedError, FloatingPointError) as error:
        yield Ended("diverged", str(error), diagnostics)
    except TimeoutError as error:
        yield Ended("timed-out", str(error), diagnostics)
    except Exception as error:  # a cell that fails is a row; the run goes on
        traceback.print_exc()  # the whole story goes to the cell's log
        yield Ended("failed", f"{type(error).__name__}: {error}", diagnostics)
    else:
        guard = f"the guard of {cell.budget.guard} seconds of fitting ended it (budget.guard)"
        yield Ended("cut-short", guard, diagnostics) if cut_short else Ended("ok", "", diagnostics)


def _problem(cell: Cell) -> Problem:
    problem: Problem = cell.problem.build()
    if not cell.reference:
        return problem
    from bench.plugins.referenced import referenced

    return referenced(problem)


def generator(purpose: str, cell: Cell, *more: object) -> Generator:
    """A generator of its own for each purpose, so that no figure depends on what else was
    computed.
    """
    return generator_of(purpose, cell.problem.content, cell.seed, *more)


def measure(
    cell: Cell, problem: Problem, metrics: list[Metric], checkpoint: Checkpoint, store: Store
) -> Iterator[Row]:
    """The rows of one checkpoint: what it cost, then how good it is. Keeps the draws.

    Raises:
        DivergedError: if any draw is not finite.
    """
    started = time.perf_counter()
    draws = checkpoint.approximation.sample(
        cell.draws, generator("draws", cell, cell.method.content)
    )
    sampling = time.perf_counter() - started
    _must_be_draws(draws, problem.dim)
    truth = _truth(problem, len(draws), generator("truth", cell))
    _keep(store, cell, problem, draws, truth)
    if isinstance(
        checkpoint.approximation, Draws
    ):  # draws that are made while fitting cost what fitting cost
        sampling = checkpoint.seconds
    costs = {
        "fit_seconds": checkpoint.seconds,
        "gradients": checkpoint.gradients,
        "evaluations": checkpoint.evaluations,
        "sampling_seconds": sampling * 1000 / len(draws),
        "peak_memory": checkpoint.memory,
    }
    for name, value in costs.items():
        if value == value:  # not NaN: the platform could tell
            yield _row(checkpoint, len(draws), name, Estimate(float(value), 0.0, "exact"))
    seed = generator("metric", cell, cell.method.content).initial_seed()
    comparison = Comparison(problem, checkpoint.approximation, draws, truth, seed)
    for metric in metrics:
        if getattr(metric, "costly", False) and not checkpoint.final:
            continue
        yield _row(checkpoint, len(draws), metric.name, _measured(metric, comparison))


def _truth(problem: Problem, n: int, source: Generator) -> Tensor:
    truth = problem.truth
    if isinstance(truth, Reference):  # as many as there are; the other half is the noise floor's
        truth = truth.half(0)
        n = min(n, len(truth.draws))
    return truth.sample(n, source)


def _measured(metric: Metric, comparison: Comparison) -> Estimate | Skipped | Exception:
    try:
        with torch.no_grad():
            return metric.measure(comparison)
    except Exception as error:  # one metric that fails leaves the others standing
        return error


def _row(
    checkpoint: Checkpoint, draws: int, name: str, found: Estimate | Skipped | Exception
) -> Row:
    cost = (
        checkpoint.index,
        False,
        checkpoint.seconds,
        checkpoint.gradients,
        checkpoint.evaluations,
        draws,
    )
    if isinstance(found, Estimate) and found.value != found.value:
        found = ArithmeticError("the metric returned NaN")
    if isinstance(found, Estimate):
        cost = (*cost[:-1], getattr(found, "draws", None) or draws)
        return Row(*cost, name, found.value, found.stderr, found.kind, "ok", found.note)
    if isinstance(found, Skipped):
        return Row(*cost, name, None, None, None, "skipped", found.reason)
    return Row(*cost, name, None, None, None, "failed", f"{type(found).__name__}: {found}")


def _must_be_draws(draws: Tensor, dim: int) -> None:
    if draws.ndim != 2 or draws.shape[1] != dim or len(draws) == 0:
        raise ValueError(
            f"sample() returned shape {list(draws.shape)}; expected [n, {dim}] with n of at"
            " least 1."
        )
    bad = int((~torch.isfinite(draws)).any(-1).sum())
    if bad:
        raise DivergedError(f"{bad} of {len(draws)} draws are not finite.")


def _keep(store: Store, cell: Cell, problem: Problem, draws: Tensor, truth: Tensor) -> None:
    store.save_draws(cell.key, draws.double().numpy(), problem.coordinates)
    name = f"truth-{label(cell.problem.name, cell.problem_settings)}"
    if cell.seed == 0 or not store.has_draws(name):
        store.save_draws(name, truth.numpy(), problem.coordinates)
