"""Drives one method under a budget: resumes it, pauses the clock to measure, and stops it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Generator

from bench.fitting.exact import ExactDraws
from bench.fitting.memory import PeakMemory
from bench.fitting.target import CountedTarget
from methods.base import Approximation, Budget, Method
from problems.base import Problem

DECADES = 3  # log-spaced checkpoints begin at 10**-DECADES of the budget


@dataclass(frozen=True)
class Checkpoint:
    """An approximation and what it had cost when it was made.

    Args:
        index: 0, 1, ... in order; the last one is final.
        seconds: of fitting until then, measuring excluded.
        gradients, evaluations: of the density, by the row.
        memory: peak resident memory above the start, MiB; NaN where the platform cannot tell.
    """

    approximation: Approximation
    index: int
    seconds: float
    gradients: int
    evaluations: int
    memory: float


class BudgetSpentError(Exception):
    """Raised out of the target when a method asks for more than it was given."""


class _Meter:
    """The clock and the counters of one cell, and how much of the budget they have used."""

    def __init__(self, budget: Budget, target: CountedTarget) -> None:
        self.budget, self.target = budget, target
        self.seconds = 0.0
        self._since: float | None = None

    def resume(self) -> None:
        self._since = time.perf_counter()

    def pause(self) -> None:
        self.seconds, self._since = self.elapsed(), None

    def elapsed(self) -> float:
        return self.seconds + (
            time.perf_counter() - self._since if self._since is not None else 0.0
        )

    def spent(self) -> float:
        """Share of the budget that is used: the largest of its parts; 1 or more when there is
        nothing left.
        """
        time_share = self.elapsed() / self.budget.seconds if self.budget.seconds else 0.0
        return max(
            time_share,
            self.target.gradients / self.budget.gradients if self.budget.gradients else 0.0,
        )

    def check(self) -> None:
        if self.spent() >= 1.0:
            raise BudgetSpentError


def fit(
    problem: Problem, method: Method, budget: Budget, generator: Generator
) -> Iterator[Checkpoint]:
    """Yield checkpoints at log-spaced points of the budget, and one at the end.

    The clock stands still while the caller holds a checkpoint. The target refuses evaluations once
    the budget is spent, so that a method which seldom yields stops in time as well; its last
    approximation counts.

    Raises:
        TimeoutError: if the budget is spent before the first approximation.
        RuntimeError: if the method ends without one.
    """
    target = CountedTarget(problem)
    meter, memory = _Meter(budget, target), PeakMemory()
    target.before = meter.check
    revealed = isinstance(method, ExactDraws)
    run = (
        method.reveal(problem.truth)
        if isinstance(method, ExactDraws)
        else method.run(target, budget, generator)
    )
    points = [1.0] if revealed else thresholds(budget.checkpoints)
    latest, index = None, 0
    for approximation in _until_spent(run, meter):
        latest = _checkpoint(approximation, index, meter, memory)
        spent = meter.spent()
        if spent >= 1.0:
            break
        if spent >= points[0]:
            points = [point for point in points if point > spent]
            yield latest
            latest, index = None, index + 1
            memory.restart()
    if latest is None and index == 0 and meter.spent() < 1.0:
        raise RuntimeError("The method ended without yielding an approximation.")
    if latest is None and index == 0:
        raise TimeoutError(
            f"The budget ({_worded(budget)}) was spent after {meter.seconds:.3g} seconds and"
            f" {target.gradients} gradients, before the first approximation; give more."
        )
    if (
        latest is not None
    ):  # the last one is charged with all that was spent, its vain search for a better one included
        yield _checkpoint(latest.approximation, index, meter, memory)


def thresholds(checkpoints: int) -> list[float]:
    """Shares of the budget at which quality is measured: log-spaced over three decades, the last
    one 1.
    """
    if checkpoints == 1:
        return [1.0]
    return [10 ** (-DECADES * (1 - i / (checkpoints - 1))) for i in range(checkpoints)]


def _until_spent(run: Iterator[Approximation], meter: _Meter) -> Iterator[Approximation]:
    while True:
        meter.resume()
        try:
            approximation = next(run, None)
        except BudgetSpentError:
            approximation = None
        finally:
            meter.pause()
        if approximation is None:
            return
        yield approximation


def _checkpoint(
    approximation: Approximation, index: int, meter: _Meter, memory: PeakMemory
) -> Checkpoint:
    target = meter.target
    return Checkpoint(
        approximation, index, meter.seconds, target.gradients, target.evaluations, memory.mebibytes
    )


def _worded(budget: Budget) -> str:
    parts = {"seconds": budget.seconds, "gradients": budget.gradients}
    return ", ".join(f"{value:g} {unit}" for unit, value in parts.items() if value is not None)
