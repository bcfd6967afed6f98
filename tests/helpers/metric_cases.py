"""Pairs whose figures are known in closed form, for the tests of the metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Estimate, Skipped
from methods.base import Approximation, Draws, Pushforward
from problems.base import Exact, Modes, Problem, Reference, Truth

SIGMAS = 4.0  # the tolerance of every statistical test, in standard errors


def rng(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Gaussian(Approximation):
    """N(loc, factor factor^T), with its density."""

    loc: Tensor
    factor: Tensor

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.loc + normal(generator, n, len(self.loc)) @ self.factor.T

    def log_prob(self, z: Tensor) -> Tensor:
        unit: Tensor = torch.linalg.solve_triangular(self.factor, (z - self.loc).T, upper=False).T
        scale = self.factor.diagonal().log().sum() + 0.5 * len(self.loc) * math.log(2 * math.pi)
        return -0.5 * unit.square().sum(-1) - scale

    def kl(self, other: Gaussian) -> float:
        """KL(self||other)."""
        a = torch.linalg.solve_triangular(other.factor, self.factor, upper=False)
        b = torch.linalg.solve_triangular(
            other.factor, (other.loc - self.loc).unsqueeze(-1), upper=False
        )
        return float(
            0.5 * (a.square().sum() + b.square().sum() - len(self.loc)) - a.diagonal().log().sum()
        )


def standard(dim: int) -> Gaussian:
    return Gaussian(torch.zeros(dim, dtype=torch.float64), torch.eye(dim, dtype=torch.float64))


def shifted(dim: int, by: float = 0.7) -> Gaussian:
    return Gaussian(
        by * torch.eye(dim, dtype=torch.float64)[0], torch.eye(dim, dtype=torch.float64)
    )


def scaled(dim: int, by: float = 1.2) -> Gaussian:
    return Gaussian(torch.zeros(dim, dtype=torch.float64), by * torch.eye(dim, dtype=torch.float64))


def correlated(dim: int, rho: float = 0.6) -> Gaussian:
    covariance = (1 - rho) * torch.eye(dim, dtype=torch.float64) + rho
    return Gaussian(torch.zeros(dim, dtype=torch.float64), torch.linalg.cholesky(covariance))


PAIRS = {"shift": shifted, "scale": scaled, "correlation": correlated, "same": standard}


@dataclass(frozen=True)
class StandardNormal(Problem):
    """A standard normal target whose density lacks a constant; its halves by the sign of z_1 are
    its modes.
    """

    dim: int = 2
    log_z: float = 1.5
    stored: bool = False
    log_z_stderr: float | None = None
    halves: Modes | None = field(
        default_factory=lambda: Modes(lambda z: (z[..., 0] > 0).long(), (0.5, 0.5))
    )
    name: ClassVar[str] = "standard-normal"

    @property
    def modes(self) -> Modes | None:
        return self.halves

    @property
    def truth(self) -> Truth:
        if self.stored:
            log_z = self.log_z if self.log_z_stderr is not None else None
            return Reference(normal(rng(99), 20_000, self.dim), log_z, self.log_z_stderr, {})
        return Exact(lambda n, generator: normal(generator, n, self.dim), self.log_z)

    def log_density(self, z: Tensor) -> Tensor:
        return standard(self.dim).log_prob(z) + self.log_z


class Affine(Pushforward):
    """z = loc + factor eps: a Gaussian that shows its map and hides its density."""

    def __init__(self, gaussian: Gaussian) -> None:
        self.gaussian = gaussian
        self.noise_dim = gaussian.factor.shape[1]

    def forward(self, eps: Tensor) -> Tensor:
        return self.gaussian.loc + eps @ self.gaussian.factor.T


@dataclass(frozen=True, eq=False)
class Folded(Pushforward):
    """z_1 = |eps_1|, the rest as it is: a half-normal, every point of which has two preimages of
    equal weight.
    """

    noise_dim: int = 2

    def forward(self, eps: Tensor) -> Tensor:
        return torch.cat([eps[..., :1].abs(), eps[..., 1:]], -1)


def autoregressive(
    rho: float, generator: Generator, draws: int = 1000, dim: int = 2, chains: int = 4
) -> Draws:
    """Stationary AR(1) chains of a standard normal."""
    state, path = normal(generator, chains, dim), []
    for _ in range(draws):
        state = rho * state + math.sqrt(1 - rho**2) * normal(generator, chains, dim)
        path.append(state)
    return Draws(torch.stack(path, 1))


def compare(
    approximation: Approximation, problem: Problem, seed: int = 0, n: int = 2000
) -> Comparison:
    generator = rng(seed)
    draws = approximation.sample(n, generator)
    return Comparison(
        problem, approximation, draws, problem.truth.sample(len(draws), generator), seed
    )


def found(result: Estimate | Skipped) -> Estimate:
    assert isinstance(result, Estimate), result
    assert math.isfinite(result.value)
    assert math.isfinite(result.stderr)
    return result


def within(result: Estimate | Skipped, value: float, slack: float = 0.0) -> bool:
    """Whether the figure is within the tolerance of a value, give or take ``slack``."""
    estimate = found(result)
    return abs(estimate.value - value) <= SIGMAS * estimate.stderr + slack + 1e-12
