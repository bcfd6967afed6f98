"""Values of Stan's variables between a table with a column for every entry and tensors by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Column:
    """One entry of a variable.

    Args:
        name: of the variable.
        index: of the entry, from 0; empty for a scalar.
    """

    name: str
    index: tuple[int, ...]

    @property
    def label(self) -> str:
        """As CmdStanPy writes it: ``theta[1,2]``."""
        inside = ",".join(str(i + 1) for i in self.index)
        return f"{self.name}[{inside}]" if self.index else self.name


def columns_of(names: Iterable[str]) -> tuple[Column, ...]:
    """From names such as ``theta.1.2``."""
    parts = [name.split(".") for name in names]
    return tuple(Column(name, tuple(int(i) - 1 for i in index)) for name, *index in parts)


def grouped(table: Tensor, columns: Sequence[Column]) -> dict[str, Tensor]:
    """Tensors by name: [n, columns] -> {name: [n, *shape]}."""
    return {
        name: table[:, places].reshape(len(table), *shape)
        for name, (shape, places) in _places(columns).items()
    }


def flat(
    values: Mapping[str, Tensor], columns: Sequence[Column], supports: Mapping[str, str]
) -> Tensor:
    """The way back, each value put into its support first: {name: [n, *shape]} -> [n, columns]."""
    found = _places(columns)
    rows = len(next(iter(values.values())))
    table = torch.empty(rows, len(columns), dtype=torch.float64)
    for name, (_, places) in found.items():
        value = settled(supports.get(name, ""), values[name].detach().double())
        table[:, places] = value.reshape(rows, len(places))
    return table


def settled(kind: str, x: Tensor) -> Tensor:
    """Values that rounding has moved off their support, put back: [..., *event] -> the same.

    A simplex sums to 1 again, a unit vector and the rows of a correlation's Cholesky factor have
    length 1, sums that are zero are zero, matrices are symmetric, correlations have a diagonal
    of 1.
    """
    if kind == "simplex":
        return x / x.sum(-1, keepdim=True)
    if kind in ("unit_vector", "cholesky_factor_corr"):
        return x / x.square().sum(-1, keepdim=True).sqrt()
    if kind == "sum_to_zero_vector":
        return x - x.mean(-1, keepdim=True)
    if kind == "sum_to_zero_matrix":
        x = x - x.mean(-1, keepdim=True)
        return x - x.mean(-2, keepdim=True)
    if kind in ("cov_matrix", "corr_matrix"):
        x = 0.5 * (x + x.mT)
        if kind == "corr_matrix":
            x = x - torch.diag_embed(x.diagonal(dim1=-2, dim2=-1) - 1)
    return x


def _places(columns: Sequence[Column]) -> dict[str, tuple[tuple[int, ...], list[int]]]:
    """The shape of each variable, and where its entries are, the last index fastest."""
    entries: dict[str, dict[tuple[int, ...], int]] = {}
    for place, column in enumerate(columns):
        entries.setdefault(column.name, {})[column.index] = place
    return {
        name: (
            tuple(1 + max(sizes) for sizes in zip(*found, strict=True)),
            [found[index] for index in sorted(found)],
        )
        for name, found in entries.items()
    }
