r"""Two crescents hooked into one another: two modes that no straight line parts.

.. math:: p(z) = \tfrac12 c(z) + \tfrac12 c(-z), \qquad
   c(x, y) = N(x; -m, s^2)\; N\!\left(y; h - b\,(x + m)^2, w^2\right)

One crescent opens downwards about (-m, h), the other is its image under a half turn. Each is a
Gaussian sheared along a parabola, so volumes, and with them the density, stay exact. By that
symmetry each mode holds exactly half, whatever the overlap. Made for this suite, after the two
moons that classifiers are shown on.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, Modes, Problem, Trait
from problems.parts.ingredients import log_normal, normal, uniform
from problems.parts.validate import require_finite, require_positive


@dataclass(frozen=True)
class Crescents(Problem):
    """Two crescents in the plane, each the image of the other under a half turn.

    Args:
        offset: m, from the middle of a crescent to the vertical axis.
        height: h, from its top to the horizontal axis.
        spread: s, standard deviation along the horizontal.
        bend: b, curvature.
        width: w, standard deviation along the vertical.
    """

    offset: float = 1.2
    height: float = 1.9
    spread: float = 1.0
    bend: float = 0.6
    width: float = 0.2
    name: ClassVar[str] = "crescents"
    traits: ClassVar[tuple[Trait, ...]] = ("multimodal", "curved")
    dim: ClassVar[int] = 2

    def __post_init__(self) -> None:
        require_positive(self, "spread", "width")
        require_finite(self, "offset", "height", "bend")

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, log_z=0.0)

    @functools.cached_property
    def modes(self) -> Modes:
        return Modes(self._label, (0.5, 0.5))

    def log_density(self, z: Tensor) -> Tensor:
        both = torch.stack((self._crescent(z), self._crescent(-z)))
        # logaddexp has second derivatives of NaN where the two are far apart
        return both.logsumexp(0) - math.log(2)

    def _label(self, z: Tensor) -> Tensor:
        return (self._crescent(-z) > self._crescent(z)).long()

    def _crescent(self, z: Tensor) -> Tensor:
        x, y = z.unbind(-1)
        return log_normal(x, -self.offset, self.spread) + log_normal(
            y, self._arc(x + self.offset), self.width
        )

    def _arc(self, along: Tensor) -> Tensor:
        return self.height - self.bend * along.square()

    def _sample(self, n: int, generator: Generator) -> Tensor:
        along = self.spread * normal(generator, n)
        crescent = torch.stack(
            (along - self.offset, self._arc(along) + self.width * normal(generator, n)), -1
        )
        return torch.where(uniform(generator, n, 1) < 0.5, crescent, -crescent)
