r"""Stein variational gradient descent: particles that climb the density and push each other apart.

.. math::
    x_i \leftarrow x_i + \epsilon\, \hat\phi(x_i), \qquad
    \hat\phi(x) = \frac 1n \sum_j k(x_j, x) \nabla \log p(x_j) + \nabla_{x_j} k(x_j, x), \quad
    k(x, y) = e^{-\|x - y\|^2 / h}

Of all moves in the unit ball of the kernel's function space, :math:`\hat\phi` lowers KL(q||p) the
fastest. The bandwidth makes each particle's repulsion from all others balance its own pull,
:math:`h = \mathrm{med}^2 / \log n` with med the median distance between particles. One particle
climbs to a mode; many spread over the posterior, and in high dimensions too little.

The particles move with regard to one another, so they are not independent draws, and no interval
may pretend that they are.

Source: Q. Liu, D. Wang, Stein variational gradient descent: a general purpose Bayesian inference
algorithm, NeurIPS 2016, arXiv:1608.04471. AdaGrad with a decaying memory is the authors' own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from methods.base import Budget, Draws, Method, Target
from methods.parts.finite import sound, whereabouts
from methods.parts.validate import require

FUDGE = 1e-6  # keeps a step finite where there has been no slope
REMEDY = "try a smaller step, or a scale nearer to the posterior's"


@dataclass(frozen=True)
class SVGD(Method):
    """Particles under a kernel of their own width.

    Args:
        particles: how many, and so gradient evaluations per iteration.
        iterations: length of the run; cut to what ``budget.gradients`` allows.
        optimiser: ``adagrad``, whose sum of squares forgets, or ``adam``.
        step: of the optimiser, the size of a particle's move per coordinate and iteration.
        memory: of the squared slopes, per iteration.
        final_step: share of the step left at the end of its cosine decay; 1 for none.
        scale: standard deviation of the particles at the start, N(0, scale^2 I).
        every: iterations between two approximations.

    Raises:
        ValueError: if a field lies outside its range.
        FloatingPointError: from ``run``, if a density is not finite at a particle.
    """

    particles: int = 300
    iterations: int = 3000
    optimiser: Literal["adagrad", "adam"] = "adagrad"
    step: float = 0.05
    memory: float = 0.9
    final_step: float = 0.1
    scale: float = 1.0
    every: int = 25
    name: ClassVar[str] = "svgd"
    source: ClassVar[str] = "Liu, Wang, 2016, arXiv:1608.04471"

    def __post_init__(self) -> None:
        require(self, "optimiser", self.optimiser in ("adagrad", "adam"), "be 'adagrad' or 'adam'")
        require(self, "particles", self.particles >= 2, "be at least 2")
        for field in ("iterations", "every"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        for field in ("step", "scale"):
            require(self, field, 0 < getattr(self, field) < math.inf, "be positive and finite")
        require(self, "memory", 0 <= self.memory < 1, "lie in [0, 1)")
        require(self, "final_step", 0 <= self.final_step <= 1, "lie in [0, 1]")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws]:
        planned = self.iterations
        if budget.gradients is not None:
            planned = max(1, min(planned, budget.gradients // self.particles))
        z = torch.randn(self.particles, target.dim, generator=generator, dtype=torch.float64)
        z, moved = self.scale * z, _Steps(self)
        for i in range(planned):
            z = z + moved(_direction(z, self._slope(target, z)), i / planned)
            if i == 0 or (i + 1) % self.every == 0 or i + 1 == planned:
                yield Draws(z.unsqueeze(1).clone(), interacting=True)

    def _slope(self, target: Target, z: Tensor) -> Tensor:
        """Of log p at the particles, [n, D]."""
        value, slope = target.value_and_grad(z)
        if not bool(sound(value, slope).all()):
            where = whereabouts(target, z, value, slope)
            raise FloatingPointError(
                f"SVGD came to where the density is not finite {where}; {REMEDY}."
            )
        return slope


class _Steps:
    """From directions, [n, D], to moves: one coordinate of one particle has one step size."""

    def __init__(self, method: SVGD) -> None:
        self.method, self.taken = method, 0
        self.mean, self.square = torch.zeros(()), torch.zeros(())

    def __call__(self, direction: Tensor, progress: float) -> Tensor:
        method, left = self.method, self.method.final_step
        step = method.step * (left + (1 - left) * 0.5 * (1 + math.cos(math.pi * progress)))
        self.taken += 1
        memory = method.memory
        if method.optimiser == "adagrad":
            memory = memory if self.taken > 1 else 0.0  # the first slope counts in full
            self.square = memory * self.square + (1 - memory) * direction.square()
            return step * direction / (self.square.sqrt() + FUDGE)
        self.mean = 0.9 * self.mean + 0.1 * direction
        self.square = memory * self.square + (1 - memory) * direction.square()
        mean, square = self.mean / (1 - 0.9**self.taken), self.square / (1 - memory**self.taken)
        return step * mean / (square.sqrt() + FUDGE)


def _direction(z: Tensor, slope: Tensor) -> Tensor:
    """phi at each of the particles, [n, D]."""
    n = len(z)
    away = torch.pdist(z)
    h = float(away.median()) ** 2 / math.log(n)
    kernel = torch.exp(-(torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist") ** 2) / h)
    # the slope of k by its first argument, summed over it: 2 / h sum_j k(x_j, x) (x - x_j)
    apart = 2 / h * (z * kernel.sum(1, keepdim=True) - kernel @ z)
    return (kernel @ slope + apart) / n
