"""One block of a calibration: a few fresh comparisons of one pair, and what every metric read of
them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator

from bench.calibration.case import Case, Form
from bench.calibration.estimator import Estimator
from bench.metrics.base import Comparison, Skipped
from bench.seeds import generator_of

# repetitions at a time: enough to share what is worked out once, few enough to keep all processes
# busy
BLOCK = 10


@dataclass(frozen=True)
class Trial:
    """One repetition of one estimator.

    Args:
        case, dim, n, estimator, repetition: what was tried.
        kind, value, stderr: the figure; kind is empty where there was none.
        note: of the figure, or why there is none.
        seconds: of processor time; what others have worked out already is not counted again.
    """

    case: str
    dim: int
    n: int
    estimator: str
    repetition: int
    kind: str
    value: float
    stderr: float
    note: str
    seconds: float

    @property
    def place(self) -> tuple[str, int, int, str, int]:
        """What tells this trial from others."""
        return self.case, self.dim, self.n, self.estimator, self.repetition


@dataclass(frozen=True, eq=False)
class Task:
    """One pair at one number of draws, in one form for several estimators: what they share
    is worked out once.

    Args:
        estimators: with the repetitions that each is to try.
    """

    case: Case
    form: Form
    n: int
    estimators: tuple[tuple[Estimator, Sequence[int]], ...]

    def blocks(self) -> Iterator[Task]:
        """The same in parts of ``BLOCK`` repetitions."""
        last = max((max(tries) for _, tries in self.estimators), default=-1)
        for first in range(0, last + 1, BLOCK):
            block = range(first, first + BLOCK)
            parts = (
                (each, tuple(i for i in tries if i in block)) for each, tries in self.estimators
            )
            yield replace(self, estimators=tuple((each, tries) for each, tries in parts if tries))

    def without(self, done: set[tuple[str, int, int, str, int]]) -> Task:
        """The same, less the repetitions that have been made."""
        case, dim = self.case.name, self.case.problem.dim
        parts = (
            (each, tuple(i for i in tries if (case, dim, self.n, each.name, i) not in done))
            for each, tries in self.estimators
        )
        return replace(self, estimators=tuple((each, tries) for each, tries in parts if tries))


def perform(task: Task) -> list[Trial]:
    """Make every comparison of a task and read every metric on it."""
    trials = []
    for repetition in sorted({i for _, tries in task.estimators for i in tries}):
        comparison = _comparison(task, repetition)
        for estimator, tries in task.estimators:
            if repetition in tries:
                trials.append(_trial(task, estimator, repetition, comparison))
    return trials


def _trial(task: Task, estimator: Estimator, repetition: int, comparison: Comparison) -> Trial:
    started = time.process_time()
    with torch.no_grad():
        found = estimator.metric.measure(comparison)
    spent = round(time.process_time() - started, 4)
    place = (task.case.name, task.case.problem.dim, task.n, estimator.name, repetition)
    if isinstance(found, Skipped):
        return Trial(*place, "", 0.0, 0.0, found.reason, spent)
    return Trial(*place, found.kind, found.value, found.stderr, found.note, spent)


def _comparison(task: Task, repetition: int) -> Comparison:
    problem, approximation = task.case.problem, task.case.forms[task.form]
    draws = approximation.sample(task.n, _generator(task, repetition, "draws"))
    truth = problem.truth.sample(len(draws), _generator(task, repetition, "truth"))
    return Comparison(
        problem, approximation, draws, truth, _generator(task, repetition, "metric").initial_seed()
    )


def _generator(task: Task, repetition: int, purpose: str) -> Generator:
    return generator_of(purpose, task.case.name, task.case.problem.dim, task.n, repetition)


def tried(
    estimators: Sequence[Estimator], n: int, cheap: int, costly: int
) -> tuple[tuple[Estimator, range], ...]:
    """How often each is to be tried at ``n`` draws; those that are too dear there are left out."""
    return tuple(
        (each, range(cheap if n <= each.cheap_up_to else costly))
        for each in estimators
        if n <= each.up_to
    )
