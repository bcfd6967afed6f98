"""Scikit-learn's handwritten digits of 8x8 pixels, binarised anew at every read: real pictures that
need no network.
"""

from __future__ import annotations

from abc import abstractmethod
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
from problems.generative.parts.images import Images, binarised, digits
from problems.parts.validate import require_whole

TEST_SEED = 0  # by which the test pictures are binarised, once and for all


class BinaryImages(GenerativeModel):
    """Grey pictures whose pixels are read as the probabilities of a one; independent bits given z.

    Training pictures are binarised anew at every read, test pictures once.
    """

    latent: int
    hidden: tuple[int, ...]
    activation: Activation

    def __post_init__(self) -> None:
        require_whole(self, latent=1)
        require_perceptron(self)

    @property
    @abstractmethod
    def images(self) -> Images:
        """The pictures of the data set, split into those to learn from and those to judge by."""

    @property
    def latent_dim(self) -> int:
        return self.latent

    @property
    def train(self) -> Tensor:
        return self.images.train

    @property
    def test(self) -> Tensor:
        return binarised(self.images.test, torch.Generator().manual_seed(TEST_SEED))

    def decoder(self, generator: Generator) -> BernoulliDecoder:
        """A perceptron from z to the logits of all pixels."""
        shape = tuple(self.images.test.shape[1:])
        widths = (self.latent, *self.hidden, shape[0] * shape[1])
        return BernoulliDecoder(perceptron(widths, generator, self.activation), self.latent, shape)

    def batch(self, n: int, generator: Generator) -> Tensor:
        return binarised(super().batch(n, generator), generator)


@dataclass(frozen=True)
class Digits(BinaryImages):
    """1,437 digits to train on and 180 to test with, 8x8 pixels.

    Args:
        latent: L, the length of z; hidden: widths of the decoder's hidden layers.
        activation: of the decoder: elu, silu, relu or tanh.

    Raises:
        ValueError: if a field lies outside its range.
    """

    latent: int = 8
    hidden: tuple[int, ...] = (128, 128)
    activation: Activation = "elu"
    name: ClassVar[str] = "digits"

    @property
    def images(self) -> Images:
        return digits()
