"""What of a method can be searched, and where: from the types and the defaults of its fields, or as
the method itself says.

- A choice of words, or yes and no: each of them.
- An integer n of at least 1: n times a power of two, up to four times more or less.
- A step size, a rate or a tolerance, by its name: 30 times more or less, by its logarithm; at most
  1 where the default is less.
- Another number between 0 and 1: two nats more or less in its log odds.
- A number of 1 or more: ten times more or less, by its logarithm.

All else, such as fields that are 0, None or a list, stays at its default. A method that knows
better declares ``search``, by field a list of values or a ``Span``; then nothing but that is
searched.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from methods.base import Span

STEP = re.compile(r"(^|_)(lr|step|step_size|rate|learning_rate|tolerance|epsilon)$")
FACTOR, WIDE, ODDS, POWERS = 30.0, 10.0, 2.0, 2


class Trial(Protocol):
    """What suggests values: a trial of optuna's."""

    def suggest_categorical(self, name: str, choices: Sequence[int]) -> Any:
        """One of the choices, for the field of that name."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number from low to high, both included."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from low to high; evenly in its logarithm where ``log``."""


@dataclass(frozen=True)
class Choice:
    """One of several values; ``ordered`` where neighbours are alike."""

    values: tuple[Any, ...]
    ordered: bool = False

    def ask(self, trial: Trial, field: str) -> Any:
        """A value as a trial suggests it."""
        last = len(self.values) - 1
        if self.ordered:
            return self.values[trial.suggest_int(field, 0, last)]
        return self.values[trial.suggest_categorical(field, range(last + 1))]

    def place(self, value: Any) -> float | None:
        """Where a value lies, as optuna counts; None where it is none of them."""
        return self.values.index(value) if value in self.values else None

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


@dataclass(frozen=True)
class Within:
    """A number between two, evenly by itself, by its logarithm or by its log odds."""

    low: float
    high: float
    scale: str = "plain"  # or log, or odds
    whole: bool = False

    def ask(self, trial: Trial, field: str) -> Any:
        """A value as a trial suggests it."""
        if self.scale == "odds":
            return _share(trial.suggest_float(field, _odds(self.low), _odds(self.high)))
        value = trial.suggest_float(field, self.low, self.high, log=self.scale == "log")
        return round(value) if self.whole else float(f"{value:.4g}")

    def place(self, value: Any) -> float | None:
        """Where a value lies, as optuna counts; None where it is outside."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return None
        return _odds(value) if self.scale == "odds" else float(value)

    def __str__(self) -> str:
        how = {"plain": "", "log": ", by its logarithm", "odds": ", by its log odds"}[self.scale]
        return f"{self.low:.3g} to {self.high:.3g}{how}"


Axis = Choice | Within


def space(cls: type[Any], fixed: Mapping[str, Any] = types.MappingProxyType({})) -> dict[str, Axis]:
    """The axes of a method's fields, by name.

    Args:
        cls: the method.
        fixed: fields that are given, and so not searched.
    """
    declared = dict(cls.search)
    hints = typing.get_type_hints(cls)
    found: dict[str, Axis] = {}
    for field in dataclasses.fields(cls):
        if not field.init or field.name in fixed or (declared and field.name not in declared):
            continue
        axis = (
            _declared(declared[field.name])
            if declared
            else _axis(field.name, hints[field.name], field.default)
        )
        if axis is not None:
            found[field.name] = axis
    return found


def _declared(said: Any) -> Axis:
    if isinstance(said, Span):
        whole = isinstance(said.low, int) and isinstance(said.high, int)
        return Within(said.low, said.high, "log" if said.log else "plain", whole)
    return Choice(tuple(said))


def _axis(name: str, hint: Any, default: Any) -> Axis | None:
    if typing.get_origin(hint) is typing.Literal:
        return Choice(typing.get_args(hint))
    if isinstance(default, bool):
        return Choice((default, not default))
    if isinstance(default, int) and default >= 1:
        values = {max(1, round(default * 2.0**power)) for power in range(-POWERS, POWERS + 1)}
        return Choice(tuple(sorted(values)), ordered=True)
    return _of_number(name, default) if isinstance(default, float) else None


def _of_number(name: str, default: float) -> Axis | None:
    if not 0 < default < math.inf:
        return None
    if STEP.search(name):
        most = 1.0 if default < 1 else math.inf
        return Within(default / FACTOR, min(default * FACTOR, most), "log")
    if default < 1:
        return Within(_share(_odds(default) - ODDS), _share(_odds(default) + ODDS), "odds")
    return Within(default / WIDE, default * WIDE, "log")


def _odds(share: float) -> float:
    return math.log(share / (1 - share))


def _share(odds: float) -> float:
    return float(f"{1 / (1 + math.exp(-odds)):.4g}")
