r"""Importance-weighted VB: a Gaussian that need not be the posterior, only the best to draw from
and weight.

.. math::
    \max_q\ E_{z_1 \dots z_M \sim q} \log \frac1M \sum_{i=1}^M \frac{p(z_i)}{q(z_i)} \le \log Z

What approximates p is not q but the law of one of M draws of it, chosen by its weight p/q. That law
has no density in closed form, so there is a choice of what is yielded:

- ``resampled``: independent draws of that law, each chosen among M fresh ones of q, and the
  estimate of log Z that all their weights make. They cost no gradients and ``draws`` times M
  evaluations, and are made at steps that are powers of two, and at the end.
- ``base``: q itself, which has a density; it is wider than VB's, for the bound asks of it that it
  covers p.

Gradients are doubly reparametrised, the bound's noise with them. With ``particles=1`` it is VB.

Source: Y. Burda, R. Grosse, R. Salakhutdinov, Importance weighted autoencoders, 2016,
arXiv:1509.00519; J. Domke, D. Sheldon, Importance weighting and variational inference, 2018,
arXiv:1808.09034; the gradient: G. Tucker and others, 2019, arXiv:1810.04152.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator

from methods.base import Approximation, Budget, Draws, Method, Target
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.gaussians.sticking import Climb
from methods.parts.sampling.psis import RELIABLE, evidence, smoothed
from methods.parts.validate import require

CHUNK = 65536  # rows of the density at a time


@dataclass(frozen=True)
class ImportanceWeightedVB(Method):
    """The Gaussian that is best to weight, and what its weighted draws are.

    Args:
        particles: M, draws that are weighted against each other.
        yields: ``resampled`` or ``base``.
        covariance: of the Gaussian: ``full`` or ``diagonal``.
        draws: independent draws that are yielded, where they are resampled.
        lr: Adam's first step size, which falls to a hundredth by a cosine.
        iterations: steps of Adam; fewer where ``budget.gradients`` allows no more.
        batch: groups of M draws per step, each draw a gradient evaluation.
        every: steps between two approximations, where they are the base.

    Raises:
        ValueError: if a field lies outside its range.
        FloatingPointError: from ``run``, if it comes to where the density is not finite.
    """

    particles: int = 10
    yields: Literal["resampled", "base"] = "resampled"
    covariance: Literal["full", "diagonal"] = "full"
    draws: int = 4000
    lr: float = 0.01
    iterations: int = 5000
    batch: int = 16
    every: int = 25
    name: ClassVar[str] = "iw-vb"
    source: ClassVar[str] = (
        "Burda, Grosse & Salakhutdinov, 2016, arXiv:1509.00519; Domke & Sheldon, 2018,"
        " arXiv:1808.09034"
    )

    def __post_init__(self) -> None:
        kinds = ("resampled", "base")
        require(self, "yields", self.yields in kinds, "be 'resampled' or 'base'")
        kinds = ("full", "diagonal")
        require(self, "covariance", self.covariance in kinds, "be 'full' or 'diagonal'")
        for field in ("particles", "draws", "iterations", "batch", "every"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        require(self, "lr", 0 < self.lr < math.inf, "be positive and finite")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        """Yield the Gaussian, or draws of what it is weighted to."""
        base, sizes = self.yields == "base", (self.batch, self.particles)
        every = self.every if base else 1
        climb = Climb(
            "ImportanceWeightedVB", self.covariance, 0, self.lr, self.iterations, *sizes, every
        )
        steps, q = 0, None
        for q in climb.run(target, budget, generator):
            steps += 1
            if base:
                yield q
            elif steps & (steps - 1) == 0:  # a power of two
                yield self._resampled(target, q, generator)
        if not base and q is not None and steps & (steps - 1):
            yield self._resampled(target, q, generator)

    def _resampled(self, target: Target, q: Gaussian, generator: Generator) -> Draws:
        """Independent draws of the weighted law, and what their weights say."""
        z = q.sample(self.draws * self.particles, generator)
        with torch.no_grad():
            log_p = torch.cat([target.log_density(part) for part in torch.split(z, CHUNK)])
        ratios = (log_p - q.log_prob(z)).nan_to_num(nan=-math.inf, neginf=-math.inf)
        groups = ratios.reshape(self.draws, self.particles)
        groups = groups - groups.amax(1, keepdim=True).clamp(min=-1e300)
        chosen = torch.multinomial(groups.exp(), 1, generator=generator)
        kept = z.reshape(self.draws, self.particles, -1)[torch.arange(self.draws), chosen[:, 0]]
        khat = smoothed(ratios).khat
        known = evidence(ratios) if khat < RELIABLE else None
        return Draws(kept.unsqueeze(0), {"khat": khat}, known)
