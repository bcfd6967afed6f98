"""What a metric takes and gives: a comparison of an approximation with the truth, and an estimate that knows its error."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from methods.base import Approximation, Draws
from problems.base import Problem

Kind = Literal["exact", "lower bound", "upper bound", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its uncertainty.

    Args:
        value: the figure, in the metric's unit.
        stderr: its standard error, same unit.
        kind: ``exact``: unbiased, up to ``stderr``; ``lower bound`` or ``upper bound`` on the quantity, up
            to ``stderr``; ``estimate``: consistent, but biased at a finite number of draws: compare with the noise floor.
        note: one sentence for the reader where the kind needs a reason.
    """

    value: float
    stderr: float
    kind: Kind
    note: str = ""


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
    """

    problem: Problem
    approximation: Approximation
    draws: Tensor
    truth: Tensor
    seed: int = 0

    def generator(self) -> Generator:
        """A fresh generator: each metric draws the same numbers, whichever others were asked for."""
        return Generator().manual_seed(self.seed)

    @functools.cached_property
    def effective(self) -> Tensor:
        """Effective number of draws for the mean of each coordinate, [D]: n for independent draws, less for chains."""
        n = len(self.draws)
        if not isinstance(self.approximation, Draws):
            return torch.full((self.draws.shape[1],), float(n), dtype=torch.float64)
        from bench.metrics.chains import ess_mean

        return ess_mean(self.approximation.chains).clamp(max=float(n))


class Metric(ABC):
    """A figure of quality or of cost. The docstring states its equation, direction, unit and source.

    To add one: make a frozen dataclass that derives from ``Metric``; set ``name``, ``unit`` and ``ideal`` (the value of a
    perfect approximation, None where there is none); write ``measure``.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = ""
    ideal: ClassVar[float | None] = 0.0

    @abstractmethod
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        """The figure, or why there is none."""
