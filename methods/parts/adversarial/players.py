"""What the players of Adversarial Variational Bayes hand to each other, and why they may fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor

from methods.base import Target
from methods.parts.adversarial.contrast import REMEDY
from methods.parts.finite import sound, whereabouts


@dataclass(frozen=True)
class Drawn:
    """The draws of one iteration, S steps of n for the discriminator and b for the sampler.

    Args:
        lessons: of q and then r for each step, and u: [S, 2 n, D] both, float64.
        eps, z, u: of the sampler's step: as the sampler takes it, float32; [b, D] both, float64.
        hidden: what the sampler's layers put out there.
    """

    lessons: tuple[Tensor, Tensor]
    eps: Tensor
    z: Tensor
    u: Tensor
    hidden: list[Tensor]


class Maps(Protocol):
    """A sampler: what its weights are, and its gradient in them."""

    def init(self, generator: Generator, scale: float) -> Tensor: ...
    def forward(self, weights: Tensor, eps: Tensor) -> tuple[Tensor, list[Tensor]]: ...
    def gradient(
        self, weights: Tensor, eps: Tensor, hidden: list[Tensor], direction: Tensor
    ) -> Tensor: ...


def fault(target: Target, seen: tuple[Tensor, Tensor, Tensor], scale: float | None) -> str:
    """Why a gradient is not finite: the density at the last draws, or the training.

    Args:
        seen: the last draws, [n, D], with the density and its gradient there.
        scale: of the draws around the origin, where they are those of the start; else None.
    """
    z, value, slope = seen
    bad = z.isfinite().all(-1) & ~sound(value, slope)
    if not bad.any():
        return f"AVB diverged: a gradient is not finite; {REMEDY}."
    where = f"the density is not finite {whereabouts(target, z, value, slope)}"
    if scale is not None:
        return (
            f"AVB cannot start from N(0, {scale:g}^2) in each coordinate: {where}."
            " If it is finite elsewhere, change scale."
        )
    return f"AVB came to where {where}; {REMEDY}."
