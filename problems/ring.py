r"""Gaussian bumps on a circle: eight modes that a method must find, with nothing in between to lead
it there.

.. math::
    p(z) = \frac1K \sum_{k=0}^{K-1} N(z; m_k, s^2 I), \quad m_k = r\,(\cos 2\pi k / K,\ \sin 2\pi k
    / K)
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, Modes, Problem, Trait
from problems.parts.validate import require_positive, require_whole


@functools.lru_cache(maxsize=64)
def _unit_means(bumps: int) -> Tensor:
    """The directions of the means, [2, K]."""
    with torch.inference_mode(
        False
    ):  # it is kept, and a tensor born in inference mode has no gradients later
        angle = 2 * math.pi / bumps * torch.arange(bumps, dtype=torch.float64)
        return torch.stack([angle.cos(), angle.sin()])


@dataclass(frozen=True)
class Ring(Problem):
    """K round Gaussian bumps of equal weight, evenly spaced on a circle, normalised.

    Args:
        bumps: K, at least 2; the first lies on the positive first axis.
        radius: r, of the circle.
        scale: s, the standard deviation of each bump along each axis.

    Raises:
        ValueError: if a field lies outside its range.
    """

    bumps: int = 8
    radius: float = 4.0
    scale: float = 0.5
    name: ClassVar[str] = "ring-2d"
    traits: ClassVar[tuple[Trait, ...]] = ("multimodal",)

    def __post_init__(self) -> None:
        require_whole(self, bumps=2)
        require_positive(self, "radius", "scale")
        _unit_means(self.bumps)  # made here, where no tracer or transform of torch is watching

    @property
    def dim(self) -> int:
        return 2

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, log_z=0.0)

    @property
    def modes(self) -> Modes:
        """The sector nearest to each bump, counted anticlockwise; by symmetry each holds 1/K."""
        return Modes(self._sector, (1 / self.bumps,) * self.bumps)

    def log_density(self, z: Tensor) -> Tensor:
        """log p(z), normalised: [..., 2] -> [...], nats. All means have one norm, so the squares
        leave the sum.
        """
        precision = self.scale**-2
        bumps = torch.logsumexp((self.radius * precision) * (z @ _unit_means(self.bumps)), -1)
        constant = (
            -math.log(2 * math.pi * self.scale**2 * self.bumps) - 0.5 * precision * self.radius**2
        )
        return constant - 0.5 * precision * z.square().sum(-1) + bumps

    def _sector(self, z: Tensor) -> Tensor:
        return (z @ _unit_means(self.bumps)).argmax(-1)

    def _sample(self, n: int, generator: Generator) -> Tensor:
        which = torch.randint(self.bumps, (n,), generator=generator)
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return self.radius * _unit_means(self.bumps).T[which] + self.scale * noise
