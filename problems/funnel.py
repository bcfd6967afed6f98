r"""Neal's funnel: a scale that is itself unknown, so the neck is too narrow for the steps that suit
the mouth.

.. math:: v \sim N(0, s^2), \qquad x_i \mid v \sim N(0, e^{v}), \quad i = 1, \dots, D - 1

Source: Neal, Slice sampling, 2003, doi 10.1214/aos/1056562461, section 8, with s = 3 and nine x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, Problem, Trait
from problems.parts.ingredients import log_normal, normal
from problems.parts.validate import require_positive, require_whole


@dataclass(frozen=True)
class Funnel(Problem):
    """The funnel, z = (v, x).

    Args:
        dim: D, one for v and the rest for x.
        scale: s, standard deviation of v, the log variance of x.
    """

    dim: int = 10
    scale: float = 3.0
    name: ClassVar[str] = "funnel"
    traits: ClassVar[tuple[Trait, ...]] = ("funnel",)

    def __post_init__(self) -> None:
        require_whole(self, dim=2)
        require_positive(self, "scale")

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, log_z=0.0)

    @property
    def moments(self) -> float:
        """All of them exist, although draws do not show it."""
        return math.inf

    @property
    def coordinates(self) -> tuple[str, ...]:
        return ("v", *(f"x[{i}]" for i in range(1, self.dim)))

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return {"v": z[..., 0], "x": z[..., 1:]}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.cat((values["v"].unsqueeze(-1), values["x"]), -1)

    def log_density(self, z: Tensor) -> Tensor:
        v, x = z[..., 0], z[..., 1:]
        standard = x * torch.exp(-0.5 * v).unsqueeze(-1)
        return (
            log_normal(v, 0.0, self.scale)
            + log_normal(standard, 0.0, 1.0).sum(-1)
            - 0.5 * (self.dim - 1) * v
        )

    def _sample(self, n: int, generator: Generator) -> Tensor:
        v = self.scale * normal(generator, n, 1)
        return torch.cat((v, torch.exp(0.5 * v) * normal(generator, n, self.dim - 1)), -1)
