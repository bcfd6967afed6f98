r"""Adam on a Gaussian's ELBO, or on its importance-weighted bound, with gradients whose noise fades
as the Gaussian nears the target.

.. math::
    \nabla = E \sum_{i=1}^M \tilde w_i^2\, \frac{\partial z_i}{\partial \phi}^{\!\top} \nabla_z
    \big(\log p(z_i) - \log q(z_i)\big), \qquad \tilde w_i \propto p(z_i) / q(z_i)

For M = 1 this is sticking the landing: of the gradient of log q only the part through the draw is
kept, since the other has mean zero. For more it is the doubly reparametrised gradient of
:math:`E \log \frac1M \sum_i p(z_i) / q(z_i)`.

Source: G. Roeder, Y. Wu, D. Duvenaud, Sticking the landing: simple, lower-variance gradient
estimators for variational inference, 2017, arXiv:1703.09194; G. Tucker, D. Lawson, S. Gu, C. J.
Maddison, Doubly reparameterized gradient estimators for Monte Carlo objectives, 2019,
arXiv:1810.04152.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from methods.base import Budget, Target
from methods.parts.device import at_rest, seen_from
from methods.parts.finite import sound, whereabouts
from methods.parts.gaussians.families import Covariance, Family
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.optimisation.begin import beginnings, planned

SCALE = 0.1  # standard deviations at the start, as in Pyro's guides
FINAL = 0.01  # share of the step size that is left at the end of its cosine decay


@dataclass(frozen=True)
class Climb:
    """The settings of a run.

    Args:
        who: the method, as its errors name it.
        covariance: of the Gaussian; rank: of W, where it is low.
        lr: Adam's first step size, which falls to a hundredth by a cosine.
        iterations: steps; batch: groups of draws in each; particles: M, draws in a group.
        every: steps between two approximations; device: where the draws and the parameters are.
    """

    who: str
    covariance: Covariance
    rank: int
    lr: float
    iterations: int
    batch: int
    particles: int
    every: int
    device: str = "cpu"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Gaussian]:
        """Yield the Gaussian after every few steps, and after the last."""
        steps = planned(budget, self.iterations, self.batch * self.particles)
        target = seen_from(self.device, target)
        loc = beginnings(target, 1, generator, self.who)[0].to(self.device)
        family = Family(self.covariance, loc, torch.ones_like(loc), self.rank)
        x = family.first(SCALE, generator).requires_grad_()
        adam = torch.optim.Adam([x], fused=True)
        for i in range(steps):
            shape = self.batch, self.particles, family.noise_dim
            eps = torch.randn(shape, generator=generator, dtype=torch.float64).to(self.device)
            decay = FINAL + (1 - FINAL) * 0.5 * (1 + math.cos(math.pi * i / steps))
            adam.param_groups[0]["lr"] = self.lr * decay
            x.grad = self._gradient(target, family, x, eps, i)
            adam.step()
            if i == 0 or (i + 1) % self.every == 0 or i + 1 == steps:
                yield at_rest(family.gaussian(x))

    def _gradient(
        self, target: Target, family: Family, x: Tensor, eps: Tensor, step: int
    ) -> Tensor:
        """Of minus the bound, on noise [batch, M, K], in the parameters: [P]."""
        with torch.enable_grad():
            z = family.move(x, eps)
        rows = z.detach().flatten(0, 1)
        log_p, slope = target.value_and_grad(rows)
        if not sound(log_p, slope).all():
            raise FloatingPointError(
                f"{self.who} came after {step} steps to where the density is not finite"
                f" {whereabouts(target, rows, log_p, slope)}. Try a smaller lr."
            )
        q = family.gaussian(x)
        weights = (log_p - q.log_prob(rows)).reshape(z.shape[:2]).softmax(1).square()
        direction = (slope - score(q, rows)).reshape(z.shape) * weights.unsqueeze(-1)
        (gradient,) = torch.autograd.grad(z, x, -direction / self.batch)
        return gradient


def score(q: Gaussian, z: Tensor) -> Tensor:
    """Gradient of log q at points, [n, D] -> [n, D]."""
    away = z - q.loc
    if q.scale_tril.dim() == 1:
        return -away / q.scale_tril.square()
    return -torch.cholesky_solve(away.T, q.scale_tril).T
