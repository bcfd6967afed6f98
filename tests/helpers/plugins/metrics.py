"""A sound metric, and copies that are broken in one way each; the test says which check must see
it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Generator

from bench.metrics.base import Comparison, Estimate, Metric, Skipped


class Offset(Metric):
    """Difference of the means of the first coordinate, unbiased."""

    name: ClassVar[str] = "sound"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        x, y = comparison.draws[:, 0], comparison.truth[:, 0]
        stderr = (x.var() / len(x) + y.var() / len(y)).sqrt()
        return Estimate(float(x.mean() - y.mean()), float(stderr), "exact")

    def sound(self, comparison: Comparison) -> Estimate:
        found = Offset.measure(self, comparison)
        assert isinstance(found, Estimate)
        return found


@dataclass(frozen=True)
class Sound(Offset):
    power: int = 1


@dataclass(frozen=True)
class SoundSkipper(Metric):
    name: ClassVar[str] = "sound-skipper"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return Skipped("Never applies.")


@dataclass(frozen=True)
class Unspeakable(Sound):
    name: ClassVar[str] = "a:b"


@dataclass
class Thawed(Offset):
    power: int = 1


class Unitless(Sound):
    unit: ClassVar[str] = None  # type: ignore[assignment]


class BareNumber(Sound):
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return self.sound(comparison).value  # type: ignore[return-value]


class Speechless(Sound):
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return Skipped(" ")


class TensorValue(Sound):
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        found = self.sound(comparison)
        return replace(found, value=torch.tensor(found.value))


class NotANumber(Sound):
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return replace(self.sound(comparison), value=float("nan"), kind="estimate")


class Negative(Sound):
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return replace(self.sound(comparison), stderr=-0.1, kind="estimate")


class Guess(Sound):
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return replace(self.sound(comparison), kind="guess")  # type: ignore[arg-type]


class Biased(Sound):
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        found = self.sound(comparison)
        return replace(found, value=found.value + 1)


class Fickle(Sound):
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        own = Generator()
        own.seed()
        return replace(
            self.sound(comparison), value=float(torch.randn((), generator=own)), kind="estimate"
        )


class Worldly(Sound):
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return replace(self.sound(comparison), value=float(torch.randn(())), kind="estimate")


class Vandal(Sound):
    """Centres the draws in place."""

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        found = self.sound(comparison)
        comparison.draws.sub_(comparison.draws.mean(0))
        return found


@dataclass(frozen=True)
class Restless(Sound):
    history: list[float] = field(default_factory=list)

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        self.history.append(0.0)
        return self.sound(comparison)


@dataclass(frozen=True)
class Costly(Sound):
    """Has the name of a cost."""

    name: ClassVar[str] = "gradients"
