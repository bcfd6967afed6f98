"""Values of Stan's variables between a table with a column for every entry and tensors by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# indices of an unconstrained element by its type; one where it is not told
INSIDE = {"real": 0, "int": 0, "matrix": 2, "sum_to_zero_matrix": 2}


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


def laid_out(columns: Sequence[Column], supports: Mapping[str, str]) -> tuple[Column, ...]:
    """Unconstrained coordinates in the order in which Stan reads them: the elements of an array one
    after the other, its last index fastest, and the entries of each column by column.

    Stan names them, wrongly, as if arrays were read with their first index fastest.

    Args:
        columns: as Stan names them; those of a variable stand together.
        supports: the type of each parameter by its name.
    """

    def place(column: Column) -> tuple[int, ...]:
        inside = INSIDE.get(supports.get(column.name, ""), 1)
        cut = len(column.index) - min(inside, len(column.index))
        return (first[column.name], *column.index[:cut], *reversed(column.index[cut:]))

    first: dict[str, int] = {}
    for i, column in enumerate(columns):
        first.setdefault(column.name, i)
    return tuple(sorted(columns, key=place))


def with_lengths(z: Tensor, vectors: Sequence[Sequence[int]]) -> Tensor:
    r"""Coordinates of unit vectors that have a length, drawn from its law: [n, D] -> [n, D].

    Stan's density has :math:`-|z|^2 / 2` for such a vector, so that its length is of the law
    :math:`\chi_K` and independent of all else. The generator is seeded by the rows: the same draws
    get the same lengths, and others get others.

    Args:
        z: with vectors of any length.
        vectors: the places of the K coordinates of each.
    """
    digest = hashlib.sha256(z.contiguous().numpy().tobytes()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    z = z.clone()
    for places in vectors:
        noise = torch.randn(len(z), len(places), generator=generator, dtype=z.dtype)
        length = z[:, places].norm(dim=-1, keepdim=True)
        z[:, places] *= noise.norm(dim=-1, keepdim=True) / length
    return z


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
