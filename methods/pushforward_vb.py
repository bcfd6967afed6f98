r"""AVB's sampler trained on its exact density: what AVB would reach with a perfect discriminator.

.. math::
    \min_f \mathrm{KL}(q \| p) = E_{\epsilon \sim N(0, I)}\!\left[\log N(\epsilon)
    - \log |\det J_f(\epsilon)| - \log p(f(\epsilon))\right], \quad z = f(\epsilon) \sim q

f is a square perceptron, K = D. Where it is injective its draws have the density
:math:`N(\epsilon) / |\det J_f|`, and its gradient needs no rival: the Jacobian is a product of a
few matrices. Nothing forces f to be injective; but log |det J| falls without bound where f would
begin to fold, so a step that is short enough does not fold it. A normalising flow is made so that
it cannot fold, and pays for it with layers of a special form.

Source: the objective is that of D. J. Rezende, S. Mohamed, Variational inference with normalizing
flows, 2015, arXiv:1505.05770; the sampler that of L. Mescheder, S. Nowozin, A. Geiger, Adversarial
Variational Bayes, 2017, arXiv:1701.04722.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from methods.base import Budget, Method, Target
from methods.parts.device import placed, present, recorded, seen_from
from methods.parts.finite import sound, whereabouts
from methods.parts.networks.sampler import Sampler, SamplerNetwork
from methods.parts.networks.volume import gradient
from methods.parts.optimisation.adam import Adam
from methods.parts.optimisation.descent import length
from methods.parts.validate import require, trained

REMEDY = "try a smaller lr, or a scale nearer to the posterior's"


@dataclass(frozen=True)
class PushforwardVB(Method):
    """A sampler network that descends KL(q||p) by the gradient of its draws and of its volume.

    Args:
        iterations: length of the run; cut to what ``budget.gradients`` allows.
        batch: draws, and so gradient evaluations, per iteration.
        hidden: widths of the sampler's layers; skip: whether it adds a linear map of eps.
        lr: Adam step size; beta1: Adam's memory of the gradient.
        final_lr: share of the step size left at the end of its cosine decay; 1 for none.
        clip: largest norm of a gradient in the weights.
        scale: standard deviation of the sampler's coordinates at the start.
        anneal: share of the run in which log p gains its full weight, starting from N(0, scale^2
            I); 0 for none.
        average: memory of the averaged weights that are yielded, per iteration; 0 for the newest.
        every: iterations between two approximations.
        device: cpu or cuda, where the network and its draws are; random numbers are the same on
            both, and the density is on the CPU.

    Raises:
        ValueError: if a field lies outside its range.
        NotApplicableError: from ``run``, if the device is not here.
        FloatingPointError: from ``run``, if the training diverges.
    """

    iterations: int = 6000
    batch: int = 256
    hidden: tuple[int, ...] = (128, 128)
    skip: bool = True
    lr: float = 1e-3
    beta1: float = 0.9
    final_lr: float = 0.01
    clip: float = 10.0
    scale: float = 1.0
    anneal: float = 0.6
    average: float = 0.998
    every: int = 25
    device: str = "cpu"
    name: ClassVar[str] = "pushforward-vb"
    source: ClassVar[str] = "Rezende, Mohamed, 2015, arXiv:1505.05770"

    def __post_init__(self) -> None:
        require(self, "batch", self.batch >= 1, "be at least 1")
        require(self, "beta1", 0 <= self.beta1 < 1, "lie in [0, 1)")
        trained(self)
        placed(self)

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[SamplerNetwork]:
        present(self)
        descent = Descent(self, target, generator)
        planned = self.planned(budget)
        for i in range(planned):
            descent.step(i / planned)
            if i == 0 or (i + 1) % self.every == 0 or i + 1 == planned:
                yield SamplerNetwork(descent.sampler, descent.average.cpu())

    def planned(self, budget: Budget) -> int:
        """Iterations that the budget of gradients allows, at most ``iterations``, at least one."""
        return length(self.iterations, self.batch, budget.gradients)


class Descent:
    """The sampler on its way, its weights and their average."""

    def __init__(self, method: PushforwardVB, target: Target, generator: Generator) -> None:
        self.method, self.generator, device = method, generator, method.device
        self.target = seen_from(device, target)
        self.sampler = Sampler(target.dim, target.dim, method.hidden, method.skip)
        self.weights = self.sampler.init(generator, method.scale).to(device)
        self.average = self.weights.clone()
        self.adam = Adam(self.weights, method.beta1, method.clip)
        self.taken = 0
        self._forward = recorded(self.forward, device)
        self._gradient = recorded(self.gradient, device)

    def step(self, progress: float) -> None:
        """One step at a share of the run in [0, 1)."""
        method = self.method
        heat = min(1.0, progress / method.anneal) if method.anneal else 1.0
        decay = method.final_lr + (1 - method.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))
        eps = torch.randn(method.batch, self.target.dim, generator=self.generator)
        eps = eps.to(method.device)
        z, *hidden = self._forward(self.weights, eps)
        log_p, slope = self.target.value_and_grad(z)
        # a pull to the start that lasted would hold back wide posteriors to the very end
        pull = heat * slope - (1 - heat) ** 3 / method.scale**2 * z
        descent, norm = self._gradient(self.weights, eps, pull, *hidden)
        if not math.isfinite(float(norm)) or not bool(sound(log_p, slope).any()):
            raise FloatingPointError(self._fault(z, log_p, slope))
        self.adam.step(descent, norm, method.lr * decay)
        self.taken += 1
        self.average.lerp_(self.weights, 1 - min(method.average, self.taken / (self.taken + 10)))

    def forward(self, weights: Tensor, eps: Tensor) -> tuple[Tensor, ...]:
        """Draws, [n, D], float64, and what the hidden layers put out."""
        z, hidden = self.sampler.forward(weights, eps)
        return (z.double(), *hidden)

    def gradient(
        self, weights: Tensor, eps: Tensor, pull: Tensor, *hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of KL(q||p), where the slope of log p at the draws is pull, [n, D]: [weights]; its
        norm.
        """
        direction = (pull / -len(eps)).float()
        found, _ = gradient(self.sampler, weights, eps, hidden, direction)
        return found, found.norm()

    def _fault(self, z: Tensor, value: Tensor, slope: Tensor) -> str:
        bad = z.isfinite().all(-1) & ~sound(value, slope)
        if not bad.any():
            return f"PushforwardVB diverged: its gradient is not finite; {REMEDY}."
        where = whereabouts(self.target, z, value, slope)
        return f"PushforwardVB came to where the density is not finite {where}; {REMEDY}."
