"""Drives one method under a budget: resumes it, pauses the clock to measure, and stops it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter  # by name, so that a plugin which patches the module moves no clock
from typing import Generic, TypeVar

from torch import Generator

from bench.fitting.data import CountedData
from bench.fitting.exact import ExactDraws
from bench.fitting.judged import Judged
from bench.fitting.memory import PeakMemory
from bench.fitting.meter import BudgetSpentError, Counted, Meter, OverdueError
from bench.fitting.resume import Clock, Resumption
from bench.fitting.target import CountedTarget
from bench.store import COSTS
from methods.amortised.base import Learned, Learner
from methods.base import Approximation, Budget, Method
from problems.base import Problem
from problems.generative.base import GenerativeModel

Yielded = TypeVar("Yielded")  # an approximation, or a learned decoder and encoder
DECADES = 3  # that checkpoints are spread over
FIRST = 3  # of them is at 10**FIRST gradients where no budget says how many there will be


@dataclass(frozen=True)
class Checkpoint(Generic[Yielded]):
    """An approximation, or a learned pair, and what it had cost when it was made.

    Args:
        approximation: as it was yielded.
        index: 0, 1, ... in order.
        seconds: of fitting until then, measuring and set-up excluded.
        setup: seconds until the method was ready to fit; NaN where it has not said when.
        gradients, evaluations: of the density, by the row, those of the set-up included.
        memory: peak resident memory above the start, MiB; NaN where the platform cannot tell.
        final: whether nothing comes after it. Where nothing was spent since the last checkpoint,
            that one comes again, with its index, as the final one.
        cut_short: whether the guard of seconds ended the fit; of a final checkpoint only.
        deaf: whether the method went on after it was told to stop; of a final checkpoint only.
        untold: names of costs that are not known, of draws that were made elsewhere.
    """

    approximation: Yielded
    index: int
    seconds: float
    setup: float
    gradients: int
    evaluations: int
    memory: float
    final: bool = False
    cut_short: bool = False
    deaf: bool = False
    untold: frozenset[str] = frozenset()


def fit(
    problem: Problem,
    method: Method,
    budget: Budget,
    generator: Generator,
    *,
    patience: float | None = None,
    abandon: Callable[[Checkpoint[Approximation]], None] | None = None,
) -> Iterator[Checkpoint[Approximation]]:
    """Yield checkpoints at fixed, log-spaced points (see ``marks``), and the final one at the end.

    The clock stands still while the caller holds a checkpoint. The target refuses evaluations once
    the budget is spent, so that a method which seldom yields stops in time as well; its last
    approximation counts. Where the method raises after it has yielded, the final checkpoint comes
    first, and then the exception.

    Args:
        problem, method, budget, generator: what is fitted, how, for how much, and from which seed.
        patience: seconds past its limit after which a method is interrupted wherever it is; None
            to wait for its next evaluation or approximation.
        abandon: takes the final checkpoint of a method that swallows every interruption, in the
            midst of the method's own calls, and must not return; None where such a method is waited
            for.

    Raises:
        TimeoutError: if the budget is spent before the first approximation.
        RuntimeError: if the method ends without one.
    """
    target = CountedTarget(problem)
    judged = method if isinstance(method, Judged) else None

    def run() -> Iterator[Approximation | None]:
        if isinstance(method, ExactDraws):
            return method.reveal(problem.truth)
        return method.run(target, budget, generator)

    revealed = isinstance(method, ExactDraws | Judged)
    course = _Course(run, target, budget, abandon, revealed=revealed, judged=judged)
    with contextlib.nullcontext() if patience is None else course.meter.alarm(patience):
        yield from course.checkpoints()


def learn(
    model: GenerativeModel,
    learner: Learner,
    budget: Budget,
    generator: Generator,
    *,
    patience: float | None = None,
    abandon: Callable[[Checkpoint[Learned]], None] | None = None,
    resumption: Resumption | None = None,
) -> Iterator[Checkpoint[Learned]]:
    """Yield checkpoints of a learner as ``fit`` does of a method; it sees the training data alone.

    Args:
        model, learner, budget, generator: what is learned, how, for how much, from which seed.
        patience, abandon: as of ``fit``.
        resumption: where the learner's state is kept; from one that was kept it goes on.

    Raises:
        TimeoutError, RuntimeError: as ``fit``.
        ValueError: if the learner overwrites the training data.
    """
    data = CountedData(model)
    course = _Course(lambda: learner.run(data, budget, generator), data, budget, abandon)
    if resumption is not None:
        data.checkpoints = resumption
        course.begin(resumption.began)
        resumption.clock = course.clock
    with contextlib.nullcontext() if patience is None else course.meter.alarm(patience):
        for checkpoint in course.checkpoints():
            data.must_be_unchanged()
            yield checkpoint


def marks(budget: Budget) -> list[float]:
    """Where quality is measured on the way to the end: log-spaced over three decades.

    They are counts of gradients, up to the budget of them, so that they do not depend on the
    machine; seconds, where the plan is made of seconds alone; and where there is no plan, fixed
    counts from 10^3 to 10^6, as many as ``budget.checkpoints`` leaves beside the final one.
    """
    inner = budget.checkpoints - 1
    if budget.gradients is not None:
        shares = [10 ** (-DECADES * (1 - i / inner)) for i in range(inner)]
        return [float(max(1, round(budget.gradients * share))) for share in shares]
    if budget.seconds is not None:
        return [budget.seconds * 10 ** (-DECADES * (1 - i / inner)) for i in range(inner)]
    shares = [i / (inner - 1) for i in range(inner)] if inner > 1 else [0.5] * inner
    return [float(round(10 ** (FIRST + DECADES * share))) for share in shares]


class Ended:
    """What stands for the approximation that a method which has ended does not yield."""


ENDED = Ended()


class _Course(Generic[Yielded]):
    """One fit on its way: what was yielded last, and what it had cost.

    Args:
        run: starts it.
        target: where what is spent is counted.
        budget: what may be spent.
        abandon: as of ``fit``.
        revealed: whether it is made of draws that cost nothing, so that there is nothing on the
            way.
        judged: draws that were made elsewhere, which tell their own costs.
    """

    def __init__(
        self,
        run: Callable[[], Iterator[Yielded | None]],
        target: Counted,
        budget: Budget,
        abandon: Callable[[Checkpoint[Yielded]], None] | None,
        *,
        revealed: bool = False,
        judged: Judged | None = None,
    ) -> None:
        self.target = target
        self.meter = Meter(budget, target, self._deaf if abandon else None)
        target.before = self.meter.check
        self.memory = PeakMemory()
        self._abandon, self._revealed, self._judged = abandon, revealed, judged
        self._run = run()
        self._began = Clock()
        self._latest: Yielded | None = None
        self._shown: Checkpoint[Yielded] | None = None
        self._progress = 0.0  # of the last checkpoint but the final one
        self._failure: BaseException | None = None

    def begin(self, clock: Clock) -> None:
        """Go on from what was spent and measured before."""
        self._began, self._progress = clock, clock.progress
        self.meter.seconds, self.meter.setup = clock.seconds, clock.setup

    def clock(self) -> Clock:
        """What has been spent, and how far the measuring has come."""
        index = self._began.index if self._shown is None else self._shown.index + 1
        return Clock(self.meter.elapsed(), self.meter.setup, self._progress, index)

    def checkpoints(self) -> Iterator[Checkpoint[Yielded]]:
        """Those on the way, and the final one."""
        ahead = [] if self._revealed else marks(self.meter.budget)
        ahead = [mark for mark in ahead if mark > self._progress]
        while self._advance(ahead[0] if ahead else math.inf) and not self.meter.spent():
            self._progress = self.meter.progress()
            ahead = [mark for mark in ahead if mark > self._progress]
            self._shown = self._checkpoint()
            yield self._shown
            self.memory.restart()
        yield self._final(self.meter.spent())
        self._close()
        if self._failure is not None:
            raise self._failure

    def _advance(self, mark: float) -> bool:
        """Let the method work on to its first approximation past a mark or a limit; whether it has
        one.

        What it raises is kept for later, unless it was told to stop.
        """
        try:
            return self._work_on(*self.meter.next_stop(mark))
        except (BudgetSpentError, OverdueError):
            return False
        except (Exception, SystemExit) as error:
            self._failure = None if self.meter.spent() else error
            return False
        finally:
            self.meter.pause()

    def _work_on(self, gradients: float, seconds: float) -> bool:
        """As ``_advance``, to a count or a time. A yield costs half a microsecond here: a method
        may yield after every step, however small.
        """
        run, meter, target = self._run, self.meter, self.target
        while True:
            meter.since = started = perf_counter()
            approximation = next(run, ENDED)
            meter.seconds += perf_counter() - started
            meter.since = None
            if isinstance(approximation, Ended):
                return False
            if approximation is None:
                self._ready()
                continue
            self._latest = approximation
            if target.gradients >= gradients or meter.seconds >= seconds:
                return True

    def _ready(self) -> None:
        """The method is ready to fit, and there is nothing to measure yet.

        Raises:
            RuntimeError: if it says so twice, or after its first approximation.
        """
        if self.meter.setup is not None or self._latest is not None:
            raise RuntimeError(
                "run() yielded None after its set-up was over; expected None once at most, before"
                " the first approximation."
            )
        self.meter.ready()

    def _final(self, cause: str, *, deaf: bool = False) -> Checkpoint[Yielded]:
        """The last approximation, charged with all that was spent, a vain search included.

        Raises:
            TimeoutError: if there is none, and the budget is spent.
            RuntimeError: if there is none, and the method has ended.
        """
        if self._latest is None:
            if self._failure is not None:
                raise self._failure
            raise self._nothing(cause)
        found = self._checkpoint(final=True, cut_short=cause == "guard", deaf=deaf)
        self._shown = found
        return found

    def _checkpoint(
        self, *, final: bool = False, cut_short: bool = False, deaf: bool = False
    ) -> Checkpoint[Yielded]:
        assert self._latest is not None
        target, shown = self.target, self._shown
        again = (
            shown is not None
            and shown.approximation is self._latest
            and (shown.gradients, shown.evaluations) == (target.gradients, target.evaluations)
        )
        found = Checkpoint(
            self._latest,
            self._began.index if shown is None else shown.index + (not again),
            self.meter.elapsed(),
            math.nan if self.meter.setup is None else self.meter.setup,
            target.gradients,
            target.evaluations,
            self.memory.mebibytes,
            final,
            cut_short,
            deaf,
        )
        return found if self._judged is None else _as_told(found, self._judged)

    def _nothing(self, cause: str) -> Exception:
        if not cause:
            return RuntimeError("The method ended without yielding an approximation.")
        setup = self.meter.setup
        ahead = "" if setup is None else f" of fitting, {setup:.3g} seconds of set-up"
        return TimeoutError(
            f"The {_worded(self.meter.budget, cause)} was spent after {self.meter.elapsed():.3g}"
            f" seconds{ahead} and {self.target.gradients} gradients, before the first"
            " approximation; give more."
        )

    def _deaf(self) -> None:
        """Hand over what there is in the midst of a method that does not stop."""
        self.meter.pause()
        assert self._abandon is not None
        self._abandon(self._final(self.meter.spent(), deaf=True))

    def _close(self) -> None:
        """Let the method tidy up; what it does there can no longer harm its figures."""
        close = getattr(self._run, "close", None)
        with contextlib.suppress(Exception, BudgetSpentError, OverdueError, SystemExit):
            if close is not None:
                close()


def _as_told(checkpoint: Checkpoint[Yielded], judged: Judged) -> Checkpoint[Yielded]:
    """The checkpoint with the costs of draws that were made elsewhere, as far as they were told."""
    told = {"fit_seconds": judged.seconds, "gradients": judged.gradients}
    return replace(
        checkpoint,
        seconds=judged.seconds or 0.0,
        gradients=judged.gradients or 0,
        untold=frozenset(COSTS) - {name for name, value in told.items() if value is not None},
    )


def _worded(budget: Budget, cause: str) -> str:
    if cause == "guard":
        return f"guard of {budget.guard:g} seconds (budget.guard)"
    parts = {"seconds": budget.seconds, "gradients": budget.gradients}
    said = ", ".join(f"{value:g} {unit}" for unit, value in parts.items() if value is not None)
    return f"budget ({said})"
