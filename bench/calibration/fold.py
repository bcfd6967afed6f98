"""A map that folds, with a density that is known all the same, and the target that it is held
against.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from bench.calibration.gaussians import log_normal, normal
from methods.base import Approximation, Pushforward
from problems.base import Exact, Problem

DOF = 4

GRID = 400_001  # nodes of a quadrature over one normal variable


def log_student(y: Tensor) -> Tensor:
    """Log density of Student's t with ``DOF`` degrees of freedom, elementwise."""
    constant = math.lgamma((DOF + 1) / 2) - math.lgamma(DOF / 2) - 0.5 * math.log(DOF * math.pi)
    return constant - (DOF + 1) / 2 * torch.log1p(y.square() / DOF)


@dataclass(frozen=True)
class Waves(Problem):
    r"""Sheared in waves and turned: no straight line in it, and volumes as they were.

    .. math:: z = R\,(y_1, y_2 + \sin(y_1 + 2) / 2, \dots, y_D + \sin(y_1 + D) / 2)

    with y_1 from Student's t with four degrees of freedom, the other coordinates of y standard
    normal.
    """

    dim: int = 2
    name: ClassVar[str] = "waves"

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, 0.0)

    def log_density(self, z: Tensor) -> Tensor:
        y = self.pull(z)
        return log_student(y[..., 0]) + log_normal(y[..., 1:]).sum(-1)

    @property
    def phases(self) -> Tensor:
        """Of the waves, [D - 1]."""
        return torch.arange(2, self.dim + 1, dtype=torch.float64)

    def push(self, y: Tensor) -> Tensor:
        """From y to z: [..., D] -> [..., D]."""
        return (y + self._wave(y)) @ rotation(self.dim, 1).T

    def pull(self, z: Tensor) -> Tensor:
        """From z to y: [..., D] -> [..., D]."""
        y = z @ rotation(self.dim, 1)
        return y - self._wave(y)

    def _sample(self, n: int, generator: Generator) -> Tensor:
        y = normal(generator, n, self.dim)
        y[:, 0] /= normal(generator, n, DOF).square().mean(-1).sqrt()
        return self.push(y)

    def _wave(self, y: Tensor) -> Tensor:
        return torch.cat(
            [torch.zeros_like(y[..., :1]), torch.sin(y[..., :1] + self.phases) / 2], -1
        )


@dataclass(frozen=True)
class Fold(Pushforward):
    r"""Noise, turned, and folded along one direction, on its way into ``Waves``.

    .. math:: y_1 = (h_1^3 / 3 - b h_1) / s, \quad y_j = h_j, \quad h = Q \epsilon, \quad b = 1/4,

    with s for unit variance. Where :math:`|h_1| < 2 \sqrt b`, on 68% of the draws, a point has
    three preimages; where :math:`|h_1| < \sqrt b`, on 38%, det J is negative. The roots of a cubic,
    and with them the density, are known.
    """

    dim: int = 2
    bend: float = 0.25

    @property
    def noise_dim(self) -> int:  # type: ignore[override]
        """The dimension of the noise, which is D: the map is square."""
        return self.dim

    @property
    def scale(self) -> float:
        """s, which gives the first coordinate of the folded noise unit variance."""
        return math.sqrt(15 / 9 - 2 * self.bend + self.bend**2)

    def forward(self, eps: Tensor) -> Tensor:
        h = eps @ rotation(self.dim, 2).T
        return Waves(self.dim).push(torch.cat([self._fold(h[..., :1]), h[..., 1:]], -1))

    def jacobian(self, eps: Tensor) -> Tensor:
        h = eps @ rotation(self.dim, 2)[0]
        y = self._fold(h)
        slope = (h.square() - self.bend) / self.scale
        column = torch.cat(
            [torch.ones_like(y[:, None]), torch.cos(y[:, None] + Waves(self.dim).phases) / 2], -1
        )
        inner = torch.eye(self.dim, dtype=torch.float64).repeat(len(eps), 1, 1)
        inner[:, :, 0] = slope.unsqueeze(-1) * column
        return rotation(self.dim, 1) @ inner @ rotation(self.dim, 2)

    def log_density(self, z: Tensor) -> Tensor:
        """Log q, all preimages counted: [..., D] -> [...], nats."""
        y = Waves(self.dim).pull(z)
        return self._log_marginal(y[..., 0]) + log_normal(y[..., 1:]).sum(-1)

    def divergence(self) -> float:
        """KL(q||p) from ``Waves``, nats: an integral over h_1, as the rest of q and p is
        the same.
        """
        # no node where a preimage is double
        h = torch.linspace(-9, 9, GRID, dtype=torch.float64) + 1e-7
        y = self._fold(h)
        return float(
            (log_normal(h).exp() * (self._log_marginal(y) - log_student(y))).sum() * 18 / (GRID - 1)
        )

    def accuracy(self) -> float:
        """Share of draws that the best classifier tells from those of ``Waves``, half of each:
        integrals over h_1 and y_1.
        """
        h, y = (torch.linspace(-end, end, GRID, dtype=torch.float64) + 1e-7 for end in (9, 90))
        at = self._fold(h)
        of_q = (
            log_normal(h).exp()
            @ (self._log_marginal(at) > log_student(at)).double()
            * 18
            / (GRID - 1)
        )
        of_p = (
            log_student(y).exp()
            @ (self._log_marginal(y) > log_student(y)).double()
            * 180
            / (GRID - 1)
        )
        return float(1 + of_q - of_p) / 2

    def _fold(self, h: Tensor) -> Tensor:
        return (h**3 / 3 - self.bend * h) / self.scale

    def _log_marginal(self, y: Tensor) -> Tensor:
        roots = self._roots(y)
        log_slopes = ((roots.square() - self.bend).abs() / self.scale).log()
        return torch.where(roots.isnan(), -torch.inf, log_normal(roots) - log_slopes).logsumexp(-1)

    def _roots(self, y: Tensor) -> Tensor:
        """Real roots h of y_1(h) = y, by Viete's formula: [...] -> [..., 3], NaN where there is but
        one.
        """
        root, level = math.sqrt(self.bend), 1.5 * self.scale * y / self.bend**1.5
        turns = torch.arange(3, dtype=torch.float64) * 2 * math.pi
        three = 2 * root * torch.cos((torch.acos(level.clamp(-1, 1)).unsqueeze(-1) - turns) / 3)
        one = level.sign() * 2 * root * torch.cosh(torch.acosh(level.abs().clamp(min=1)) / 3)
        lone = torch.stack([one, *(torch.full_like(one, torch.nan),) * 2], -1)
        return torch.where((level.abs() < 1).unsqueeze(-1), three, lone)


@dataclass(frozen=True, eq=False)
class OpenFold(Approximation):
    """The folding map with its density."""

    fold: Fold

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.fold.sample(n, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.fold.log_density(z)


@functools.cache
def rotation(dim: int, seed: int) -> Tensor:
    """A rotation of R^D that is the same in every run, [D, D], float64."""
    found: Tensor = torch.linalg.qr(normal(Generator().manual_seed(seed), dim, dim))[0]
    return found
