"""The two small data sets that ship with the suite, standardised: nothing to download and nothing
to install.

Where they come from stands in ``problems/data/README.md``. A certified reference holds for one set
of numbers, to the last digit, so they are kept here rather than taken from whatever version of
another package is about.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "data"


@dataclass(frozen=True, eq=False)
class Table:
    """Inputs and outcome of a regression.

    Args:
        names: of the columns, K.
        inputs: [N, K], each column with mean 0 and standard deviation 1 (N in the denominator).
        outcome: [N], as measured.
    """

    names: tuple[str, ...]
    inputs: Tensor
    outcome: Tensor


@functools.cache
def table(name: str) -> Table:
    """Read a table that ships with the suite, ``breast_cancer`` or ``diabetes``."""
    text = (FOLDER / f"{name}.csv").read_text(encoding="utf-8")
    names, *rows = csv.reader(text.splitlines())
    values = torch.tensor([[float(entry) for entry in row] for row in rows], dtype=torch.float64)
    return Table(tuple(names[:-1]), standardised(values[:, :-1]), values[:, -1])


def standardised(columns: Tensor) -> Tensor:
    """Columns shifted and scaled to mean 0 and standard deviation 1: [N, ...] -> [N, ...]."""
    return (columns - columns.mean(0)) / columns.std(0, correction=0)
