"""What is expected of every estimate, whether of an approximation or of a learned pair."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from typing import Protocol

from bench.checks.finding import expect
from bench.metrics.base import Estimate, Figure, Kind, Skipped


class EstimatesLab(Protocol):
    """What came of a metric, by the words for what it was tried on."""

    @property
    def results(self) -> Mapping[str, Estimate | Skipped]:
        """What the metric gave, skipped or not, by the same words."""

    def estimates(self) -> Mapping[str, Estimate]:
        """What it gave that is not skipped."""


def declared(figure: Figure) -> None:
    """Hold the unit and the ideal that a metric declares against their types.

    Raises:
        UnmetError: if one of them is something else.
    """
    unit, ideal = figure.unit, figure.ideal
    expect(isinstance(unit, str), f"unit is {unit!r}; expected a string, empty where there is none")
    expect(
        ideal is None or isinstance(ideal, int | float),
        f"ideal is {ideal!r}; expected a number, or None where there is none",
    )


def returns(lab: EstimatesLab) -> None:
    """Expect estimates, or reasons why there are none.

    Raises:
        UnmetError: if there is something else.
    """
    for words, found in lab.results.items():
        given = type(found).__name__
        expect(
            isinstance(found, Estimate | Skipped),
            f"measure gave a {given} for {words}; expected an Estimate or Skipped",
        )
        if isinstance(found, Skipped):
            expect(bool(found.reason.strip()), f"skipped {words} without a reason; expected one")


def value(lab: EstimatesLab) -> None:
    """Expect values that are floats and not NaN.

    Raises:
        UnmetError: if one is something else.
    """
    for words, found in lab.estimates().items():
        expect(
            isinstance(found.value, float),
            f"the value for {words} is a {type(found.value).__name__}; expected a float",
        )
        expect(
            not math.isnan(found.value),
            f"the value for {words} is NaN; expected a figure, or Skipped with the reason",
        )


def kind(lab: EstimatesLab) -> None:
    """Expect one of the kinds that there are.

    Raises:
        UnmetError: if there is another.
    """
    legal = typing.get_args(Kind)
    for words, found in lab.estimates().items():
        expect(
            found.kind in legal,
            f"the kind for {words} is {found.kind!r}; expected one of {', '.join(legal)}",
        )
