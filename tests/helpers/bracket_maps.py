"""Maps without a density of their own whose density is known all the same, for the tests of the
brackets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.calibration.fold import Fold, rotation
from bench.metrics.brackets.preimages import Atlas
from bench.metrics.brackets.pushforward import branch
from methods.base import Pushforward
from tests.helpers.metric_cases import SIGMAS, normal, rng


def average_within(values: Tensor, low: float, high: float = math.inf) -> bool:
    """Whether the mean of independent values lies in an interval, give or take the tolerance."""
    slack = SIGMAS * float(values.std()) / math.sqrt(len(values)) + 1e-9
    return low - slack <= float(values.mean()) <= high + slack


def atlas_of(approximation: Pushforward, count: int = 2000, seed: int = 0) -> Atlas:
    eps = normal(rng(seed), count, approximation.noise_dim)
    return Atlas(eps, branch(approximation, eps))


@dataclass(frozen=True, eq=False)
class Squared(Pushforward):
    """z = eps^2 as a complex number: det J is positive everywhere, and yet every point has two
    preimages.
    """

    noise_dim: int = 2

    def forward(self, eps: Tensor) -> Tensor:
        x, y = eps.unbind(-1)
        return torch.stack([x.square() - y.square(), 2 * x * y], -1)


@dataclass(frozen=True, eq=False)
class Capped(Pushforward):
    """The identity, but flat beyond 3 in the first coordinate: singular on 0.13% of the noise."""

    noise_dim: int = 2

    def forward(self, eps: Tensor) -> Tensor:
        return torch.cat([eps[..., :1].clamp(max=3), eps[..., 1:]], -1)


@dataclass(frozen=True, eq=False)
class Bounded(Pushforward):
    """One-to-one, but not onto: nothing grows."""

    noise_dim: int = 2

    def forward(self, eps: Tensor) -> Tensor:
        return torch.tanh(eps)


@dataclass(frozen=True, eq=False)
class Breathing(Pushforward):
    """z = x e^{u / 2}, turned noise (x, u) with one dimension more than z: a scale mixture of
    Gaussians.
    """

    dim: int = 2

    def __post_init__(self) -> None:
        rotation(self.dim + 1, 3)  # drawn before torch.func.vmap forbids it

    @property
    def noise_dim(self) -> int:  # type: ignore[override]
        return self.dim + 1

    def forward(self, eps: Tensor) -> Tensor:
        turned = eps @ rotation(self.dim + 1, 3)
        return turned[..., :-1] * (turned[..., -1:] / 2).exp()

    def log_density(self, z: Tensor) -> Tensor:
        u = torch.linspace(-9, 9, 601, dtype=torch.float64)
        weights = -0.5 * u.square() - 0.5 * math.log(2 * math.pi) + math.log(18 / 600)
        square = z.square().sum(-1, keepdim=True)
        return (
            weights - 0.5 * square * (-u).exp() - self.dim * (u + math.log(2 * math.pi)) / 2
        ).logsumexp(-1)


@dataclass(frozen=True, eq=False)
class FoldedBreathing(Breathing):
    """The same, its first coordinate then folded by the cubic of ``Fold``."""

    def forward(self, eps: Tensor) -> Tensor:
        z = super().forward(eps)
        return torch.cat([Fold()._fold(z[..., :1]), z[..., 1:]], -1)

    def log_density(self, z: Tensor) -> Tensor:
        fold, parts = Fold(), []
        for root in fold._roots(z[..., 0]).unbind(-1):
            log_slope = ((root.square() - fold.bend).abs() / fold.scale).log()
            part = super().log_density(torch.cat([root.unsqueeze(-1), z[..., 1:]], -1)) - log_slope
            parts.append(torch.where(root.isnan(), -torch.inf, part))
        return torch.stack(parts).logsumexp(0)
