"""What a method promises: it yields approximations, from its own generator, within its budget, and
touches nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from bench.checks.approximation import CHECKS as APPROXIMATION
from bench.checks.finding import Check, InapplicableError, expect, once
from bench.checks.settings import must_be_frozen, must_be_unchanged, must_have_a_name, snapshot
from bench.checks.trial import DRAWS, SECONDS, Trial, conduct, draw, first
from methods.base import Approximation, Budget, Draws, Method

SOON = 5.0  # seconds that a step may go on after the budget is spent
SHORT = 0.5  # seconds of the budget that tests it
SIZES = (1, 2, DRAWS)


class MethodLab:
    """A method and the runs of it that the checks share."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.fields = snapshot(method)

    @once
    def first_run(self) -> Trial:
        """What the method does on a posterior in two dimensions, from the first seed."""
        return first(self.method, 2, seed=1)

    @once
    def second_run(self) -> Trial:
        """The first run once more, from the same seed: it must give the same draws."""
        return conduct(self.method, 2, self.first_run.budget, seed=1)

    @once
    def other_run(self) -> Trial:
        """The first run from another seed: it must give other draws."""
        return conduct(self.method, 2, self.first_run.budget, seed=2)

    @once
    def longer_run(self) -> Trial:
        """The first run, or one ten times as long where that held no more than one
        approximation.
        """
        run = self.first_run
        if len(run.held) > 1:
            return run
        return conduct(
            self.method, 2, replace(run.budget, gradients=10 * (run.budget.gradients or 1)), seed=1
        )

    @once
    def run_in_three_dimensions(self) -> Trial:
        """In three dimensions, with the budget that takes."""
        return first(self.method, 3, seed=1)

    @once
    def approximation(self) -> Approximation:
        """The last one of the first run."""
        return self.first_run.last

    def approximations(self) -> Iterator[tuple[int, Approximation]]:
        """The last ones in two and three dimensions."""
        yield 2, self.first_run.last
        yield 3, self.run_in_three_dimensions.last


def _yields(lab: MethodLab) -> None:
    list(lab.approximations())  # raises where there is none


def _shape(lab: MethodLab) -> None:
    for dim, approximation in lab.approximations():
        for n in SIZES:
            rows = (
                min(n, approximation.chains.shape[:2].numel())
                if isinstance(approximation, Draws)
                else n
            )
            seen = draw(approximation, n)
            expect(
                isinstance(seen, Tensor),
                f"sample({n}) gave a {type(seen).__name__}; expected a tensor",
            )
            expect(
                seen.shape == (rows, dim),
                f"sample({n}) gave the shape {list(seen.shape)} on a posterior in {dim} dimensions;"
                f" expected {[rows, dim]}",
            )


def _plain(lab: MethodLab) -> None:
    for _, approximation in lab.approximations():
        draws = approximation.sample(2, torch.Generator().manual_seed(1))
        expect(draws.dtype == torch.float64, f"draws are {draws.dtype}; expected torch.float64")
        expect(
            not draws.requires_grad,
            "draws carry a gradient; expected sample() to work under torch.no_grad() or to detach",
        )
        expect(draws.device.type == "cpu", f"draws are on {draws.device}; expected them on the CPU")


def _finite(lab: MethodLab) -> None:
    for dim, approximation in lab.approximations():
        bad = int((~draw(approximation).isfinite()).any(-1).sum())
        expect(
            bad == 0,
            f"{bad} of {DRAWS} draws of a Gaussian in {dim} dimensions are not finite; expected"
            " none",
        )


def _reproducible(lab: MethodLab) -> None:
    draws, again = (trial.held[-1].draws for trial in (lab.first_run, lab.second_run))
    if (lab.first_run.cut_short or lab.second_run.cut_short) and not torch.equal(draws, again):
        raise InapplicableError(
            f"a run was cut short after {SECONDS:g} seconds, and so by the clock; check it on a"
            " machine with less to do, or with fields that make it shorter"
        )
    expect(
        torch.equal(draws, again),
        "two runs from equal generators gave different draws; expected the same to the last bit:"
        " some random numbers come from elsewhere, or the clock decides",
    )


