"""Descent of a flat vector of weights along noisy gradients: Adam with a cosine decay, clipping,
and the average of the weights, which is worth more than the newest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WARM = 10  # steps for which the average forgets its start faster


class Descent:
    """One vector of weights on its way down.

    Args:
        weights: [weights], moved in place.
        lr: Adam's step size; final_lr: share of it left at the end of a cosine decay.
        clip: largest norm of a gradient.
        average: memory of the averaged weights, per step; 0 for the newest.
        name, remedy: what to say where a gradient is not finite.
    """

    def __init__(
        self,
        weights: Tensor,
        *,
        lr: float,
        final_lr: float,
        clip: float,
        average: float,
        name: str,
        remedy: str,
    ) -> None:
        self.weights, self.average = weights, weights.clone()
        self._adam = torch.optim.Adam([weights], fused=True)
        self._lr, self._final, self._clip, self._memory = lr, final_lr, clip, average
        self._fault = f"{name} diverged: a gradient is not finite; {remedy}."
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
