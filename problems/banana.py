r"""A Gaussian bent along a parabola: strong dependence without any correlation.

.. math:: z_1 \sim N(0, s^2), \qquad z_2 \mid z_1 \sim N\!\left(b\,(z_1^2 - s^2),\, w^2\right)

Both means are zero and the covariance is diagonal; only the third moments tell. Source: Haario,
Saksman and Tamminen, Adaptive proposal distribution for random walk Metropolis algorithm, 1999, doi
10.1007/s001800050022, which has s = 10, w = 1 and the bends 0.03 and 0.1 (and its banana upside
down).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, Problem, Trait
from problems.parts.ingredients import log_normal, normal
from problems.parts.validate import require_finite, require_positive


@dataclass(frozen=True)
class Banana(Problem):
    """A Gaussian in the plane that is bent along a parabola.

    Args:
        scale: s, standard deviation of the first coordinate.
        bend: b, curvature of the parabola; 0 is a plain Gaussian.
        width: w, standard deviation of the second coordinate about the parabola.
    """

    scale: float = 10.0
    bend: float = 0.03
    width: float = 1.0
    name: ClassVar[str] = "banana"
    traits: ClassVar[tuple[Trait, ...]] = ("curved", "skewed")
    dim: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require_positive(self, "scale", "width")
        require_finite(self, "bend")

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, log_z=0.0)

    def log_density(self, z: Tensor) -> Tensor:
        along, across = z.unbind(-1)
        return log_normal(along, 0.0, self.scale) + log_normal(
            across, self._parabola(along), self.width
        )

    def _parabola(self, along: Tensor) -> Tensor:
        return self.bend * (along.square() - self.scale**2)

    def _sample(self, n: int, generator: Generator) -> Tensor:
        along = self.scale * normal(generator, n)
        return torch.stack((along, self._parabola(along) + self.width * normal(generator, n)), -1)