def _repeats(lab: MethodLab) -> None:
    for _, approximation in lab.approximations():
        torch.manual_seed(0)
        draws = draw(approximation)
        torch.manual_seed(1)
        expect(
            torch.equal(draws, draw(approximation)),
            "sample() gave different draws from equal generators; expected a function of the"
            " generator's state alone",
        )


def _seeds_matter(lab: MethodLab) -> None:
    if isinstance(lab.approximation, Draws):
        expect(
            not torch.equal(lab.first_run.held[-1].draws, lab.other_run.held[-1].draws),
            "runs from different generators gave the same draws; expected others: is the given"
            " generator used?",
        )
        return
    expect(
        not torch.equal(draw(lab.approximation, seed=1), draw(lab.approximation, seed=2)),
        "sample() gave the same draws from different generators; expected others: is the given"
        " generator used?",
    )


def _global_state(lab: MethodLab) -> None:
    touched = sorted(lab.first_run.touched)
    expect(
        not touched,
        f"changed {' and '.join(touched)}; expected them as they were, also while the method waits"
        " at a yield",
    )


def _fields(lab: MethodLab) -> None:
    list(lab.approximations())  # has been run
    must_be_unchanged(lab.method, lab.fields)


def _gradient_budget(lab: MethodLab) -> None:
    trial = lab.first_run
    given, largest = trial.budget.gradients or 0, trial.ledger.largest
    expect(
        trial.gradients <= given + largest,
        f"took {trial.gradients:,} gradients of a budget of {given:,} in calls of {largest:,} rows"
        f" or less; expected {given + largest:,} at most: yield, or differentiate, more often",
    )


def _time_budget(lab: MethodLab) -> None:
    list(lab.approximations())  # has warmed up whatever needs it
    trial = conduct(lab.method, 2, Budget(seconds=SHORT), seed=1)
    setup = lab.first_run.setup  # which is no part of the budget
    ahead = f" after {setup:.1f} of set-up" if setup else ""
    expect(
        trial.wall < setup + SHORT + SOON,
        f"ended after {trial.wall:.1f} seconds on a budget of {SHORT:g}{ahead}; expected an end"
        f" within {SOON:g} seconds of it",
    )


def _unchanged(lab: MethodLab) -> None:
    run = lab.longer_run
    if len(run.held) < 2:
        raise InapplicableError(
            f"the method yielded once in {run.gradients:,} gradients: nothing came after"
        )
    for held in run.held:
        expect(
            torch.equal(held.draws, draw(held.approximation)),
            "an approximation gave other draws after the method had gone on than before; expected a"
            " copy to be yielded, not tensors that are still at work (`.detach().clone()`)",
        )


CHECKS: tuple[Check[MethodLab], ...] = (
    Check(
        "name",
        "tables and command lines call it by this name",
        lambda lab: must_have_a_name(lab.method),
    ),
    Check(
        "frozen",
        "results are filed under the fields, which must not change after that",
        lambda lab: must_be_frozen(lab.method),
    ),
    Check("yields", "the harness measures what a method yields", _yields),
    Check("shape", "metrics take draws as [n, D], for any n and D", _shape),
    Check(
        "float64",
        "half of the digits are lost in float32, and a gradient is of no use to a metric",
        _plain,
    ),
    Check("finite", "a posterior has no mass at infinity", _finite),
    Check("reproducible", "a figure that cannot be had again cannot be checked", _reproducible),
    Check(
        "sampling repeats",
        "metrics draw from one approximation more than once, and must not disturb each other",
        _repeats,
    ),
    Check(
        "seeds matter",
        "seeds stand for independent repetitions: their spread is the error bar",
        _seeds_matter,
    ),
    Check(
        "global state",
        "what one method changes for all would decide the results of the next",
        _global_state,
    ),
    Check("fields", "the next run with the same settings must be the same run", _fields),
    Check("gradient budget", "methods are compared at equal cost", _gradient_budget),
    Check("time budget", "one method must not hold up a night of runs", _time_budget),
    Check(
        "stays as yielded",
        "an early checkpoint that changes later is measured as what it is not",
        _unchanged,
    ),
    *APPROXIMATION,
)
