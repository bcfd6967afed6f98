r"""Gaussians, round or stretched a hundredfold: where every error has a closed form.

.. math:: p(z) = N(z; 0, Q \Lambda Q^\top), \quad \Lambda = \mathrm{diag}(1, \dots, 1/c)

with the variances falling log-evenly from 1 to 1/c and Q a fixed random rotation, so that no
coordinate axis is a principal one. At c = 1e4 and d = 100 the standard deviations run from 0.01 to
1, as in the example of Neal, MCMC using Hamiltonian dynamics, 2011, arXiv 1206.1901, section
5.3.3.4.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch

from problems.base import Trait
from problems.parts.elliptical import Elliptical, EllipticalProblem
from problems.parts.ingredients import prepare, seeded, stretched_rotation
from problems.parts.validate import bad_setting, require_positive, require_whole


@dataclass(frozen=True)
class RotatedGaussian(EllipticalProblem):
    """The family; its named members below differ in their defaults alone.

    Args:
        dim: D.
        condition: c, the largest variance over the smallest, 1 or more.
        seed: of the rotation.
    """

    dim: int = 100
    condition: float = 1e4
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole(self, dim=1, seed=0)
        require_positive(self, "condition")
        if self.condition < 1:
            raise bad_setting(self, "condition", "be 1 (round) or more")
        prepare(self, "law")

    @functools.cached_property
    def law(self) -> Elliptical:
        factor = stretched_rotation(self.dim, self.condition, seeded(self.seed))
        return Elliptical.single(torch.zeros(self.dim, dtype=torch.float64), factor)


@dataclass(frozen=True)
class Gaussian2(RotatedGaussian):
    """In the plane, stretched: a needle at an angle."""

    dim: int = 2
    name: ClassVar[str] = "gaussian-2"
    traits: ClassVar[tuple[Trait, ...]] = ("gaussian", "correlated")


@dataclass(frozen=True)
class Gaussian100(RotatedGaussian):
    """A normal posterior in a hundred dimensions, with standard deviations on unequal scales."""

    name: ClassVar[str] = "gaussian-100"
    traits: ClassVar[tuple[Trait, ...]] = ("gaussian", "correlated")


@dataclass(frozen=True)
class Isotropic2(RotatedGaussian):
    """The standard normal in the plane."""

    dim: int = 2
    condition: float = 1.0
    name: ClassVar[str] = "isotropic-2"
    traits: ClassVar[tuple[Trait, ...]] = ("gaussian",)


@dataclass(frozen=True)
class Isotropic100(RotatedGaussian):
    """The standard normal in a hundred dimensions."""

    condition: float = 1.0
    name: ClassVar[str] = "isotropic-100"
    traits: ClassVar[tuple[Trait, ...]] = ("gaussian",)
