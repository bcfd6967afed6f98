r"""Gaussian mixtures with well-parted components: modes to find and to weigh, in two, ten and fifty
dimensions.

.. math::
    p(z) = \sum_{k=1}^{K} w_k\, N(z; m_k, s^2 Q_k \Lambda Q_k^\top), \quad \Lambda =
    \mathrm{diag}(1, \dots, 1/c)

Means are uniform in a box, drawn in turn and refused where nearer than 8 s to an earlier one. So
modes do not merge, and a point belongs to the component most likely to have made it, wrongly for
less than one draw in ten thousand: the share of each mode is its weight. The plane follows Midgley
et al., Flow annealed importance sampling bootstrap, 2023, arXiv 2208.01893: 40 equal components in
a box of half side 40. Theirs has its own seed, s = 1.31, and means that may overlap.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Modes, Trait
from problems.parts.elliptical import Elliptical, EllipticalProblem
from problems.parts.ingredients import prepare, seeded, stretched_rotation, uniform
from problems.parts.validate import bad_setting, require_positive, require_whole

APART = 8.0  # least distance of two means, in units of the largest standard deviation
TRIES = 10_000  # candidates for the means before the box counts as full


@dataclass(frozen=True)
class RandomGaussianMixture(EllipticalProblem):
    """The family; its named members below differ in their defaults alone.

    Args:
        dim: D.
        components: K.
        box: half the side of the box that holds the means.
        scale: s, the largest standard deviation of a component.
        condition: c, the largest variance of a component over its smallest, 1 or more.
        weight_ratio: the first weight over the last, 1 or more; those between fall in a geometric
            series.
        seed: of means and rotations.

    Raises:
        ValueError: also when the means do not fit into the box at the distance asked.
    """

    dim: int = 2
    components: int = 40
    box: float = 40.0
    scale: float = 1.0
    condition: float = 1.0
    weight_ratio: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole(self, dim=1, components=1, seed=0)
        require_positive(self, "box", "scale", "condition", "weight_ratio")
        for name in ("condition", "weight_ratio"):
            if getattr(self, name) < 1:
                raise bad_setting(self, name, "be 1 or more")
        prepare(self, "law", "modes")

    @functools.cached_property
    def law(self) -> Elliptical:
        generator = seeded(self.seed)
        means = self._place(generator)
        factors = [
            self.scale * stretched_rotation(self.dim, self.condition, generator)
            for _ in range(self.components)
        ]
        weights = torch.logspace(
            0, -1, self.components, base=self.weight_ratio, dtype=torch.float64
        )
        return Elliptical(means, torch.stack(factors), weights / weights.sum())

    @functools.cached_property
    def modes(self) -> Modes:
        return Modes(self.law.likeliest, tuple(self.law.weights.tolist()))

    def _place(self, generator: Generator) -> Tensor:
        candidates = self.box * (2 * uniform(generator, TRIES, self.dim) - 1)
        means = candidates[:1]
        for candidate in candidates[1:]:
            if len(means) == self.components:
                break
            if torch.linalg.vector_norm(means - candidate, dim=-1).min() >= APART * self.scale:
                means = torch.cat((means, candidate.unsqueeze(0)))
        if len(means) < self.components:
            raise bad_setting(
                self, "box", f"have room for {self.components} means {APART * self.scale:g} apart"
            )
        return means


@dataclass(frozen=True)
class GaussianMixture2(RandomGaussianMixture):
    """Forty round components of equal weight in the plane."""

    name: ClassVar[str] = "gaussian-mixture-2"
    traits: ClassVar[tuple[Trait, ...]] = ("multimodal",)


@dataclass(frozen=True)
class GaussianMixture10(RandomGaussianMixture):
    """Four stretched components of unequal weight, 8 to 12 standard deviations apart."""

    dim: int = 10
    components: int = 4
    box: float = 4.0
    condition: float = 10.0
    weight_ratio: float = 4.0
    name: ClassVar[str] = "gaussian-mixture-10"
    traits: ClassVar[tuple[Trait, ...]] = ("multimodal",)


@dataclass(frozen=True)
class GaussianMixture50(GaussianMixture10):
    """The same in fifty dimensions, in a box that keeps the distances."""

    dim: int = 50
    box: float = 2.0
    name: ClassVar[str] = "gaussian-mixture-50"
    traits: ClassVar[tuple[Trait, ...]] = ("multimodal",)
