r"""Adversarial Variational Bayes for every x at once: an encoder fed with noise, which needs no
density, since a discriminator tells its draws from those of a density that is known.

.. math::
    \max_T\; E_{q(z \mid x)} \log \sigma(T(x, z)) + E_{r(z \mid x)} \log(1 - \sigma(T(x, z))), \quad
    \max_{\theta, \phi}\; E_q[\log p_\theta(x, z) - \log r(z \mid x) - T(x, z)]

r is the prior (algorithm 1), or with adaptive contrast the Gaussian with q's own means and
variances for each x (algorithm 2); then the discriminator sees z in coordinates in which r is
N(0, I). The moments of a plain encoder are estimated from several draws for each x; those of an
encoder that gives coefficients to noise are known, whatever x, from the noise of a batch.

Source: L. Mescheder, S. Nowozin, A. Geiger, Adversarial Variational Bayes, ICML 2017,
arXiv:1701.04722.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from methods.amortised.base import Learned, Learner, NoiseEncoder, TrainingData
from methods.amortised.noise import Coefficients, Plain
from methods.amortised.training import Course, Flat, Player, checked, decayed
from methods.base import Budget
from methods.parts.device import present
from methods.parts.validate import require
from problems.generative.base import Decoder, perceptron
from problems.generative.parts.latent_grid import log_prior

LEAST = 4  # draws of one x that the covariance of its codes is estimated from


@dataclass(frozen=True)
class AmortisedAVB(Learner):
    """Encoder and decoder step by turns with the discriminator, all by Adam.

    Args:
        contrast: whether r has q's moments for each x (algorithm 2), or is the prior.
        parts: m, of the noise, which x only gives coefficients to (see ``Coefficients``); 0 for a
            plain encoder, which reads x and the noise side by side.
        draws: of z for each x of a batch; a plain encoder's moments are those of these draws, and
            1 will do without contrast or with parts.
        iterations: encoder steps, where the budget allows as many; batch: pairs (x, z) of each.
        steps: discriminator steps for each of the encoder's.
        noise_dim: length of the noise; with parts, of each.
        hidden: widths of the encoder's hidden layers, ELU.
        width: of the discriminator's layers; blocks: its residual blocks.
        lr: step size of encoder and decoder; discriminator_lr: of the discriminator.
        beta1: Adam's memory of the gradient, of both.
        final_lr: share of both step sizes left at the end of their cosine decay; 1 for none.
        clip: largest norm of a gradient.
        average: memory of the averaged weights that are yielded, per iteration; 0 for the newest.
        every: iterations between two checkpoints.
        device: cpu or cuda, where the networks are trained; random numbers are the same on both.

    Raises:
        ValueError: if a field lies outside its range.
        NotApplicableError: from ``run``, if the device is not here.
        FloatingPointError: from ``run``, if the training diverges.

    The authors' settings for four points: ``AmortisedAVB(iterations=100_000, batch=512,
    noise_dim=64, width=256, blocks=5, lr=2e-5, discriminator_lr=1e-4, beta1=0.9, final_lr=1,
    average=0, clip=1e6)``, and for digits with contrast those of the preset ``paper-mnist``.
    """

    contrast: bool = False
    parts: int = 0
    draws: int = 1
    iterations: int = 8000
    batch: int = 256
    steps: int = 2
    noise_dim: int = 16
    hidden: tuple[int, ...] = (64, 64, 64)
    width: int = 64
    blocks: int = 2
    lr: float = 1e-3
    discriminator_lr: float = 2e-3
    beta1: float = 0.5
    final_lr: float = 0.01
    clip: float = 100.0
    average: float = 0.99
    every: int = 50
    device: str = "cpu"
    name: ClassVar[str] = "avb"
    source: ClassVar[str] = "L. Mescheder, S. Nowozin, A. Geiger, 2017, arXiv:1701.04722"

    def __post_init__(self) -> None:
        checked(self)
        require(self, "parts", self.parts >= 0, "not be negative")
        require(self, "draws", self.draws >= 1, "be at least 1")
        divides = self.batch % self.draws == 0
        require(self, "draws", divides, f"divide the batch, which is {self.batch}")
        estimated = self.contrast and not self.parts
        require(
            self,
            "draws",
            self.draws >= LEAST or not estimated,
            f"be at least {LEAST} with contrast=true, which estimates a covariance from them,"
            " unless parts is 1 or more",
        )
        for field in ("steps", "noise_dim", "width"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        require(self, "blocks", self.blocks >= 0, "not be negative")
        rate = self.discriminator_lr
        require(self, "discriminator_lr", 0 < rate < math.inf, "be positive and finite")

    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Learned]:
        game = _Game(self, model, generator)
        cost = (2 * self.steps + 1) * self.batch
        course = Course(self, model, budget, generator, cost, maker=game.maker, judge=game.judge)
        yield from course.run(game.play, game.learned)


class _Game:
    """The two players of AVB over data: encoder with decoder, and discriminator."""

    def __init__(self, method: AmortisedAVB, model: TrainingData, generator: Generator) -> None:
        self.method, self.model, self.generator = method, model, generator
        pixels, latent = math.prod(model.train.shape[1:]), model.latent_dim
        decoder = model.decoder(generator)
        network: Plain | Coefficients
        if method.parts:
            shape = method.parts, method.noise_dim
            network = Coefficients(pixels, latent, method.hidden, *shape, generator)
        else:
            widths = pixels + method.noise_dim, *method.hidden, latent
            network = Plain(perceptron(widths, generator), method.noise_dim, method.draws)
        self.noise = network.noise_dim
        coder = Coder(network, decoder, method.contrast)
        rival = Discriminator(pixels, latent, method.width, method.blocks, generator)
        device = present(method)
        self.coder, self.rival = Flat(coder, device), Flat(rival, device)
        usual = {"beta1": method.beta1, "clip": method.clip}
        self.maker = Player(self.coder, self._gap, **usual, average=method.average)
        self.judge = Player(self.rival, self._doubt, **usual, average=0.0)

    def play(self, progress: float) -> None:
        """Discriminator steps, then one of encoder and decoder."""
        method = self.method
        for _ in range(method.steps):
            self.model.charge(2 * method.batch)
            noise = torch.randn(method.batch, self.model.latent_dim, generator=self.generator)
            lr = decayed(method.discriminator_lr, progress, method.final_lr)
            self.judge.step(lr, self.maker.weights, *self._read(), noise)
        self.model.charge(method.batch)
        lr = decayed(method.lr, progress, method.final_lr)
        self.maker.step(lr, self.judge.weights, *self._read())

    def learned(self) -> Learned:
        """Both networks as they stand."""
        rest = self.maker.at_rest()
        return Learned(rest.decoder, FedNetwork(rest.network, self.noise))

    def _read(self) -> tuple[Tensor, Tensor]:
        """Data, each as often as it has draws, and noise: [n, *shape], [n, K]."""
        method = self.method
        x = self.model.batch(method.batch // method.draws, self.generator)
        eps = torch.randn(method.batch, self.noise, generator=self.generator)
        return x.repeat_interleave(method.draws, 0), eps

    def _doubt(self, rival: Tensor, coder: Tensor, x: Tensor, eps: Tensor, noise: Tensor) -> Tensor:
        """The discriminator's loss: how far it is from telling q from r."""
        u = self.coder(coder.detach(), x, eps)[1].detach()
        verdict = self.rival(rival, torch.cat([x, x]), torch.cat([u, noise]))
        of_q, of_r = verdict.chunk(2)
        return functional.softplus(-of_q).mean() + functional.softplus(of_r).mean()

    def _gap(self, coder: Tensor, rival: Tensor, x: Tensor, eps: Tensor) -> Tensor:
        """Minus the evidence lower bound, as far as the discriminator knows: no bound itself."""
        _, u, excess, log_likelihood = self.coder(coder, x, eps, True)
        value: Tensor = (self.rival(rival.detach(), x, u) + excess - log_likelihood).mean()
        return value


