r"""Hamiltonian Monte Carlo with hundreds of chains in one tensor.

All chains take a leapfrog step at once, so that one call of the density serves them all. Each
scales the step size by a random factor of its own, drawn anew for every trajectory. ``adapt.py``
finds the frame, the step size and the length.

Source: R. M. Neal, MCMC using Hamiltonian dynamics, 2011, arXiv:1206.1901.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.finite import sound, whereabouts
from methods.parts.gaussians.mixtures import Gaussians

# nats of energy that a trajectory may gain before it counts as divergent, as in Stan
DIVERGENT = 1000.0
JITTER = 0.2  # the random factor of the step size is uniform between 1 less this and 1
CAREFUL = 0.15  # share of trajectories with smaller steps, for chains in steep places
SMALLEST = 16.0  # how many times smaller they are at most; the logarithm is uniform
TRIES = 100  # starting points drawn per chain before giving up


@dataclass(frozen=True, eq=False)
class Frame:
    """The affine map to coordinates in which the posterior is round, z = loc + root u.

    Args:
        loc: [D].
        root: lower triangular, [D, D].
    """

    loc: Tensor
    root: Tensor

    @functools.cached_property
    def covariance(self) -> Tensor:
        """Root root^T, the inverse of the mass matrix, [D, D]."""
        return self.root @ self.root.T

    @functools.cached_property
    def inverse(self) -> Tensor:
        """The inverse of the root, [D, D]."""
        unit = torch.eye(len(self.loc), dtype=self.root.dtype)
        inverse: Tensor = torch.linalg.solve_triangular(self.root, unit, upper=False)
        return inverse

    def move(self, velocity: Tensor) -> Tensor:
        """Velocities of u as velocities of z: [..., D] -> [..., D]."""
        return velocity @ self.root.T

    def pull(self, gradient: Tensor) -> Tensor:
        """Gradients by z as gradients by u: [..., D] -> [..., D]."""
        return gradient @ self.root

    def whiten(self, z: Tensor) -> Tensor:
        """The coordinates u of points z: [..., D] -> [..., D]."""
        return (z - self.loc) @ self.inverse.T


def frame_of(draws: Tensor, *, dense: bool) -> Frame:
    """The frame of draws [n, D]: their mean and covariance; without ``dense``, their variances
    alone.
    """
    loc, scale = draws.mean(0), draws.std(0).clamp(min=1e-12)
    if not dense or draws.shape[1] == 1:
        return Frame(loc, scale.diag())
    n, dim = draws.shape
    unit = ((draws - loc) / scale).T.cov()
    root, info = torch.linalg.cholesky_ex(
        (n * unit + 0.1 * torch.eye(dim, dtype=draws.dtype)) / (n + 0.1)
    )
    return Frame(loc, scale.diag() if bool(info) else scale.unsqueeze(-1) * root)


@dataclass(frozen=True, eq=False)
class Moved:
    """What one trajectory of every chain came to, [C] each.

    Args:
        accept: probability to accept its end.
        energy: at its first point, with the momentum just drawn, nats.
        divergent: whether the energy ran away.
    """

    accept: Tensor
    energy: Tensor
    divergent: Tensor


@dataclass(eq=False)
class Walkers:
    """All chains of batched HMC at their present points.

    Args:
        target: the density, counted.
        z: [C, D].
        generator: the only source of randomness.
    """

    target: Target
    z: Tensor
    generator: Generator
    value: Tensor = field(init=False)
    gradient: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.value, self.gradient = self.look(self.z)

    def look(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log density and gradient; -inf and 0 where either is no number, so that a chain never
        goes there.
        """
        value, gradient = self.target.value_and_grad(z)
        bad = ~sound(value, gradient)
        return value.masked_fill(bad, -math.inf), gradient.masked_fill(bad.unsqueeze(-1), 0.0)

    def trajectory(self, frame: Frame, step: Tensor, count: int) -> Moved:
        """Leapfrog ``count`` steps of sizes [C] or [] with a fresh momentum, and accept or stay.

        The momentum is kept as a multiple of the step size, which saves an operation a step. A
        point that is no number on the way makes the end none, which is never accepted. The log
        density itself is asked for at the end alone.
        """
        noise = torch.randn(self.z.shape, generator=self.generator, dtype=torch.float64)
        draws = torch.rand(3, len(self.z), generator=self.generator, dtype=torch.float64)
        smaller = SMALLEST ** (draws[2] / CAREFUL - 1).clamp(max=0.0)
        sizes = (step * (1 - JITTER * draws[0]) * smaller).unsqueeze(-1)
        squares = sizes.square()
        energy = 0.5 * noise.square().sum(-1) - self.value
        start = sizes * (noise @ frame.inverse)
        momentum = torch.addcmul(start, squares, self.gradient, value=0.5)
        z = torch.addmm(self.z, momentum, frame.covariance)
        for _ in range(count - 1):
            momentum = torch.addcmul(momentum, squares, self.target.gradient(z))
            z = torch.addmm(z, momentum, frame.covariance)
        value, gradient = self.target.value_and_grad(z)
        momentum = torch.addcmul(momentum, squares, gradient, value=0.5)
        kinetic = 0.5 * (frame.pull(momentum) / sizes).square().sum(-1)
        gain = (kinetic - value - energy).nan_to_num(nan=math.inf)
        accept = gain.neg().exp().clamp(max=1.0)
        self._take(draws[1] < accept, z, value, gradient)
        return Moved(accept, energy, gain > DIVERGENT)

    def jump(self, proposal: Gaussians) -> Tensor:
        """Propose a draw of a fixed mixture to every chain, and accept or stay; the probabilities
        to accept, [C].

        Source: L. Tierney, Markov chains for exploring posterior distributions, 1994,
        doi:10.1214/aos/1176325750 (the independence sampler).
        """
        z = proposal.sample(len(self.z), self.generator)
        z = z[torch.randperm(len(z), generator=self.generator)]  # not by component
        value, gradient = self.look(z)
        there, here = proposal.log_prob(torch.cat([z, self.z])).chunk(2)
        gain = ((value - there) - (self.value - here)).nan_to_num(nan=-math.inf)
        accept = gain.exp().clamp(max=1.0)
        taken = torch.rand(len(z), generator=self.generator, dtype=torch.float64) < accept
        self._take(taken, z, value, gradient)
        return accept

    def _take(self, taken: Tensor, z: Tensor, value: Tensor, gradient: Tensor) -> None:
        row = taken.unsqueeze(-1)
        self.z = torch.where(row, z, self.z)
        self.value = torch.where(taken, value, self.value)
        self.gradient = torch.where(row, gradient, self.gradient)


def scattered(target: Target, chains: int, radius: float, generator: Generator) -> Walkers:
    """Chains that start uniform on (-radius, radius) in each coordinate.

    Raises:
        ValueError: if the density is finite at too few such points.
    """
    found: list[Tensor] = []
    for _ in range(TRIES):
        z = radius * (
            2 * torch.rand(chains, target.dim, generator=generator, dtype=torch.float64) - 1
        )
        value, gradient = target.value_and_grad(z)
        found.append(z[sound(value, gradient)])
        if sum(map(len, found)) >= chains:
            return Walkers(target, torch.cat(found)[:chains], generator)
    where = f"{TRIES * chains} points uniform on (-{radius:g}, {radius:g}) in each coordinate"
    said = ""
    if not bool(sound(value, gradient).all()):
        said = f" It is not {whereabouts(target, z, value, gradient)}."
    raise ValueError(
        f"the density is finite at {sum(map(len, found))} of {where}: too few to start {chains}"
        f" chains from.{said}"
    )
