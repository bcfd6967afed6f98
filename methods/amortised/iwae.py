r"""The importance weighted autoencoder: a bound that rises towards log p(x) with the number of
draws for each x.

.. math::
    L_k = E\, \log \frac1k \sum_{i=1}^k \frac{p_\theta(x, z_i)}{q_\phi(z_i \mid x)}, \quad
    z_i \sim q_\phi(z \mid x) = N(m(x), S(x) S(x)^\top)

The decoder is fitted more closely as k grows; the encoder is taught to cover what it must weigh,
and by itself may be further from the posterior than a VAE's.

Source: Y. Burda, R. Grosse, R. Salakhutdinov, Importance weighted autoencoders, 2016,
arXiv:1509.00519.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from methods.amortised.base import Learned, Learner, TrainingData
from methods.amortised.training import Course, Flat, Player, checked, decayed
from methods.amortised.vae import GaussianNetwork, Moments, encoder_network
from methods.base import Budget
from methods.parts.device import present
from methods.parts.validate import require
from problems.generative.base import Decoder
from problems.generative.parts.latent_grid import log_prior


@dataclass(frozen=True)
class IWAE(Learner):
    """A Gaussian encoder and the decoder step together by Adam on the importance weighted bound.

    Args:
        k: draws of z for each x.
        full: whether the Gaussians have a full covariance, or independent coordinates.
        iterations: steps, where the budget allows as many; batch: data points of each.
        hidden: widths of the encoder's hidden layers, ELU.
        lr: Adam's step size; beta1: its memory of the gradient.
        final_lr: share of the step size left at the end of its cosine decay; 1 for none.
        clip: largest norm of the gradient.
        average: memory of the averaged weights that are yielded, per iteration; 0 for the newest.
        every: iterations between two checkpoints.
        device: cpu or cuda, where the networks are trained; random numbers are the same on both.

    Raises:
        ValueError: if a field lies outside its range.
        NotApplicableError: from ``run``, if the device is not here.
        FloatingPointError: from ``run``, if the training diverges.
    """

    k: int = 8
    full: bool = False
    iterations: int = 10_000
    batch: int = 64
    hidden: tuple[int, ...] = (64, 64, 64)
    lr: float = 1e-3
    beta1: float = 0.9
    final_lr: float = 0.01
    clip: float = 100.0
    average: float = 0.99
    every: int = 50
    device: str = "cpu"
    name: ClassVar[str] = "iwae"
    source: ClassVar[str] = "Y. Burda, R. Grosse, R. Salakhutdinov, 2016, arXiv:1509.00519"

    def __post_init__(self) -> None:
        checked(self)
        require(self, "k", self.k >= 1, "be at least 1")

    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Learned]:
        decoder = model.decoder(generator)
        network = encoder_network(model, self.hidden, self.full, generator)
        bound = Flat(
            Weighted(Moments(network, model.latent_dim, self.full), decoder), present(self)
        )
        player = Player(bound, bound, beta1=self.beta1, clip=self.clip, average=self.average)

        def play(progress: float) -> None:
            x = model.batch(self.batch, generator)
            eps = torch.randn(self.k, self.batch, model.latent_dim, generator=generator)
            model.charge(self.batch * self.k)
            player.step(decayed(self.lr, progress, self.final_lr), x, eps)

        def learned() -> Learned:
            rest = player.at_rest()
            return Learned(rest.decoder, GaussianNetwork(rest.moments))

        course = Course(self, model, budget, generator, self.batch * self.k, player=player)
        yield from course.run(play, learned)


class Weighted(nn.Module):
    """Minus the importance weighted bound, nats, a mean over the rows: the loss of an IWAE."""

    def __init__(self, moments: Moments, decoder: Decoder) -> None:
        super().__init__()
        self.moments, self.decoder = moments, decoder

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        """At x, [n, *shape], with noise eps, [k, n, L]: []."""
        loc, factor = self.moments(x)
        z = loc + (factor @ eps.unsqueeze(-1)).squeeze(-1)
        log_q = log_prior(eps) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_weight = self.decoder.log_likelihood(x, z) + log_prior(z) - log_q
        bound: Tensor = log_weight.logsumexp(0).mean() - math.log(len(eps))
        return -bound
