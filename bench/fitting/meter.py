"""How much of its budget a fit has used, and how it is stopped when that is all."""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Callable, Iterator
from time import perf_counter  # by name, so that a plugin which patches the module moves no clock
from types import FrameType
from typing import Literal, Protocol

from bench.fitting.surroundings import alarmed
from methods.base import Budget

Cause = Literal["", "gradients", "seconds", "guard"]
REFUSALS = 1000  # evaluations refused in a row, after which a method counts as deaf to refusals
RINGS = 2  # interruptions that a method may swallow before it counts as deaf to them
SOON = 0.5  # seconds between two interruptions


class BudgetSpentError(BaseException):
    """Raised out of the target when a method asks for more than it was given.

    No Exception, so that ``except Exception`` in a method lets it through.
    """


class OverdueError(BaseException):
    """Raised in the middle of whatever a method does long after its time was over.

    No Exception, so that ``except Exception`` in a method lets it through.
    """


class Counted(Protocol):
    """Where a fit counts what it spends.

    ``before`` is called ahead of all that costs something: the harness stops there what has spent
    its budget.
    """

    evaluations: int
    gradients: int
    before: Callable[[], None]


class Meter:
    """The clock and the counters of one fit.

    Args:
        budget: what may be spent.
        target: where evaluations and gradients are counted.
        deaf: called, and not returned from, when a method goes on whatever it is told; None where
            nobody can end it.
    """

    def __init__(
        self, budget: Budget, target: Counted, deaf: Callable[[], None] | None = None
    ) -> None:
        self.budget, self.target, self.deaf = budget, target, deaf
        self.setup: float | None = None  # seconds until it was ready; None while it has not said so
        self.seconds = 0.0  # of fitting, before it was last resumed
        self.since: float | None = None  # the time of that, None where the harness has the word
        self._refusals = 0

    @property
    def limit(self) -> float | None:
        """Seconds that end the fit, or the set-up before it: those of the plan, or else what is
        left of the guard's.
        """
        if self.budget.seconds is not None:
            return self.budget.seconds
        return None if self.budget.guard is None else self.budget.guard - (self.setup or 0.0)

    def ready(self) -> None:
        """What was spent so far was set-up, and fitting begins."""
        self.setup, self.seconds = self.elapsed(), 0.0

    def pause(self) -> None:
        """Stop the clock, if it runs."""
        self.seconds, self.since = self.elapsed(), None

    def elapsed(self) -> float:
        """Seconds that the method has had the word since it was ready, or since it began."""
        return self.seconds + (perf_counter() - self.since if self.since is not None else 0.0)

    @property
    def timed(self) -> bool:
        """Whether seconds alone are the plan."""
        return self.budget.gradients is None and self.budget.seconds is not None

    def progress(self) -> float:
        """How far the fit has come: seconds where they alone are the plan, or else gradients."""
        return self.elapsed() if self.timed else float(self.target.gradients)

    def next_stop(self, mark: float) -> tuple[float, float]:
        """The gradients or the seconds at which a mark, or the end of the budget, is reached."""
        gradients = math.inf if self.budget.gradients is None else self.budget.gradients
        seconds = math.inf if self.limit is None else self.limit
        if self.timed:
            return gradients, min(seconds, mark)
        return min(gradients, mark), seconds

    def spent(self) -> Cause:
        """What is used up, empty if nothing is: counts first, which are the same every time."""
        budget = self.budget
        if budget.gradients is not None and self.target.gradients >= budget.gradients:
            return "gradients"
        if self.limit is not None and self.elapsed() >= self.limit:
            return "guard" if budget.seconds is None else "seconds"
        return ""

    def check(self) -> None:
        """Refuse an evaluation if the budget is spent.

        Raises:
            BudgetSpentError: if it is.
        """
        if not self.spent():
            return
        self._refusals += 1
        if self._refusals > REFUSALS and self.deaf is not None:
            self.deaf()
        raise BudgetSpentError

    @contextlib.contextmanager
    def alarm(self, patience: float) -> Iterator[None]:
        """Raise OverdueError in a method that has the word that many seconds after its limit.

        A step in Python, or a call that minds signals, is ended so; the main thread of a POSIX
        system has such an alarm, others have none.
        """
        if self.limit is None:
            yield
            return
        rings = 0

        def ring(number: int, frame: FrameType | None) -> None:
            nonlocal rings
            left = (self.limit or 0.0) + patience - self.elapsed()
            signal.setitimer(signal.ITIMER_REAL, max(left, SOON))
            if left > 0 or self.since is None:
                return
            rings += 1
            if rings > RINGS and self.deaf is not None:
                self.deaf()
            raise OverdueError

        with alarmed(ring, self.limit + patience):
            yield
