r"""The variational autoencoder: a Gaussian encoder, learned with the decoder by the evidence lower
bound.

.. math::
    L(\theta, \phi) = E_{q_\phi(z \mid x)} \log p_\theta(x \mid z)
    - KL(q_\phi(z \mid x) \,\|\, N(0, I)), \quad
    q_\phi(z \mid x) = N(m(x), S(x) S(x)^\top)

The divergence is in closed form; the likelihood is taken at one draw for each x. Without a decoder
to learn it is amortised Gaussian variational inference.

Source: D. P. Kingma, M. Welling, Auto-encoding variational Bayes, 2014, arXiv:1312.6114.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from methods.amortised.base import GaussianEncoder, Learned, Learner, TrainingData
from methods.amortised.training import Course, Flat, Player, checked, decayed
from methods.base import Budget
from methods.parts.device import present
from problems.generative.base import Decoder, perceptron


@dataclass(frozen=True)
class VAE(Learner):
    """A Gaussian encoder and the decoder step together by Adam.

    Args:
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

    The authors' settings for four points: ``VAE(iterations=100_000, batch=512, lr=2e-5,
    final_lr=1, average=0, clip=1e6)``.
    """

    full: bool = False
    iterations: int = 10_000
    batch: int = 128
    hidden: tuple[int, ...] = (64, 64, 64)
    lr: float = 1e-3
    beta1: float = 0.9
    final_lr: float = 0.01
    clip: float = 100.0
    average: float = 0.99
    every: int = 50
    device: str = "cpu"
    name: ClassVar[str] = "vae"
    source: ClassVar[str] = "D. P. Kingma, M. Welling, 2014, arXiv:1312.6114"

    def __post_init__(self) -> None:
        checked(self)

    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Learned]:
        decoder = model.decoder(generator)
        latent = model.latent_dim
        network = encoder_network(model, self.hidden, self.full, generator)
        bound = Flat(NegativeELBO(Moments(network, latent, self.full), decoder), present(self))
        player = Player(bound, bound, beta1=self.beta1, clip=self.clip, average=self.average)

        def play(progress: float) -> None:
            x = model.batch(self.batch, generator)
            eps = torch.randn(self.batch, latent, generator=generator)
            model.charge(self.batch)
            player.step(decayed(self.lr, progress, self.final_lr), x, eps)

        def learned() -> Learned:
            rest = player.at_rest()
            return Learned(rest.decoder, GaussianNetwork(rest.moments))

        course = Course(self, model, budget, generator, self.batch, player=player)
        yield from course.run(play, learned)


def encoder_network(
    model: TrainingData, hidden: tuple[int, ...], full: bool, generator: Generator
) -> nn.Module:
    """A network from x to what ``Moments`` makes of it."""
    pixels, latent = math.prod(model.train.shape[1:]), model.latent_dim
    outputs = latent + (latent * (latent + 1) // 2 if full else latent)
    return perceptron((pixels, *hidden, outputs), generator)


class Moments(nn.Module):
    """Mean and factor of the covariance of q(z | x), [N, *shape] -> [N, L], [N, L, L].

    Args:
        network: from x to the mean, the log of the factor's diagonal, and the entries below it.
        latent_dim: L; full: whether there are entries below the diagonal.
    """

    def __init__(self, network: nn.Module, latent_dim: int, full: bool) -> None:
        super().__init__()
        self.network, self.latent_dim, self.full = network, latent_dim, full
        # masks and not indices, which could not be recorded; row by row, as they are laid out
        below = torch.ones(latent_dim, latent_dim).tril(-1)
        place = below.new_zeros(int(below.sum()), latent_dim, latent_dim)
        place[torch.arange(len(place)), *below.nonzero().T] = 1.0
        self.register_buffer("place", place)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and Cholesky factors of q(z|x) for each row of x."""
        parts = self.network(x.flatten(1))
        loc, log_scale = parts[:, : self.latent_dim], parts[:, self.latent_dim :]
        factor = torch.diag_embed(log_scale[:, : self.latent_dim].exp())
        if self.full:
            below = log_scale[:, self.latent_dim :]
            factor = factor + torch.einsum("nk,kij->nij", below, self.place)
        return loc, factor


class NegativeELBO(nn.Module):
    """Minus the evidence lower bound, nats, a mean over the rows: the loss of a VAE."""

    def __init__(self, moments: Moments, decoder: Decoder) -> None:
        super().__init__()
        self.moments, self.decoder = moments, decoder

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        """At x, [n, *shape], with noise eps, [n, L]: []."""
        loc, factor = self.moments(x)
        z = loc + (factor @ eps.unsqueeze(-1)).squeeze(-1)
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        square = factor.square().sum((-2, -1)) + loc.square().sum(-1)
        divergence = 0.5 * (square - loc.shape[1]) - log_det
        loss: Tensor = (divergence - self.decoder.log_likelihood(x, z)).mean()
        return loss


class GaussianNetwork(GaussianEncoder):
    """A Gaussian encoder at rest.

    Args:
        network: the moments, float64.
    """

    def __init__(self, network: Moments) -> None:
        self.network = network

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.network(x.double())
        return found
