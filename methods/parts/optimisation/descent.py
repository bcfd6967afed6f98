"""Descent of a flat vector of weights along noisy gradients: Adam with a cosine decay, clipping,
and the average of the weights, which is worth more than the newest.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

WARM = 10  # steps for which the average forgets its start faster


class Trained(Protocol):
    """The fields of a method that descends on weights.

    ``lr`` is Adam's step size, ``final_lr`` the share of it left at the end of a cosine decay,
    ``clip`` the largest norm of a gradient, and ``average`` the memory of the averaged weights, per
    step; 0 for the newest.
    """

    @property
    def lr(self) -> float: ...
    @property
    def final_lr(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def average(self) -> float: ...


class Descent:
    """One vector of weights on its way down.

    Args:
        method: whose step sizes, clipping and memory they are, and whose name stands in an error.
        weights: [weights], moved in place.
        remedy: what to say where a gradient is not finite.
    """

    def __init__(self, method: Trained, weights: Tensor, remedy: str) -> None:
        self.weights, self.average = weights, weights.clone()
        self._adam = torch.optim.Adam([weights], fused=True)
        self._lr, self._final = method.lr, method.final_lr
        self._clip, self._memory = method.clip, method.average
        self._fault = f"{type(method).__name__} diverged: a gradient is not finite; {remedy}."
        self._taken = 0

    def step(self, gradient: Tensor, progress: float) -> None:
        """Move by a gradient, [weights], at a share of the run in [0, 1).

        Raises:
            FloatingPointError: if it is not finite.
        """
        norm = gradient.norm()
        if not norm.isfinite():
            raise FloatingPointError(self._fault)
        decay = 0.5 * (1 + math.cos(math.pi * progress))
        self._adam.param_groups[0]["lr"] = self._lr * (self._final + (1 - self._final) * decay)
        self.weights.grad = gradient * (self._clip / norm).clamp(max=1.0)
        self._adam.step()
        self._taken += 1
        memory = min(self._memory, self._taken / (self._taken + WARM))
        self.average.lerp_(self.weights.detach(), 1 - memory)


def length(iterations: int, batch: int, gradients: int | None) -> int:
    """Iterations of so many gradients each that a budget allows, at most those wanted, at least
    one.
    """
    return iterations if gradients is None else max(1, min(iterations, gradients // batch))
