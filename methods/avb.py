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
Gaussian to learn. With several heads, q is a mixture of maps and r the mixture of their Gaussians:
modes apart need no bridge, and less is left for T.

Source: L. Mescheder, S. Nowozin, A. Geiger, Adversarial Variational Bayes, ICML 2017,
arXiv:1701.04722.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Generator

from methods.base import Approximation, Budget, Method, Target
from methods.parts.adversarial.affine import Metered, fitted
from methods.parts.adversarial.contrast import Kind
from methods.parts.adversarial.game import Play
from methods.parts.adversarial.one_map import Game
from methods.parts.adversarial.several_maps import HeadedGame
from methods.parts.device import placed, present
from methods.parts.networks.discriminator import Activation
from methods.parts.optimisation.descent import length
from methods.parts.validate import require

# of a sampler that can have several: where their affine maps are fitted first, and where they begin
# around the origin
HEADS, UNFITTED = 8, 4
PLANE = 2  # dimension up to which heads fold as they part, if they begin around the origin


@dataclass(frozen=True)
class AVB(Method):
    """A sampler network against a discriminator.

    Args:
        contrast: r is N(0, I) (``none``), or the Gaussian with the sampler's own ``diagonal`` or
            ``full`` covariance.
        informed: whether the discriminator is given log p - log r, as an input and as the value it
            starts from. What is left to learn, log q - log p, vanishes as q nears p, and its errors
            with it. False: it sees z alone, as in the paper.
        iterations: length of the run, one sampler step each, or as many gradients for the affine
            maps; cut to what ``budget.gradients`` allows.
        batch: draws, and so gradient evaluations, per sampler step.
        steps: discriminator steps per sampler step; discriminator_batch: draws of q, and as many of
            r, in each.
        noise_dim: length of eps; None for that of z, which keeps the density of q within reach of
            the metrics.
        heads: affine maps of the noise, one of which is chosen by chance for each draw, so that
            modes apart need no bridge; with several, the network of the sampler is told which, and
            r is the mixture of as many Gaussians. They ask for the full contrast, for skip and for
            noise of the dimension of z: None for 8 where these are so; for 4, or 1 in the plane,
            where ``affine`` is 0; else for 1.
        hidden: widths of the sampler's layers; skip: whether it adds a linear map of eps.
        width, blocks: of the discriminator's residual network.
        activation: of the discriminator, ``silu`` or ``leaky-relu`` (slope 0.2); zero_last: whether
            its last layer starts at zero.
        sampler_lr, discriminator_lr: Adam step sizes; sampler_beta1, discriminator_beta1: Adam's
            memory of the gradient.
        lookahead: how far the sampler's view of the discriminator is ahead of it, as a multiple of
            its weights' distance from their mean over the last five steps. It makes up for lag,
            which is what lets the map fold; 0 for the plain game.
        final_lr: share of both step sizes left at the end of their cosine decay; 1 for none.
        clip: largest norm of a gradient in the weights.
        scale: standard deviation of the sampler's coordinates at the start.
        anneal: share of the run in which log p gains its full weight, starting from N(0, scale^2
            I); 0 for none. None for 0 where the affine maps were fitted first, else 0.3 with
            several heads, which part early, and 0.6 with one.
        affine: share of the run's gradients that the affine maps of several heads may take before
            the game begins. With the network silent q is r, a mixture of Gaussians, and fitted as
            such, from many starts; the heads begin there. Fewer are taken where that is done
            earlier, none where the density is finite nowhere on (-2, 2) in each coordinate; 0 for
            none, the heads beginning around the origin.
        average: memory of the averaged weights that are yielded, per iteration; 0 for the newest.
        every: iterations between two approximations.
        device: cpu or cuda, where the networks, r and the draws of an iteration are; the density
            and the first affine maps are on the CPU, and random numbers the same on both.

    Raises:
        ValueError: if a field lies outside its range.
        NotApplicableError: from ``run``, if the device is not here.
        FloatingPointError: from ``run``, if the training diverges.
    """

    contrast: Kind = "full"
    informed: bool = True
    iterations: int = 3000
    batch: int = 512
    steps: int = 4
    discriminator_batch: int = 256
    noise_dim: int | None = None
    heads: int | None = None
    hidden: tuple[int, ...] = (128, 128)
    skip: bool = True
    width: int = 64
    blocks: int = 2
    activation: Activation = "silu"
    zero_last: bool = False
    sampler_lr: float = 1e-4
    discriminator_lr: float = 3e-3
    sampler_beta1: float = 0.5
    discriminator_beta1: float = 0.0
    lookahead: float = 1.0
    final_lr: float = 0.01
    clip: float = 10.0
    scale: float = 1.0
    anneal: float | None = None
    affine: float = 0.25
    average: float = 0.998
    every: int = 25
    device: str = "cpu"
    name: ClassVar[str] = "avb"
    source: ClassVar[str] = "L. Mescheder, S. Nowozin, A. Geiger, 2017, arXiv:1701.04722"

    def __post_init__(self) -> None:
        self._check_networks()
        require(self, "batch", self.batch >= 2, "be at least 2")
        require(self, "heads", self.heads is None or self.heads >= 1, "be at least 1, or None")
        against = None if self.heads in (None, 1) else self._against(self.heads)
        require(self, "heads", against is None, f"be 1, or None, where {against}")
        for field in ("iterations", "steps", "discriminator_batch", "width", "every"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        for field in ("sampler_lr", "discriminator_lr", "clip", "scale"):
            require(self, field, 0 < getattr(self, field) < math.inf, "be positive and finite")
        for field in ("sampler_beta1", "discriminator_beta1", "average"):
            require(self, field, 0 <= getattr(self, field) < 1, "lie in [0, 1)")
        require(self, "lookahead", 0 <= self.lookahead < math.inf, "be finite and not negative")
        require(self, "final_lr", 0 <= self.final_lr <= 1, "lie in [0, 1]")
        fits = self.anneal is None or 0 <= self.anneal <= 1
        require(self, "anneal", fits, "lie in [0, 1], or be None")
        require(self, "affine", 0 <= self.affine < 1, "lie in [0, 1)")

    def _check_networks(self) -> None:
        """Raise where a setting of the networks cannot be."""
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
        require(
            self,
            "activation",
            self.activation in ("silu", "leaky-relu"),
            "be 'silu' or 'leaky-relu'",
        )
        require(self, "blocks", self.blocks >= 0, "not be negative")
        placed(self)

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        present(self)
        planned, heads = self.planned(budget), self.several(target.dim)
        begun = 0
        if heads == 1:
            game: Play = Game(self, target, generator)
        else:
            metered = Metered(target, int(self.affine * planned) * self.batch)
            start = None
            for start in fitted(metered, heads, generator):
                yield replace(start, diagnostics=_how_far(metered.spent / self.batch, planned))
            begun = math.ceil(metered.spent / self.batch)
            game = HeadedGame(self, target, generator, heads, start)
        for i in range(begun, planned):
            game.play((i - begun) / (planned - begun))
            if i == begun or (i + 1) % self.every == 0 or i + 1 == planned:
                yield game.approximation(_how_far(i + 1, planned))

    def several(self, dim: int) -> int:
        """How many heads the sampler of z, [dim], has."""
        if self.heads is not None:
            return self.heads
        usual = HEADS if self.affine > 0 else UNFITTED if dim > PLANE else 1
        return usual if self._against(usual) is None else 1

    def _against(self, heads: int) -> str | None:
        """The field that several heads do not go with; each takes as many draws of a batch."""
        for field, needed in (("skip", True), ("contrast", "full"), ("noise_dim", None)):
            if getattr(self, field) != needed:
                return f"{field} is not {needed!r}"
        for field in ("batch", "discriminator_batch"):
            size = getattr(self, field)
            if size % heads or size < 2 * heads:
                return f"{field}, {size}, is not twice that or another multiple of it"
        return None

    def planned(self, budget: Budget) -> int:
        """Iterations that the budget of gradients allows, at most ``iterations``, at least one."""
        return length(self.iterations, self.batch, budget.gradients)


def _how_far(iterations: float, planned: int) -> dict[str, float]:
    """The diagnostics of an approximation: how far the run has come, in iterations."""
    return {"iterations": float(iterations), "planned": float(planned)}
