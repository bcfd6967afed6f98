"""Targets that calibration pairs share: mixtures of Gaussians whose modes have names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.calibration_laws import Normals
from problems.base import Exact, Modes, Problem


@dataclass(frozen=True)
class Intervals:
    """Modes by the first coordinate: which interval between the edges, in order, it falls into."""

    edges: tuple[float, ...]

    def __call__(self, z: Tensor) -> Tensor:
        return torch.bucketize(z[..., 0].contiguous(), torch.tensor(self.edges, dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class Law(Problem):
    """A problem that is a mixture of Gaussians, its density short of a constant.

    Args:
        edges: between its modes, along the first coordinate; none where it names none.
        shares: of these modes.
    """

    law: Normals
    log_z: float = 1.5
    edges: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    name: ClassVar[str] = "law"

    @property
    def dim(self) -> int:
        return self.law.means.shape[1]

    @property
    def truth(self) -> Exact:
        return Exact(self.law.sample, self.log_z)

    @property
    def modes(self) -> Modes | None:
        return Modes(Intervals(self.edges), self.shares) if self.edges else None

    def log_density(self, z: Tensor) -> Tensor:
        return self.law.log_prob(z) + self.log_z
