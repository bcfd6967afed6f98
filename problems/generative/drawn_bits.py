"""Bits drawn from a decoder that is known and must be learned: the log likelihood of the truth is a
figure to be held to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from problems.generative.base import (
    Activation,
    BernoulliDecoder,
    GenerativeModel,
    perceptron,
    require_perceptron,
)
from problems.generative.fixed_decoder import FixedDecoder
from problems.parts.validate import require_whole


@dataclass(frozen=True)
class DrawnBits(GenerativeModel):
    """The data of ``FixedDecoder``, whose posteriors have up to four modes, with a decoder to
    learn.

    Args:
        repeats: how many bits see each coordinate of z.
        size, held: training and test data; draw: their seed.
        hidden: widths of the decoder's hidden layers; activation: elu, silu, relu or tanh.

    Raises:
        ValueError: if a field lies outside its range.
    """

    repeats: int = 4
    size: int = 4096
    held: int = 256
    draw: int = 0
    hidden: tuple[int, ...] = (64, 64)
    activation: Activation = "elu"
    name: ClassVar[str] = "drawn-bits"

    def __post_init__(self) -> None:
        require_whole(self, repeats=1, size=1, held=1, draw=0)
        require_perceptron(self)

    @property
    def source(self) -> FixedDecoder:
        """The model that draws the data."""
        return FixedDecoder(repeats=self.repeats, size=self.size, held=self.held, draw=self.draw)

    @property
    def latent_dim(self) -> int:
        return self.source.latent_dim

    @property
    def train(self) -> Tensor:
        return self.source.train

    @property
    def test(self) -> Tensor:
        return self.source.test

    @property
    def log_likelihood_of_truth(self) -> Tensor:
        """log p(x) of each test x under the decoder that drew it, nats, [N], good to 1e-6."""
        return self.source.log_likelihood_of_truth

    def decoder(self, generator: Generator) -> BernoulliDecoder:
        """A perceptron from z to the logits of all bits."""
        bits = self.test.shape[1]
        network = perceptron((2, *self.hidden, bits), generator, self.activation)
        return BernoulliDecoder(network, 2, (bits,))
