r"""Two Gaussian bumps in the plane: the smallest posterior with more than one mode, and exact in
every respect.

.. math:: p(z) = w\, N(z; -m, s^2 I) + (1 - w)\, N(z; m, s^2 I), \quad m = (a, a)

An approximation that seeks one mode loses log 2 nats here, and a picture shows at a glance which
one it lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, Modes, Problem, Trait
from problems.parts.validate import bad_setting, require_positive


@dataclass(frozen=True)
class Mixture(Problem):
    """Two round Gaussian bumps, normalised, at (-a, -a) and (a, a).

    Args:
        separation: a, half the distance of the means along each axis.
        scale: s, the standard deviation of each bump along each axis.
        weight: w in (0, 1), the share of the bump at (-a, -a).

    Raises:
        ValueError: if a field lies outside its range.
    """

    separation: float = 2.0
    scale: float = 0.5
    weight: float = 0.5
    name: ClassVar[str] = "mixture-2d"
    traits: ClassVar[tuple[Trait, ...]] = ("multimodal",)

    def __post_init__(self) -> None:
        require_positive(self, "separation", "scale")
        if not 0 < self.weight < 1:
            raise bad_setting(self, "weight", "lie in (0, 1)")

    @property
    def dim(self) -> int:
        return 2

    @property
    def truth(self) -> Exact:
        between = self.separation * (1 - 2 * self.weight)  # of the two means, along each axis
        variance = self.scale**2 + self.separation**2 - between**2
        mean, variances = (torch.full((2,), x, dtype=torch.float64) for x in (between, variance))
        return Exact(self._sample, 0.0, mean, variances)

    @property
    def modes(self) -> Modes:
        """The two sides of the line between the bumps: 0 is (-a, -a), 1 is (a, a).

        Bumps that overlap spill over the line, which lies a sqrt(2) from either mean: the share of
        side 0 is w Phi(a sqrt(2) / s) + (1 - w) Phi(-a sqrt(2) / s).
        """
        spill = 0.5 * math.erfc(self.separation / self.scale)
        low = self.weight * (1 - spill) + (1 - self.weight) * spill
        return Modes(self._side, (low, 1 - low))

    def log_density(self, z: Tensor) -> Tensor:
        """log p(z), normalised: [..., 2] -> [...], nats. Squares are completed, so only the two
        weights are compared.
        """
        precision = self.scale**-2
        tilt = (self.separation * precision) * z.sum(-1)
        bumps = torch.logaddexp(math.log(self.weight) - tilt, math.log1p(-self.weight) + tilt)
        constant = -math.log(2 * math.pi * self.scale**2) - precision * self.separation**2
        return constant - 0.5 * precision * z.square().sum(-1) + bumps

    def _side(self, z: Tensor) -> Tensor:
        return (z.sum(-1) > 0).long()

    def _sample(self, n: int, generator: Generator) -> Tensor:
        low = torch.rand(n, 1, generator=generator, dtype=torch.float64) < self.weight
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return self.separation * (1 - 2 * low.double()) + self.scale * noise
