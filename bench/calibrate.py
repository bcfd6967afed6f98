"""How far the rulers themselves are off, and how often their intervals hold: each is tried on pairs whose answer is known.

Every repetition draws afresh and measures as a run does.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import multiprocessing
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import torch
from torch import Generator

from bench.calibration_cases import Case, Clothes
from bench.calibration_estimators import Estimator
from bench.metrics.base import Comparison, Estimate, Skipped

NORMAL = 1.96  # half width of a 95% interval, in standard errors
ROUNDING = 1e-6  # nats that nobody would call an error
SIZES = (1000, 10_000)


@dataclass(frozen=True)
class Repetitions:
    """How often an estimator is tried where it is cheap, and where it is not."""

    cheap: int = 100
    costly: int = 20


@dataclass(frozen=True)
class Row:
    """One estimator on one pair at one number of draws.

    Args:
        case, dim, n, estimator, ours: what was tried.
        kind: of its figures, the most common one; empty where there was none.
        truth: what was to be found.
        skipped: repetitions without a figure.
        bias: mean less truth; sd: of the figures; stderr: mean of those that they came with.
        covered: repetitions whose 95% interval held the truth or, of a bound, ended on the right side of it.
        tried: repetitions with a figure.
        seconds: of processor time for one figure, on average; what others have worked out already is not counted again.
    """

    case: str
    dim: int
    n: int
    estimator: str
    ours: bool
    kind: str
    truth: float
    skipped: int
    bias: float
    sd: float
    stderr: float
    covered: int
    tried: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Task:
    """One pair at one number of draws, in the same clothes for several estimators: what they share is worked out once.

    Args:
        estimators: with the truth that each is to find, and how often it is to try.
    """

    case: Case
    clothes: Clothes
    n: int
    estimators: tuple[tuple[Estimator, float, int], ...]


@dataclass(frozen=True)
class Trial:
    """One repetition of one estimator: what it found, and in how many seconds of processor time."""

    found: Estimate | Skipped
    seconds: float


def calibrate(
    cases: Sequence[Case],
    estimators: Sequence[Estimator],
    *,
    sizes: Sequence[int] = SIZES,
    repetitions: Repetitions | None = None,
    jobs: int = 1,
    progress: Callable[[int, int, Sequence[Row]], None] | None = None,
) -> list[Row]:
    """Every estimator on every pair that it can see and whose figure is known.

    Args:
        cases, estimators: of any module; with more than one job they must survive pickling.
        sizes: numbers of draws.
        repetitions: 100 and 20 where not given.
        jobs: processes; 1 stays in this one.
        progress: called after each task with the number done, the number of all, and the rows that came of it.
    """
    todo = tasks(cases, estimators, sizes, repetitions or Repetitions())
    found: dict[int, list[Row]] = {}
    for index, rows in _run(todo, jobs):
        found[index] = rows
        if progress is not None:
            progress(len(found), len(todo), rows)
    order = {estimator.name: index for index, estimator in enumerate(estimators)}
    places = {(case.name, case.problem.dim): index for index, case in enumerate(cases)}
    every = [row for rows in found.values() for row in rows]
    return sorted(every, key=lambda row: (row.n, places[row.case, row.dim], order[row.estimator]))


def tasks(cases: Sequence[Case], estimators: Sequence[Estimator], sizes: Sequence[int], repetitions: Repetitions) -> list[Task]:
    """What there is to do."""
    todo = []
    for n, case in itertools.product(sizes, cases):
        for clothes in case.wardrobe:
            chosen = []
            for estimator in estimators:
                truth = case.truth(estimator.quantity)
                if truth is not None and estimator.wears == clothes:
                    count = repetitions.cheap if n <= estimator.cheap_up_to else repetitions.costly
                    chosen.append((estimator, truth, count))
            if chosen:
                todo.append(Task(case, clothes, n, tuple(chosen)))
    return todo


def _run(todo: Sequence[Task], jobs: int) -> Iterator[tuple[int, list[Row]]]:
    if jobs == 1:
        yield from ((index, perform(task)) for index, task in enumerate(todo))
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _one_thread) as pool:
        waiting = {pool.submit(perform, task): index for index, task in enumerate(todo)}
        yield from ((waiting[done], done.result()) for done in as_completed(waiting))


def _one_thread() -> None:
    torch.set_num_threads(1)


def perform(task: Task) -> list[Row]:
    """Repeat the measurements of a task and sum up what came of them."""
    trials: list[list[Trial]] = [[] for _ in task.estimators]
    for repetition in range(max(count for _, _, count in task.estimators)):
        comparison = _comparison(task, repetition)
        for (estimator, _, count), done in zip(task.estimators, trials, strict=True):
            if repetition < count:
                started = time.process_time()
                with torch.no_grad():
                    found = estimator.metric.measure(comparison)
                done.append(Trial(found, time.process_time() - started))
    return [_row(task, estimator, truth, done) for (estimator, truth, _), done in zip(task.estimators, trials, strict=True)]


def _comparison(task: Task, repetition: int) -> Comparison:
    problem, approximation = task.case.problem, task.case.wardrobe[task.clothes]
    draws = approximation.sample(task.n, _generator(task, repetition, "draws"))
    truth = problem.truth.sample(len(draws), _generator(task, repetition, "truth"))
    return Comparison(problem, approximation, draws, truth, _generator(task, repetition, "metric").initial_seed())


def _generator(task: Task, repetition: int, purpose: str) -> Generator:
    text = "/".join(map(str, (purpose, task.case.name, task.case.problem.dim, task.n, repetition)))
    return Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))


def _row(task: Task, estimator: Estimator, truth: float, trials: Sequence[Trial]) -> Row:
    found = [trial.found for trial in trials if isinstance(trial.found, Estimate)]
    values = [estimate.value for estimate in found]
    kinds = Counter(estimate.kind for estimate in found).most_common(1)
    return Row(
        case=task.case.name,
        dim=task.case.problem.dim,
        n=task.n,
        estimator=estimator.name,
        ours=estimator.ours,
        kind=kinds[0][0] if kinds else "",
        truth=truth,
        skipped=len(trials) - len(found),
        bias=statistics.fmean(values) - truth if values else math.nan,
        sd=statistics.stdev(values) if len(values) > 1 else math.nan,
        stderr=statistics.fmean(estimate.stderr for estimate in found) if found else math.nan,
        covered=sum(holds(estimate, truth) for estimate in found),
        tried=len(found),
        seconds=statistics.fmean(trial.seconds for trial in trials),
    )


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether the 95% interval holds the truth; whether that of a bound ends on the right side of it."""
    reach = NORMAL * estimate.stderr + ROUNDING
    above, below = estimate.value - reach > truth, estimate.value + reach < truth
    if estimate.kind == "lower bound":
        return not above
    return not below if estimate.kind == "upper bound" else not (above or below)
