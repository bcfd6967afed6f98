"""Methods that go wrong, each in one way, and a small sound problem and method to run
beside them.
"""

import contextlib
import ctypes
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from methods.base import (
    Approximation,
    Budget,
    Method,
    NotApplicableError,
    Pushforward,
    Target,
)
from problems.base import Exact, Problem


@dataclass(frozen=True)
class Normal(Problem):
    """A standard normal posterior in ``dimension`` coordinates."""

    dimension: int = 2
    name: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise ValueError(f"Normal(dimension=...) must be at least 1, got {self.dimension}.")

    @property
    def dim(self) -> int:
        return self.dimension

    @property
    def truth(self) -> Exact:
        return Exact(
            lambda n, generator: torch.randn(
                n, self.dimension, generator=generator, dtype=torch.float64
            ),
            0.0,
        )

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * (z**2).sum(-1) - 0.5 * self.dimension * math.log(2 * math.pi)


@dataclass(frozen=True)
class Shifted(Approximation):
    """N(shift, I)."""

    shift: float
    dimension: int

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.shift + torch.randn(n, self.dimension, generator=generator, dtype=torch.float64)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * ((z - self.shift) ** 2).sum(-1) - 0.5 * self.dimension * math.log(2 * math.pi)


@dataclass(frozen=True)
class Sheet(Pushforward):
    """z = eps, or laid over itself at 2 in the first coordinate."""

    folds: bool
    noise_dim: int = 2

    def forward(self, eps: Tensor) -> Tensor:
        first = eps[:, :1] - self.folds * 0.5 * (eps[:, :1] - 1).clamp(min=0) ** 2
        return torch.cat([first, eps[:, 1:]], -1)


@dataclass(frozen=True)
class Folding(Method):
    """Yields a sheet, folded or not."""

    folds: bool = True
    name: ClassVar[str] = "folding"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        yield Sheet(self.folds)


class Planned(Shifted):
    """The truth, and how far a plan of a hundred iterations had come."""

    def __init__(self, dimension: int, done: int) -> None:
        super().__init__(0.0, dimension)
        object.__setattr__(self, "diagnostics", {"iterations": done, "planned": 100})


@dataclass(frozen=True)
class Planning(Method):
    """Plans a hundred iterations of one gradient each, whatever the budget."""

    name: ClassVar[str] = "planning"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        for step in range(100):
            target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
            yield Planned(target.dim, step + 1)


@dataclass(frozen=True)
class Walk(Method):
    """Halves its distance to the truth at every step, one gradient each; sleeps ``nap`` seconds a
    step.
    """

    steps: int = 20
    nap: float = 0.0
    name: ClassVar[str] = "walk"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        for step in range(self.steps):
            target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
            time.sleep(self.nap)
            yield Shifted(2.0 ** (-step), target.dim)


@dataclass(frozen=True)
class Trouble(Method):
    """Yields once, then does what ``how`` says."""

    how: str = "raise"
    name: ClassVar[str] = "trouble"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
        yield Shifted(1.0, target.dim)
        if self.how == "raise":
            raise RuntimeError("<b>no</b> luck")
        if self.how == "nan":
            yield Shifted(math.nan, target.dim)
        if self.how == "hang":
            while True:
                time.sleep(1)
        if self.how == "exit":
            os._exit(3)
        if self.how == "segfault":
            ctypes.string_at(0)
        if self.how == "memory":
            yield Shifted(float(torch.ones(2**31, dtype=torch.float64)[0]), target.dim)
        if self.how == "greedy":
            while True:
                target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
        if self.how == "converts":
            try:
                while True:
                    target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
            except BaseException as error:
                raise RuntimeError("could not go on") from error
        while self.how == "swallow":
            with contextlib.suppress(BaseException):
                target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))


@dataclass(frozen=True)
class Yielding(Method):
    """Yields as fast as it can, and costs nothing itself."""

    times: int = 10**6
    name: ClassVar[str] = "yielding"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        found = Shifted(0.0, target.dim)
        for _ in range(self.times):
            yield found


@dataclass(frozen=True)
class Slow(Method):
    """Never gets to its first approximation."""

    name: ClassVar[str] = "slow"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        while True:
            target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
        yield Shifted(0.0, target.dim)


@dataclass(frozen=True)
class Compiled(Method):
    """Sleeps ``setup`` seconds until it is ready, at a cost of one gradient, and walks from there.

    ``says`` is what it yields when: None once, twice, or after its first approximation.
    """

    setup: float = 0.2
    steps: int = 3
    nap: float = 0.0
    says: str = "once"
    name: ClassVar[str] = "compiled"

    def run(
        self, target: Target, budget: Budget, generator: Generator
    ) -> Iterator[Approximation | None]:
        target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
        time.sleep(self.setup)
        if self.says == "late":
            yield Shifted(1.0, target.dim)
        yield None
        if self.says == "twice":
            yield None
        for step in range(self.steps):
            target.value_and_grad(torch.zeros(1, target.dim, dtype=torch.float64))
            time.sleep(self.nap)
            yield Shifted(2.0 ** (-step), target.dim)


@dataclass(frozen=True)
class Tunable(Method):
    """N(shift, I) whose shift is how many decades ``rate`` is from 0.1; ``kind`` odd is refused
    with a large batch.
    """

    rate: float = 0.01
    batch: int = 8
    kind: Literal["even", "odd"] = "even"
    label: str = ""
    name: ClassVar[str] = "tunable"

    def __post_init__(self) -> None:
        if self.kind == "odd" and self.batch > 8:
            raise ValueError(f"Tunable(batch=...) must be 8 at most where odd, got {self.batch}.")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        noise = 0.01 * torch.randn((), generator=generator, dtype=torch.float64)
        yield Shifted(math.log10(self.rate / 0.1) + 0.1 + abs(float(noise)), target.dim)


@dataclass(frozen=True)
class Elsewhere(Method):
    """A method that is not for here."""

    name: ClassVar[str] = "elsewhere"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        raise NotApplicableError("It needs a Gaussian prior; <b>normal</b> has none.")
        yield Shifted(0.0, target.dim)


@dataclass(frozen=True)
class Offset(Metric):
    """Mean of the first coordinate."""

    name: ClassVar[str] = "offset"

    def measure(self, comparison: Comparison) -> Estimate:
        first = comparison.draws[:, 0]
        return Estimate(float(first.mean()), float(first.std() / len(first) ** 0.5), "exact")


@dataclass(frozen=True)
class Lame(Metric):
    """A metric that raises, returns NaN or has a reason not to be had."""

    how: str = "raise"
    name: ClassVar[str] = "lame"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        if self.how == "raise":
            raise ZeroDivisionError("no draws")
        return Skipped("not here") if self.how == "skip" else Estimate(math.nan, 0.0, "exact")


def make_normal(dimension: int = 3) -> Problem:
    """A standard normal, made by a function."""
    return Normal(dimension)


def make_nothing() -> int:
    """No problem at all."""
    return 3
