"""Gaussian mixtures, walks and affine maps: the approximations and the truths of most calibration
pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from scipy.signal import lfilter
from torch import Generator, Tensor

from methods.base import Approximation, Pushforward
from problems.base import Exact, Modes, Problem

WALKS = 4  # chains of one run


def normal(generator: Generator, *shape: int) -> Tensor:
    """Independent standard normal numbers from the given generator, [*shape], float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def log_normal(z: Tensor) -> Tensor:
    """Log density of a standard normal, elementwise."""
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Normals(Approximation):
    """A mixture of Gaussians, with its density.

    Args:
        weights: [K]; means: [K, D]; factors: L with covariance L L^T, lower triangular, [K, D, D].
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def sample(self, n: int, generator: Generator) -> Tensor:
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        draws = normal(generator, n, self.means.shape[1])
        for k, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            draws[chosen == k] = mean + draws[chosen == k] @ factor.T
        return draws

    def log_prob(self, z: Tensor) -> Tensor:
        rows, parts = z.reshape(-1, z.shape[-1]), []
        for weight, mean, factor in zip(self.weights, self.means, self.factors, strict=True):
            white = torch.linalg.solve_triangular(factor, (rows - mean).T, upper=False)
            parts.append(weight.log() - factor.diagonal().log().sum() + log_normal(white).sum(0))
        return torch.logsumexp(torch.stack(parts), 0).reshape(z.shape[:-1])


def single(mean: Tensor, factor: Tensor) -> Normals:
    """One Gaussian: mean [D], factor [D, D]."""
    return Normals(torch.ones(1, dtype=torch.float64), mean.unsqueeze(0), factor.unsqueeze(0))


@dataclass(frozen=True, eq=False)
class Walk(Approximation):
    """Chains of N(loc, I): AR(1) from a stationary start, ``WALKS`` of them, one after the other.

    Args: loc: [D]; memory: correlation of successive draws. A mean is worth (1 - memory) / (1 +
    memory) of its draws.
    """

    loc: Tensor
    memory: float = 0.9

    def sample(self, n: int, generator: Generator) -> Tensor:
        """[n, D], n rounded down to a multiple of ``WALKS``."""
        noise = normal(generator, WALKS, n // WALKS, len(self.loc))
        noise[:, 1:] *= math.sqrt(1 - self.memory**2)
        path = torch.from_numpy(lfilter([1.0], [1.0, -self.memory], noise.numpy(), axis=1))
        return self.loc + path.flatten(0, 1)


@dataclass(frozen=True, eq=False)
class Affine(Pushforward):
    """z = loc + factor eps: a Gaussian that shows its map and hides its density."""

    loc: Tensor
    factor: Tensor

    @property
    def noise_dim(self) -> int:  # type: ignore[override]
        """The dimension of the noise, which is D: the map is square."""
        return len(self.loc)

    def forward(self, eps: Tensor) -> Tensor:
        return self.loc + eps @ self.factor.T

    def jacobian(self, eps: Tensor) -> Tensor:
        return self.factor.expand(len(eps), -1, -1)


@dataclass(frozen=True, eq=False)
class DrawsOnly(Approximation):
    """Another approximation, of which draws alone are shown."""

    inner: Approximation

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.inner.sample(n, generator)


@dataclass(frozen=True)
class Intervals:
    """Modes by the first coordinate: which interval between the edges, in order, it falls into."""

    edges: tuple[float, ...]

    def __call__(self, z: Tensor) -> Tensor:
        return torch.bucketize(
            z[..., 0].contiguous(), torch.tensor(self.edges, dtype=torch.float64)
        )


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
