"""Learners of four points, one that works in ten lines and others that misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from methods.amortised.base import GaussianEncoder, Learned, Learner, TrainingData
from methods.base import Budget


class Spread(GaussianEncoder):
    """The point x goes to the sum of its bits along each axis, moved by a step; a spread of one."""

    def __init__(self, step: float) -> None:
        self.step = step

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc = torch.stack([x[:, 0] - x[:, 1], x[:, 2] - x[:, 3]], 1) + self.step
        return loc, torch.eye(2, dtype=torch.float64).expand(len(x), 2, 2)


@dataclass(frozen=True)
class Still(Learner):
    """Yields a fresh decoder and the same encoder, moved at each step."""

    steps: int = 2
    decoder: int = 0  # the seed of its weights
    name: ClassVar[str] = "still"

    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Learned]:
        decoder = model.decoder(torch.Generator().manual_seed(self.decoder)).at_rest()
        for i in range(self.steps):
            model.charge(1000)
            yield Learned(decoder, Spread(0.1 * i), {"step": float(i)})


@dataclass(frozen=True)
class Odd(Learner):
    """Goes wrong in the way that ``how`` names."""

    how: str = "nan"
    name: ClassVar[str] = "odd"

    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Any]:
        decoder = model.decoder(generator)
        if self.how == "hang":
            while True:
                model.batch(4, generator)
        if self.how == "overwrites":
            model.train.mul_(2)
        if self.how == "charges":
            model.charge(-1)
        if self.how == "nan decoder":
            decoder.requires_grad_(False)
            next(decoder.parameters()).fill_(float("nan"))
        step = float("nan") if self.how == "nan" else 0.0
        yield decoder if self.how == "other" else Learned(decoder.at_rest(), Spread(step))
        if self.how == "raises":
            raise ArithmeticError("no more ideas")