class Coder(nn.Module):
    """Encoder and decoder, and the density that the encoder's draws are compared with.

    Args:
        network: from x and noise to z, with moments for r; decoder: p(x | z).
        contrast: whether r has these moments, or is the prior.
    """

    def __init__(self, network: Plain | Coefficients, decoder: Decoder, contrast: bool) -> None:
        super().__init__()
        self.network, self.decoder, self.contrast = network, decoder, contrast

    def forward(self, x: Tensor, eps: Tensor, whole: bool = False) -> tuple[Tensor, ...]:
        """z; u, which is z in coordinates in which r is N(0, I); and if ``whole`` log r - log p(z)
        at z, and log p(x | z), nats: [n, L], [n, L], [n], [n].
        """
        z, u, excess = self._compared(x, eps)
        return (z, u, excess, self.decoder.log_likelihood(x, z)) if whole else (z, u)

    def _compared(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not self.contrast:
            z = self.network(x, eps)
            return z, z, z.new_zeros(len(z))
        z, loc, scale = self.network.moments(x, eps)
        u = (z - loc) / scale
        return z, u, log_prior(u) - scale.log().sum(-1) - log_prior(z)


class Discriminator(nn.Module):
    """T(x, z), a residual network with a square of z beside it, zero at first.

    Args:
        pixels: of an x; latent: length of z; width: of every layer; blocks: of two layers each.
    """

    def __init__(
        self, pixels: int, latent: int, width: int, blocks: int, generator: Generator
    ) -> None:
        super().__init__()
        self.first = perceptron((pixels + latent, width), generator)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), perceptron((width, width, width), generator, "silu"))
            for _ in range(blocks)
        )
        self.last = perceptron((width, 1), generator, scale=0.1)
        self.square = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """The verdict: [n, *shape], [n, L] -> [n]."""
        h = self.first(torch.cat([x.flatten(1), z], 1))
        for block in self.blocks:
            h = h + block(h)
        verdict: Tensor = self.last(functional.silu(h)).squeeze(1)
        return verdict + self.square * z.square().sum(1)


class FedNetwork(NoiseEncoder):
    """An encoder at rest.

    Args:
        network: from x and noise to z, float64; noise_dim: K.
    """

    def __init__(self, network: nn.Module, noise_dim: int) -> None:
        self.network, self.noise_dim = network, noise_dim

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        z: Tensor = self.network(x.double(), eps)
        return z
