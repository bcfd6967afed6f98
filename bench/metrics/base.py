"""What a metric takes and gives: a comparison of an approximation with the truth, and an estimate
that knows its error.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, Protocol, TypeVar

from torch import Generator, Tensor

from methods.base import Approximation
from problems.base import Exact, Problem

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["exact", "lower bound", "upper bound", "estimate"]
Resolves = float | Literal["floor"] | None
Worse = Literal["above", "below", "both"]  # the side of the ideal on which a figure is worse


@dataclass(frozen=True)
class Estimate:
    """A figure with its uncertainty.

    Args:
        value: the figure, in the metric's unit.
        stderr: its standard error, same unit; NaN where one run does not give it.
        kind: ``exact``: unbiased, up to ``stderr``; ``lower bound`` or ``upper bound`` on the
            quantity, up to ``stderr``; ``estimate``: consistent, but biased at a finite number of
            draws: compare with the noise floor.
        note: one sentence for the reader where the kind needs a reason.
        draws: how many draws the figure rests on where they are not those of the comparison.

    Example:
        >>> figure = Estimate(0.25, 0.01, "lower bound", note="The map folds.")
        >>> f"{figure.value:.2f} ± {1.96 * figure.stderr:.2f} nats, a {figure.kind}"
        '0.25 ± 0.02 nats, a lower bound'
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
        asked: draws that were asked for, where they are more than are held here: moments and
            quantiles go through all of them, block by block; None where all are held.
        seed: of the generators that metrics with randomness of their own draw from.
        memo: what functions decorated with ``kept`` have found.

    Example:
        >>> import torch
        >>> from methods import Gaussian
        >>> from problems.gaussian import Isotropic2
        >>> problem, generator = Isotropic2(), torch.Generator().manual_seed(0)
        >>> q = Gaussian(torch.zeros(2).double(), torch.ones(2).double())
        >>> draws, truth = q.sample(100, generator), problem.truth.sample(100, generator)
        >>> comparison = Comparison(problem, q, draws, truth)
        >>> first, second = (torch.rand(1, generator=comparison.generator()) for _ in range(2))
        >>> bool(first == second)  # every metric that asks gets the same random numbers
        True
    """

    problem: Problem
    approximation: Approximation
    draws: Tensor
    truth: Tensor
    seed: int = 0
    asked: int | None = None
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def evidence(self) -> tuple[float, float] | Skipped:
        """Log Z and its standard error, nats, or why they are not known."""
        truth = self.problem.truth
        if isinstance(truth, Exact):
            return truth.log_z, 0.0
        if truth.log_z is None or truth.log_z_stderr is None:
            return Skipped("The reference knows no log Z with a standard error.")
        return truth.log_z, truth.log_z_stderr

    def generator(self) -> Generator:
        """A fresh generator: each metric draws the same numbers, whichever others were
        asked for.
        """
        return Generator().manual_seed(self.seed)


@dataclass(frozen=True, eq=False)
class _Interrupted:
    """In place of what a function would have found."""

    by: BaseException


class Judged(Protocol):
    """What figures share: a ``Comparison``, or a learned pair."""

    @property
    def memo(self) -> dict[Hashable, Any]:
        """What functions decorated with ``kept`` have found."""


J = TypeVar("J", bound=Judged)


def kept(work: Callable[Concatenate[J, P], T]) -> Callable[Concatenate[J, P], T]:
    """Decorate a function of a comparison: it runs once for each, and all metrics share the
    result. Where a limit of time interrupts it, the others are interrupted at once.
    """

    @functools.wraps(work)
    def look_up(judged: J, /, *args: P.args, **named: P.kwargs) -> T:
        key = (work, args, tuple(sorted(named.items())))
        if key not in judged.memo:
            try:
                judged.memo[key] = work(judged, *args, **named)
            except Exception:
                raise
            except BaseException as interruption:
                judged.memo[key] = _Interrupted(interruption)
                raise
        found = judged.memo[key]
        if isinstance(found, _Interrupted):
            raise found.by
        shared: T = found
        return shared

    return look_up


class Figure(ABC):
    """What a page must know of a figure, by the names that ``Metric`` explains."""

    name: ClassVar[str]
    unit: ClassVar[str] = ""
    ideal: ClassVar[float | None] = 0.0
    heading: ClassVar[str] = ""
    meaning: ClassVar[str] = "A metric added by a plugin."
    worse: ClassVar[Worse] = "both"
    density: ClassVar[bool] = False
    astray: ClassVar[bool] = False
    unranked: ClassVar[str] = "the plugin names no ideal value"
    resolves: ClassVar[Resolves] = None
    costly: ClassVar[bool] = False
    target: ClassVar[str] = "the truth"

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
            "resolves": cls.resolves,
            "target": cls.target,
        }


class Metric(Figure):
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
        resolves: what m draws of the truth leave open by themselves, in one coordinate of a normal
            truth, is this over sqrt(m), in its unit; "floor" where only its noise floor tells; None
            where draws of the truth do not judge it, or its interval says all.
        target: what a distance is measured from, for sentences such as "closer to the truth".
        costly: whether it takes far longer than the fit that it judges may have taken: it is then
            measured at the last checkpoint alone.

    Example:
        >>> @dataclass(frozen=True)
        ... class Furthest(Metric):
        ...     name = "furthest"
        ...     ideal = None
        ...
        ...     def measure(self, comparison):
        ...         if len(comparison.draws) < 10:
        ...             return Skipped("Fewer than ten draws.")
        ...         return Estimate(float(comparison.draws.abs().max()), 0.0, "estimate")
        >>> Furthest().name
        'furthest'
    """

    @abstractmethod
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        """The figure, or why there is none."""
