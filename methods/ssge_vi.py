r"""Implicit variational inference by the spectral Stein gradient estimator: a sampler whose density
nobody can write down, taught by the slope of it that its own draws reveal.

.. math::
    \nabla_\phi\, \mathrm{ELBO} = E_\epsilon\big[(\nabla \log p(z) - \nabla \log q(z))\,
    \nabla_\phi f_\phi(\epsilon)\big], \qquad z = f_\phi(\epsilon)

The sampler f is the one of adversarial variational Bayes; where that asks a rival for log q - log
p, this reads the slope of log q off a batch, from the eigenfunctions of a kernel. There is no rival
to train, and nothing of one batch is kept for the next.

Source: J. Shi, S. Sun, J. Zhu, A spectral approach to gradient estimation for implicit
distributions, ICML 2018, arXiv:1806.02925.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from methods.base import Budget, Method, Target
from methods.parts.networks.sampler import Sampler, SamplerNetwork
from methods.parts.optimisation.descent import Descent, length
from methods.parts.optimisation.tempered import Tempered
from methods.parts.stein_gradient import score
from methods.parts.validate import require, trained

REMEDY = "try a smaller lr, a larger batch, or a scale nearer to the posterior's"


@dataclass(frozen=True)
class SSGEVI(Method):
    """A sampler network on the ELBO, the slope of its density by a spectral estimate.

    Args:
        iterations: length of the run; cut to what ``budget.gradients`` allows.
        batch: draws, and so gradient evaluations, per step; the slope of log q is estimated from
            them, in time that grows with their cube.
        share: of the sum of the kernel's eigenvalues; the eigenfunctions that make it up are kept.
        noise_dim: length of eps; None for that of z, which keeps the density of q within reach of
            the metrics.
        hidden: widths of the sampler's layers; skip: whether it adds a linear map of eps.
        lr: Adam's step size; final_lr: share of it left at the end of its cosine decay.
        clip: largest norm of a gradient in the weights.
        scale: standard deviation of the sampler's coordinates at the start.
        anneal: share of the run in which log p gains its full weight, starting from N(0, scale^2
            I); 0 for none.
        average: memory of the averaged weights that are yielded, per iteration; 0 for the newest.
        every: iterations between two approximations.

    Raises:
        ValueError: if a field lies outside its range.
        FloatingPointError: from ``run``, if the training diverges.
    """

    iterations: int = 3000
    batch: int = 128
    share: float = 0.99
    noise_dim: int | None = None
    hidden: tuple[int, ...] = (128, 128)
    skip: bool = True
    lr: float = 2e-4
    final_lr: float = 0.01
    clip: float = 100.0
    scale: float = 1.0
    anneal: float = 0.5
    average: float = 0.998
    every: int = 25
    name: ClassVar[str] = "ssge-vi"
    source: ClassVar[str] = "Shi, Sun, Zhu, 2018, arXiv:1806.02925"

    def __post_init__(self) -> None:
        fits = self.noise_dim is None or self.noise_dim >= 1
        require(self, "noise_dim", fits, "be at least 1, or None")
        require(self, "batch", self.batch >= 4, "be at least 4")
        require(self, "share", 0 < self.share < 1, "lie in (0, 1)")
        trained(self)

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[SamplerNetwork]:
        sampler = Sampler(self.noise_dim or target.dim, target.dim, self.hidden, self.skip)
        descent = Descent(self, sampler.init(generator, self.scale), REMEDY)
        tempered = Tempered(target, self.anneal, self.scale, type(self).__name__, REMEDY)
        planned = length(self.iterations, self.batch, budget.gradients)
        for i in range(planned):
            eps = torch.randn(self.batch, sampler.noise_dim, generator=generator)
            weights = descent.weights.detach()
            drawn, hidden = sampler.forward(weights, eps)
            z = drawn.double()
            _, slope = tempered.value_and_grad(z, i / planned)
            away = (score(z, self.share) - slope) / self.batch
            gradient = sampler.gradient(weights, eps, hidden, away.float())
            descent.step(gradient, i / planned)
            if i == 0 or (i + 1) % self.every == 0 or i + 1 == planned:
                yield SamplerNetwork(sampler, descent.average)
