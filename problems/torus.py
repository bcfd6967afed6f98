r"""The skin of a doughnut: a thin shell with a hole, which no continuous map of a Gaussian can
match.

.. math:: p(x, y, h) = \frac{1}{Z} \exp\!\left(-\frac{(A^2 + h^2 - a^2)^2}{2 \tau^2}\right),
   \quad A = \frac{x^2 + y^2 - R^2}{2 R}, \quad \tau = 2 a s

A is close to the distance from the circle of radius R, so the density peaks on a tube of radius
about a, s thick. In place of that distance it is a polynomial, smooth on the axis as well, and
exact in two steps: dx dy = R dA dphi, and in the plane (A, h) the squared radius is a truncated
normal. So

.. math:: Z = 2 \pi^2 R\, \tau \sqrt{2 \pi}\, \Phi(a^2 / \tau).

The plane ends at A = -R/2, the axis; settings that put more than 1e-15 of the mass beyond it are
refused. Made for this suite.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, Problem, Trait
from problems.parts.ingredients import uniform
from problems.parts.validate import bad_setting, require_positive

# standard deviations of the squared radius that must fit between tube and axis: a tail of 6e-16
MARGIN = 8.0


@dataclass(frozen=True)
class Torus(Problem):
    """The shell about a torus in three dimensions, its axis upright.

    Args:
        radius: R, from the axis to the middle of the tube.
        tube: a, radius of the tube.
        thickness: s, standard deviation across the shell.
    """

    radius: float = 4.0
    tube: float = 1.0
    thickness: float = 0.15
    name: ClassVar[str] = "torus"
    traits: ClassVar[tuple[Trait, ...]] = ("curved",)
    dim: ClassVar[int] = 3

    def __post_init__(self) -> None:
        require_positive(self, "radius", "tube", "thickness")
        smallest = 2 * math.sqrt(self.tube**2 + MARGIN * self._spread)
        if self.radius < smallest:
            raise bad_setting(
                self, "radius", f"be {smallest:.4g} or more, lest the tube's wall reach the axis"
            )

    @property
    def _spread(self) -> float:  # tau, the standard deviation of A^2 + h^2
        return 2 * self.tube * self.thickness

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, log_z=0.0)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return ("x", "y", "h")

    def log_density(self, z: Tensor) -> Tensor:
        x, y, h = z.unbind(-1)
        offset = (x.square() + y.square() - self.radius**2) / (2 * self.radius)
        squared = offset.square() + h.square()
        return -0.5 * ((squared - self.tube**2) / self._spread).square() - self._log_normaliser

    @functools.cached_property
    def _positive(
        self,
    ) -> float:  # Phi(a^2 / tau), the chance that a normal squared radius is positive
        return 0.5 * math.erfc(-(self.tube**2) / self._spread / math.sqrt(2))

    @functools.cached_property
    def _log_normaliser(self) -> float:
        return math.log(
            2 * math.pi**2 * self.radius * self._spread * math.sqrt(2 * math.pi) * self._positive
        )

    def _sample(self, n: int, generator: Generator) -> Tensor:
        u, turn, around = uniform(generator, 3, n)
        # 1 - u is never 0
        squared = self.tube**2 - self._spread * torch.special.ndtri((1 - u) * self._positive)
        offset = squared.sqrt() * torch.cos(2 * math.pi * turn)
        h = squared.sqrt() * torch.sin(2 * math.pi * turn)
        distance = (self.radius**2 + 2 * self.radius * offset).sqrt()
        angle = 2 * math.pi * around
        return torch.stack((distance * torch.cos(angle), distance * torch.sin(angle), h), -1)
