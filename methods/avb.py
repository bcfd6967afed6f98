r"""Adversarial Variational Bayes: a sampler whose density nobody can write down, taught by a rival
that estimates it.

.. math::
    \min_f E_{q}\!\left[T^*(z) + \log r(z) - \log p(z)\right], \quad z = f(\epsilon) \sim q, \qquad
    T^* = \arg\max_T E_{q} \log\sigma(T(z)) + E_r \log(1 - \sigma(T(z))) = \log q - \log r

f is a network fed with noise; r is a density that can be both drawn from and written down. Since
the optimal T has slope zero in expectation with respect to the weights of f, T is held fixed while
the sampler learns. With ``contrast = "none"`` r is N(0, I): algorithm 1, which compares with the
prior; a target shows only the joint density, so the standard normal stands in. Adaptive contrast
(algorithm 2) takes for r the Gaussian of the sampler's own mean and variances, or covariance, held
constant in the gradient: T sees z standardised by them and has only the departure of q from a
Gaussian to learn.

Source: L. Mescheder, S. Nowozin, A. Geiger, Adversarial Variational Bayes, ICML 2017,
arXiv:1701.04722.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from methods.base import Budget, Method, Target
from methods.parts.contrast import MEMORY, REMEDY, Contrast, Kind, log_normal
from methods.parts.finite import sound, whereabouts
from methods.parts.networks import Discriminator, Sampler, SamplerNetwork
from methods.parts.record import Recorded
from methods.parts.validate import require

# nats; how far log p - log r may be from its usual level before an informed discriminator is told
# "far" alone
KNEE = 10.0
LAG = 0.2  # share of the newest weights in the mean that ``lookahead`` starts from
START = 4096  # draws that measure the untrained sampler


@dataclass(frozen=True)
class AVB(Method):
    """A sampler network against a discriminator.

    Args:
        contrast: r is N(0, I) (``none``), or the Gaussian with the sampler's own ``diagonal`` or
            ``full`` covariance.
        informed: whether the discriminator is given log p - log r, as an input and as the value it
            starts from. What is left to learn, log q - log p, vanishes as q nears p, and its errors
            with it. False: it sees z alone, as in the paper.
        iterations: length of the run, one sampler step each; cut to what ``budget.gradients``
            allows.
        batch: draws, and so gradient evaluations, per sampler step.
        steps: discriminator steps per sampler step; discriminator_batch: draws of q, and as many of
            r, in each.
        noise_dim: length of eps; None for that of z, which keeps the density of q within reach of
            the metrics.
        hidden: widths of the sampler's layers; skip: whether it adds a linear map of eps.
        width, blocks: of the discriminator's residual network.
        sampler_lr, discriminator_lr: Adam step sizes; sampler_beta1, discriminator_beta1: Adam's
            memory of the gradient.
        lookahead: how far the sampler's view of the discriminator is ahead of it, as a multiple of
            its weights' distance from their mean over the last five steps. It makes up for lag,
            which is what lets the map fold; 0 for the plain game.
        final_lr: share of both step sizes left at the end of their cosine decay; 1 for none.
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

    contrast: Kind = "full"
    informed: bool = True
    iterations: int = 6000
    batch: int = 256
    steps: int = 4
    discriminator_batch: int = 128
    noise_dim: int | None = None
    hidden: tuple[int, ...] = (128, 128)
    skip: bool = True
    width: int = 64
    blocks: int = 2
    sampler_lr: float = 2e-4
    discriminator_lr: float = 3e-3
    sampler_beta1: float = 0.5
    discriminator_beta1: float = 0.0
    lookahead: float = 1.0
    final_lr: float = 0.01
    clip: float = 10.0
    scale: float = 1.0
    anneal: float = 0.6
    average: float = 0.998
    every: int = 25
    name: ClassVar[str] = "avb"
    source: ClassVar[str] = "L. Mescheder, S. Nowozin, A. Geiger, 2017, arXiv:1701.04722"

    def __post_init__(self) -> None:
        require(
            self,
            "contrast",
            self.contrast in ("none", "diagonal", "full"),
            "be 'none', 'diagonal' or 'full'",
        )
        require(
            self,
            "noise_dim",
            self.noise_dim is None or self.noise_dim >= 1,
            "be at least 1, or None",
        )
        require(
            self,
            "hidden",
            len(self.hidden) > 0 and min(self.hidden) >= 1,
            "be one width or more, each at least 1",
        )
        require(self, "batch", self.batch >= 2, "be at least 2")
        require(self, "blocks", self.blocks >= 0, "not be negative")
        for field in ("iterations", "steps", "discriminator_batch", "width", "every"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        for field in ("sampler_lr", "discriminator_lr", "clip", "scale"):
            require(self, field, 0 < getattr(self, field) < math.inf, "be positive and finite")
        for field in ("sampler_beta1", "discriminator_beta1", "average"):
            require(self, field, 0 <= getattr(self, field) < 1, "lie in [0, 1)")
        require(self, "lookahead", 0 <= self.lookahead < math.inf, "be finite and not negative")
        for field in ("final_lr", "anneal"):
            require(self, field, 0 <= getattr(self, field) <= 1, "lie in [0, 1]")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[SamplerNetwork]:
        game = Game(self, target, generator)
        planned = self.planned(budget)
        for i in range(planned):
            game.play(i / planned)
            if i == 0 or (i + 1) % self.every == 0 or i + 1 == planned:
                yield game.approximation()

    def planned(self, budget: Budget) -> int:
        """Iterations that the budget of gradients allows, at most ``iterations``, at least one."""
        allowed = self.iterations if budget.gradients is None else budget.gradients // self.batch
        return max(1, min(self.iterations, allowed))


class Game:
    """Both players, their weights and their optimisers; one call of ``play`` is one iteration."""

    def __init__(self, method: AVB, target: Target, generator: Generator) -> None:
        self.method, self.target, self.generator = method, target, generator
        dim = target.dim
        self.sampler = Sampler(method.noise_dim or dim, dim, method.hidden, method.skip)
        self.discriminator = Discriminator(dim + method.informed, method.width, method.blocks)
        self.weights = self.sampler.init(generator, method.scale)
        self.average = self.weights.clone()
        self.rival = self.discriminator.init(generator)
        self.trail = self.rival.clone()  # a running mean of the discriminator's weights
        self.sampler_adam = torch.optim.Adam(
            [self.weights], betas=(method.sampler_beta1, 0.999), fused=True
        )
        self.rival_adam = torch.optim.Adam(
            [self.rival], betas=(method.discriminator_beta1, 0.999), fused=True
        )
        self.contrast = Contrast(method.contrast, self._draw(START))
        # running median of log p - log r on q, which knows p up to a constant only
        self.level = torch.zeros((), dtype=torch.float64)
        self.heat, self.cold = 1.0, 0.0
        self.played = 0
        # the sampler's last draws, and the density and its gradient there
        self.seen = self.contrast.loc.expand(0, -1), torch.empty(0), torch.empty(0, dim)
        self._loss, self._pull = Recorded(self._loss_gradient), Recorded(self._pull_gradient)

    def play(self, progress: float) -> None:
        """Discriminator steps, then a sampler step, at a share of the run in [0, 1)."""
        method = self.method
        self.heat = min(1.0, progress / method.anneal) if method.anneal else 1.0
        # a pull to the start that lasted would hold back wide posteriors to the very end
        self.cold = (1 - self.heat) ** 3
        decay = method.final_lr + (1 - method.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))
        for _ in range(method.steps):
            self._descend(self.rival_adam, self.rival_gradient(), method.discriminator_lr * decay)
            self.trail.lerp_(self.rival, LAG)
        self._descend(self.sampler_adam, self.sampler_gradient(), method.sampler_lr * decay)
        self.played += 1
        self.average.lerp_(self.weights, 1 - min(method.average, self.played / (self.played + 10)))

    def approximation(self) -> SamplerNetwork:
        """The averaged sampler as it stands."""
        return SamplerNetwork(self.sampler, self.average)

    def rival_gradient(self) -> Tensor:
        """Of the logistic loss on fresh draws of q and r, in the discriminator's weights:
        [weights].
        """
        noise = self._normal(self.method.discriminator_batch, self.target.dim)
        z = torch.cat([self._draw(len(noise)), self.contrast.restore(noise)])
        u = torch.cat([self.contrast.standardise(z[: len(noise)]), noise])
        if not self.method.informed:
            return self._loss(self.rival, u)
        with torch.no_grad():
            log_p = self.target.log_density(z)
        excess = self._tempered(log_p, z) - self.contrast.log_prob(u)
        usual = excess[: len(noise)].nanmedian()
        self.level = self.level.lerp(usual, MEMORY) if self.played else usual
        return self._loss(self.rival, u, excess - self.level)

    def sampler_gradient(self) -> Tensor:
        """Of E[T + log r - log p], with T and r held constant, in the sampler's weights:
        [weights].
        """
        eps = self._normal(self.method.batch, self.sampler.noise_dim).float()
        z = self.sampler(self.weights, eps).double()
        log_p, slope_p = self.target.value_and_grad(z)
        self.seen = z, log_p, slope_p
        u = self.contrast.standardise(z)
        excess = self._tempered(log_p, z) - self.contrast.log_prob(u) - self.level
        slope = (
            self.heat * slope_p - self.cold * z / self.method.scale**2 + u @ self.contrast.inverse
        )
        rival = self.rival + self.method.lookahead * (self.rival - self.trail)
        gradient = self._pull(self.weights, rival, eps, u, self.contrast.inverse, excess, slope)
        self.contrast.follow(z)
        return gradient

    def _loss_gradient(self, rival: Tensor, u: Tensor, excess: Tensor | None = None) -> Tensor:
        """[weights] of the discriminator, from draws of q and then of r at u, [2 n, D], with log p
        - log r, [2 n].
        """
        if excess is None:
            return self.discriminator.loss_gradient(rival, u.float(), torch.zeros(()))
        # where r strays, a density may overflow
        hint = excess.clamp(-KNEE, KNEE).nan_to_num(nan=-KNEE)
        return self.discriminator.loss_gradient(
            rival, torch.column_stack([u, hint]).float(), hint.float()
        )

    def _pull_gradient(
        self,
        weights: Tensor,
        rival: Tensor,
        eps: Tensor,
        u: Tensor,
        inverse: Tensor,
        excess: Tensor,
        slope: Tensor,
    ) -> Tensor:
        """The slope of T + log r - log p, with log p - log r = excess and its slope by z given,
        pulled back to [weights].

        An informed T is network(u, hint) + hint, and the hint's own slope cancels that of log p.
        Beyond the knee it would not: there log p counts as capped, or a narrow funnel, whose neck
        the network cannot see, would draw everything in.
        """
        if self.method.informed:
            inputs = torch.column_stack([u, excess.clamp(-KNEE, KNEE)]).float()
            by_input = self.discriminator.slope(rival, inputs).double()
            by_hint = by_input[:, -1] * (excess.abs() < KNEE) - (excess < -KNEE).double()
            direction = by_input[:, :-1] @ inverse + by_hint.unsqueeze(1) * slope
        else:
            direction = self.discriminator.slope(rival, u.float()).double() @ inverse - slope
        return self.sampler.gradient(weights, eps, (direction / len(u)).float())

    def _tempered(self, log_p: Tensor, z: Tensor) -> Tensor:
        """Log density on the way from N(0, scale^2 I) to p: [n] at z, [n, D] -> [n]."""
        value: Tensor = self.heat * log_p + self.cold * log_normal(z / self.method.scale)
        return value

    def _draw(self, n: int) -> Tensor:
        """Of the sampler, [n, D], float64."""
        return self.sampler(self.weights, self._normal(n, self.sampler.noise_dim).float()).double()

    def _normal(self, n: int, dim: int) -> Tensor:
        return torch.randn(n, dim, generator=self.generator, dtype=torch.float64)

    def _descend(self, adam: torch.optim.Adam, gradient: Tensor, lr: float) -> None:
        """One step of Adam on its only parameter, the gradient clipped."""
        norm = gradient.norm()
        if not norm.isfinite():
            raise FloatingPointError(self._fault())
        group = adam.param_groups[0]
        group["lr"] = lr
        group["params"][0].grad = gradient * (self.method.clip / norm).clamp(max=1.0)
        adam.step()

    def _fault(self) -> str:
        """Why a gradient is not finite: the density at the last draws, or the training."""
        z, value, slope = self.seen
        bad = z.isfinite().all(-1) & ~sound(value, slope)
        if not bad.any():
            return f"AVB diverged: a gradient is not finite; {REMEDY}."
        where = f"the density is not finite {whereabouts(self.target, z, value, slope)}"
        if self.played == 0:
            return (
                f"AVB cannot start from N(0, {self.method.scale:g}^2) in each coordinate: {where}."
                " If it is finite elsewhere, change scale."
            )
        return f"AVB came to where {where}; {REMEDY}."
