"""What a metric takes and gives: a comparison of an approximation with the truth, and an estimate
that knows its error.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, TypeVar

from torch import Generator, Tensor

from methods.base import Approximation
from problems.base import Exact, Problem, Truth

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["exact", "lower bound", "upper bound", "estimate"]
Worse = Literal["above", "below", "both"]  # the side of the ideal on which a figure is worse


@dataclass(frozen=True)
class Estimate:
    """A figure with its uncertainty.

    Args:
        value: the figure, in the metric's unit.
        stderr: its standard error, same unit.
        kind: ``exact``: unbiased, up to ``stderr``; ``lower bound`` or ``upper bound`` on the
            quantity, up to ``stderr``; ``estimate``: consistent, but biased at a finite number of
            draws: compare with the noise floor.
        note: one sentence for the reader where the kind needs a reason.
        draws: how many draws the figure rests on where they are not those of the comparison.
    """

    value: float
    stderr: float
    kind: Kind
    note: str = ""
    draws: int | None = None


@dataclass(frozen=True)
class Skipped:
    """The metric cannot be had here, and why."""

    reason: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """One approximation beside the truth, with the draws that all metrics share.

    Args:
        problem: the density and the truth.
        approximation: what is judged.
        draws: [n, D] of the approximation, float64, finite.
        truth: [m, D], fresh independent draws of the truth, float64.
        seed: of the generators that metrics with randomness of their own draw from.
        memo: what functions decorated with ``kept`` have found.
    """

    problem: Problem
    approximation: Approximation
    draws: Tensor
    truth: Tensor
    seed: int = 0
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def generator(self) -> Generator:
        """A fresh generator: each metric draws the same numbers, whichever others were
        asked for.
        """
        return Generator().manual_seed(self.seed)


def kept(work: Callable[Concatenate[Comparison, P], T]) -> Callable[Concatenate[Comparison, P], T]:
    """Decorate a function of a comparison: it runs once for each, and all metrics share the
    result.
    """

    @functools.wraps(work)
    def look_up(comparison: Comparison, /, *args: P.args, **named: P.kwargs) -> T:
        key = (work, args, tuple(sorted(named.items())))
        if key not in comparison.memo:
            comparison.memo[key] = work(comparison, *args, **named)
        found: T = comparison.memo[key]
        return found

    return look_up


class Metric(ABC):
    """A figure of quality or of cost. The docstring states its equation, direction, unit and
    source.

    To add one: make a frozen dataclass that derives from ``Metric``; set ``name``, ``unit`` and
    ``ideal`` (the value of a perfect approximation, None where there is none); write ``measure``.
    The words below are what a page says of it.

    Args:
        name: by which tables and command lines call it.
        unit: of the figure; empty where it has none.
        ideal: the value of a perfect approximation; None where methods are not ranked by it, and
            ``unranked`` says why.
        heading: of its column, the unit after a comma; empty: made of name and unit.
        meaning: what it says of an approximation, in one sentence.
        worse: on which side of the ideal a figure is worse.
        density: whether it is made of log q - log p alone, so that it reads its ideal without
            noise where q = p.
        astray: whether an estimate below the noise floor has been misled.
        unranked: why methods are not ranked by it where it has no ideal.
        costly: whether it takes far longer than the fit that it judges may have taken: it is then
            measured at the last checkpoint alone.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = ""
    ideal: ClassVar[float | None] = 0.0
    heading: ClassVar[str] = ""
    meaning: ClassVar[str] = "A metric added by a plugin."
    worse: ClassVar[Worse] = "both"
    density: ClassVar[bool] = False
    astray: ClassVar[bool] = False
    unranked: ClassVar[str] = "the plugin names no ideal value"
    costly: ClassVar[bool] = False

    @classmethod
    def described(cls) -> dict[str, str | float | bool | None]:
        """What a page must know of it: plain values, by name."""
        named = f"{cls.name}, {cls.unit}" if cls.unit else cls.name
        ideal = float(cls.ideal) if isinstance(cls.ideal, Real) else None
        return {
            "unit": cls.unit,
            "ideal": ideal,
            "heading": cls.heading or named,
            "meaning": cls.meaning,
            "worse": cls.worse,
            "density": cls.density,
            "astray": cls.astray,
            "unranked": cls.unranked if ideal is None else "",
        }

    @abstractmethod
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        """The figure, or why there is none."""


def log_evidence(truth: Truth) -> tuple[float, float] | Skipped:
    """log Z and its standard error, nats."""
    if isinstance(truth, Exact):
        return truth.log_z, 0.0
    if truth.log_z is None or truth.log_z_stderr is None:
        return Skipped("The reference knows no log Z with a standard error.")
    return truth.log_z, truth.log_z_stderr
