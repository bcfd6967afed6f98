r"""Student-t components at the ends of a cross: several modes and heavy tails at once.

.. math:: p(z) = \frac{1}{2D} \sum_{i=1}^{D} \left[t_\nu(z; r e_i) + t_\nu(z; -r e_i)\right]

with t the multivariate Student-t of unit scale matrix. Heavy tails overlap, so what a mode holds is
not its component's weight in general; here the symmetries of the cross take every component to
every other, and each mode holds exactly 1 / 2D. After the ten components of Blessing et al., Beyond
ELBOs: a large-scale evaluation of variational methods for sampling, 2024, arXiv 2406.07423, which
lie at random.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch

from problems.base import Modes, Trait
from problems.parts.elliptical import Elliptical, EllipticalProblem
from problems.parts.ingredients import prepare
from problems.parts.validate import require_positive, require_whole


@dataclass(frozen=True)
class StudentMixture(EllipticalProblem):
    """2D Student-t components on the axes, two on each.

    Args:
        dim: D.
        radius: r, from the origin to the centre of each component.
        dof: degrees of freedom nu, a whole number.
    """

    dim: int = 5
    radius: float = 8.0
    dof: int = 3
    name: ClassVar[str] = "student-mixture"
    traits: ClassVar[tuple[Trait, ...]] = ("multimodal", "heavy-tailed")

    def __post_init__(self) -> None:
        require_whole(self, dim=1, dof=1)
        require_positive(self, "radius")
        prepare(self, "law", "modes")

    @functools.cached_property
    def law(self) -> Elliptical:
        identity = torch.eye(self.dim, dtype=torch.float64)
        means = self.radius * torch.cat((identity, -identity))
        return Elliptical(means, identity.expand(2 * self.dim, -1, -1), dof=self.dof)

    @functools.cached_property
    def modes(self) -> Modes:
        return Modes(self.law.likeliest, tuple(self.law.weights.tolist()))
