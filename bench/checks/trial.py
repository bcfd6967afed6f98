"""One run of a method on a posterior of our own, watched from outside; the checks share a few of
them.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from bench.checks.finding import InapplicableError, UnmetError
from bench.checks.hill import Hill, Ledger
from bench.fitting import surroundings
from bench.fitting.fit import fit
from bench.fitting.surroundings import DeadlineError, deadline
from bench.processes.limits import children
from methods.base import Approximation, Budget, Method, NotApplicableError

# gradients: the first rung on which there is an approximation is used for all runs
LADDER = (2_000, 20_000, 200_000)
SECONDS = 30.0  # of fitting per run: a guard, for a plan made of seconds is not the same twice
PATIENCE = 20.0  # seconds beyond the budget until a run is broken off
DRAWS = 100
CHECKPOINTS = 3
_RUNS = itertools.count(1)


@dataclass(frozen=True, eq=False)
class Held:
    """An approximation, and the draws that it gave while the harness held it."""

    approximation: Approximation
    draws: Tensor


@dataclass(eq=False)
class Trial:
    """What one run of a method showed: its checkpoints, and how it ended.

    Args:
        budget: that it ran under.
        held: each checkpoint, in order; at least one, unless the budget was spent before the first.
        gradients: spent at the last checkpoint.
        ledger: what was asked of the density.
        touched: what it changed outside itself, while it ran or while it waited.
        wall: seconds from the first to the last moment.
        setup: seconds of them until the method said that it was ready; 0 where it did not.
        cut_short: whether the guard of seconds ended it, and so the clock.
        nothing: why it held nothing, where it did not.
    """

    budget: Budget
    ledger: Ledger
    held: list[Held] = field(default_factory=list)
    gradients: int = 0
    touched: set[str] = field(default_factory=set)
    wall: float = 0.0
    setup: float = 0.0
    cut_short: bool = False
    nothing: str = ""

    @property
    def last(self) -> Approximation:
        """The last approximation that the run yielded."""
        return self.held[-1].approximation


def generator(seed: int) -> Generator:
    """A new random generator with that seed."""
    return Generator().manual_seed(seed)


def draw(approximation: Approximation, n: int = DRAWS, seed: int = 1) -> Tensor:
    """Draws as the harness takes them."""
    with torch.no_grad():
        return approximation.sample(n, generator(seed))


def conduct(method: Method, dims: int, budget: Budget, seed: int) -> Trial:
    """Run a method on the hill in D dimensions.

    Raises:
        UnmetError: if it yields something else than an approximation, or is broken off long after
            its budget.
        InapplicableError: if the method says that it cannot be run here.
    """
    ledger = Ledger(allowance=10.0 * budget.gradients if budget.gradients else float("inf"))
    trial = Trial(budget, ledger)
    surroundings.scramble(next(_RUNS))  # different every time, as global states are
    before, started = surroundings.read(), time.perf_counter()
    processes = children()
    try:
        with deadline(_seconds(budget) + PATIENCE):
            _follow(trial, method, Hill(dims, ledger), generator(seed), before)
    except DeadlineError:
        raise UnmetError(
            f"still running {PATIENCE:g} seconds after its budget of {_seconds(budget):g} seconds"
            " was spent; expected an end: the target refuses further evaluations by an exception,"
            " which a method must let pass"
        ) from None
    except NotApplicableError as error:
        raise InapplicableError(f"the method cannot be run here: {error}") from None
    except TimeoutError as error:  # spent before the first approximation
        trial.nothing = str(error)
    trial.wall = time.perf_counter() - started
    trial.touched.update(surroundings.changed(before, surroundings.read()))
    trial.touched.update(surroundings.left_behind(processes))
    return trial


def _seconds(budget: Budget) -> float:
    """After which a fit is to end, at the latest."""
    return budget.seconds or budget.guard or 0.0


def _follow(
    trial: Trial, method: Method, hill: Hill, seeded: Generator, before: surroundings.Surroundings
) -> None:
    for checkpoint in fit(hill, method, trial.budget, seeded):
        approximation = checkpoint.approximation
        trial.touched.update(surroundings.changed(before, surroundings.read()))
        if not isinstance(approximation, Approximation):
            raise UnmetError(
                f"yielded a {type(approximation).__name__}; expected an instance of"
                " methods.base.Approximation"
            )
        trial.held.append(Held(approximation, draw(approximation)))
        trial.gradients = checkpoint.gradients
        trial.cut_short = checkpoint.cut_short
        if checkpoint.setup == checkpoint.setup:  # not NaN: it has said when it was ready
            trial.setup = checkpoint.setup


def first(method: Method, dims: int, seed: int) -> Trial:
    """The run with the smallest budget on the ladder that leads to an approximation.

    Raises:
        UnmetError: if none does.
    """
    for gradients in LADDER:
        trial = conduct(method, dims, Budget(None, gradients, CHECKPOINTS, SECONDS), seed)
        if trial.held:
            return trial
        if trial.wall >= SECONDS:
            break
    raise UnmetError(
        f"no approximation of a Gaussian in {dims} dimensions: {trial.nothing} Expected one: yield"
        " earlier, or check it with fields that make it shorter, as in `postbench check"
        " NAME:field=value`"
    )
