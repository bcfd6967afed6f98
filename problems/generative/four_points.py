"""Four points, one bit each: the smallest data on which a Gaussian encoder leaves holes between the
codes, and the optimum is known, log p(x) = -log 4.

Source: L. Mescheder, S. Nowozin, A. Geiger, Adversarial Variational Bayes, ICML 2017,
arXiv:1701.04722, the synthetic example.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.generative.base import (
    Activation,
    BernoulliDecoder,
    GenerativeModel,
    perceptron,
    require_perceptron,
)
from problems.parts.validate import require_whole

POINTS = 4


@dataclass(frozen=True)
class FourPoints(GenerativeModel):
    """x is one of four one-hot vectors, all equally often; four independent bits given z.

    Args:
        latent: L, the length of z.
        hidden: widths of the decoder's hidden layers.
        activation: of the decoder: elu, silu, relu or tanh.

    Raises:
        ValueError: if a field lies outside its range.
    """

    latent: int = 2
    hidden: tuple[int, ...] = (64, 64, 64)
    activation: Activation = "elu"
    name: ClassVar[str] = "four-points"

    def __post_init__(self) -> None:
        require_whole(self, latent=1)
        require_perceptron(self)

    @property
    def latent_dim(self) -> int:
        return self.latent

    @property
    def train(self) -> Tensor:
        return torch.eye(POINTS)

    @property
    def test(self) -> Tensor:
        return torch.eye(POINTS)

    @property
    def log_likelihood_of_truth(self) -> Tensor:
        """-log 4 of each point."""
        return torch.full((POINTS,), -math.log(POINTS), dtype=torch.float64)

    def decoder(self, generator: Generator) -> BernoulliDecoder:
        widths = (self.latent, *self.hidden, POINTS)
        network = perceptron(widths, generator, self.activation)
        return BernoulliDecoder(network, self.latent, (POINTS,))
