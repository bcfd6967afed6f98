"""Chains from files, checked and brought to the unconstrained coordinates of a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.errors import UserError
from bench.outside.arrays import WHOLE, read_netcdf, read_npz, read_parquet
from bench.outside.columns import Key, header, key_of, keys, matched, shapes
from bench.outside.series import Series
from bench.outside.text import read_csv
from problems.base import Problem

READERS: dict[str, Callable[[Path], list[Series]]] = {
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".npz": read_npz,
    ".nc": read_netcdf,
    ".netcdf": read_netcdf,
}
NETCDF = (".nc", ".netcdf")
FEW_DIGITS = 6  # significant digits below which a file has lost precision
BACK = 1e-6  # relative difference of values that were carried there and back


@dataclass(frozen=True, eq=False)
class Judged:
    """Draws from files, ready to be measured.

    Args:
        chains: [chains, draws, D], unconstrained, float64.
        remarks: what a reader should know of the files, in sentences.
        divergences: divergent transitions, where all files count them.
    """

    chains: Tensor
    remarks: tuple[str, ...]
    divergences: int | None


def read(files: Sequence[Path], group: str = "", *, unconstrained: bool = False) -> list[Series]:
    """Every chain of every file, in order.

    Args:
        files: to read.
        group: of a netCDF file, in which its group ``posterior`` lies; empty for the root.
        unconstrained: whether coordinates are wanted, where a file holds both.

    Raises:
        UserError: names the file, and the row and column, of what cannot be read.
    """
    found = []
    for file in files:
        kind = file.suffix.lower()
        reader = READERS.get(kind)
        if reader is None:
            raise UserError(
                f"{file}: draws are read from {', '.join(READERS)}; this is none of them."
            )
        if not file.is_file():
            raise UserError(f"There is no file {file}.")
        if kind in NETCDF:
            found += read_netcdf(file, group, unconstrained=unconstrained)
        elif group:
            raise UserError(f"--group {group!r}: {file} is no netCDF file, and has no groups.")
        else:
            found += reader(file)
    return found


def judged(
    files: Sequence[Path],
    problem: Problem,
    *,
    unconstrained: bool = False,
    spare: bool = False,
    group: str = "",
) -> Judged:
    """The draws of some files in the coordinates of a problem.

    Args:
        files: CSV, Parquet, .npz or netCDF; each holds one chain or several.
        problem: whose parameters the columns are.
        unconstrained: whether columns are the coordinates themselves, ``z[1]`` and so on or by
            their labels, or in .npz the array ``draws`` [chains, draws, D].
        spare: whether columns of other names are passed over.
        group: of a netCDF file, in which its group ``posterior`` lies; empty for the root.

    Raises:
        UserError: if a column is missing or unknown, a value is not finite or outside its support,
            or chains are not of one length.
    """
    series = read(files, group, unconstrained=unconstrained)
    _must_be_as_long(series)
    convert = _coordinates if unconstrained else _unconstrained
    chains = torch.stack([convert(each, problem, spare) for each in series])
    counts = [each.divergences for each in series]
    known = [count for count in counts if count is not None]
    return Judged(
        chains,
        tuple(_remarks(series, chains)),
        sum(known) if len(known) == len(counts) else None,
    )


def _must_be_as_long(series: Sequence[Series]) -> None:
    longest = max(series, key=len)
    for each in series:
        if len(each) != len(longest):
            raise UserError(
                f"{each.title} has {len(each)} draws, {longest.title} has {len(longest)}; chains"
                " must be of one length."
            )


def _coordinates(series: Series, problem: Problem, spare: bool) -> Tensor:
    """Draws [n, D] from columns that are the coordinates."""
    labels = [key_of(label) for label in problem.coordinates]
    if {key_of(column)[0] for column in series.columns} & {"z", WHOLE}:
        name = key_of(next(iter(series.columns)))[0]
        labels = [(name, (i + 1,)) for i in range(problem.dim)]
    wanted: dict[str, tuple[int, ...]] = {}
    for name, at in labels:
        most = tuple(map(max, zip(wanted.get(name, at), at, strict=True)))
        wanted[name] = most
    found = matched(list(series.columns), wanted, str(series.file), spare=spare)
    return torch.stack([_finite(series, found[label]) for label in labels], -1)


def _unconstrained(series: Series, problem: Problem, spare: bool) -> Tensor:
    """Draws [n, D] from columns in the model's own units."""
    wanted = shapes(problem)
    found = matched(list(series.columns), wanted, str(series.file), spare=spare)
    values = {
        name: torch.stack(
            [_finite(series, column) for (of, _), column in found.items() if of == name], -1
        ).reshape(len(series), *shape)
        for name, shape in wanted.items()
    }
    z = _carried(problem, values)
    if z is None:
        row = _first_refused(problem, values)
        raise UserError(_outside(series, problem, values, found, row))
    if (bad := _first_infinite(z)) is not None:
        raise UserError(_outside(series, problem, values, found, bad))
    _must_come_back(series, problem, values, z, found)
    return z


def _finite(series: Series, column: str) -> Tensor:
    values = series.columns[column]
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise UserError(
            f"{series.at(int(bad[0]))}, column {column!r}: {values[bad[0]]:g} is no finite number;"
            f" {len(bad)} of {len(values)} draws are not."
        )
    return torch.from_numpy(np.ascontiguousarray(values))


def _carried(problem: Problem, values: Mapping[str, Tensor]) -> Tensor | None:
    """Values in unconstrained coordinates; None where the problem refuses them."""
    try:
        with torch.no_grad():
            return problem.unconstrain(values).double()
    except ValueError:
        return None


def _first_infinite(z: Tensor) -> int | None:
    """The first of the rows [n, D] that is not finite; None where all are."""
    bad = (~z.isfinite().all(-1)).nonzero()
    return int(bad[0]) if len(bad) else None


def _first_refused(problem: Problem, values: Mapping[str, Tensor]) -> int:
    """The first draw outside the support, by halving."""
    low, high = 0, len(next(iter(values.values())))
    while high - low > 1:
        middle = (low + high) // 2
        part = {name: value[low:middle] for name, value in values.items()}
        found = _carried(problem, part)
        low, high = (low, middle) if found is None else (middle, high)
    return low


def _outside(
    series: Series,
    problem: Problem,
    values: Mapping[str, Tensor],
    found: Mapping[Key, str],
    row: int,
) -> str:
    """What is said of a draw outside the support: its place, and the problem's own reason."""
    reason = "it has no unconstrained coordinates"
    try:
        problem.unconstrain({name: value[row : row + 1] for name, value in values.items()})
    except ValueError as error:
        reason = str(error)
    named = next((column for (name, _), column in found.items() if repr(name) in reason), None)
    place = f", column {named!r}" if named else ""
    return f"{series.at(row)}{place}: the draw lies outside the support: {reason}"


def _must_come_back(
    series: Series,
    problem: Problem,
    values: Mapping[str, Tensor],
    z: Tensor,
    found: Mapping[Key, str],
) -> None:
    """Values that depend on one another, as theta on mu and tau, must agree."""
    with torch.no_grad():
        again = problem.constrain(z)
    for name, value in values.items():
        told, made = value.reshape(len(z), -1), again[name].reshape(len(z), -1)
        away = (made - told).abs() / told.abs().clamp(min=1.0) > BACK
        if bool(away.any()):
            row, entry = (int(i) for i in away.nonzero()[0])
            column = [c for (of, _), c in found.items() if of == name][entry]
            raise UserError(
                f"{series.at(row)}, column {column!r}: {float(told[row, entry]):g} does not agree"
                f" with the other columns, which make it {float(made[row, entry]):g}."
            )


def _remarks(series: Sequence[Series], chains: Tensor) -> list[str]:
    """What the files say of themselves that a reader should know."""
    said = []
    rows = chains.flatten(0, 1)
    for i, each in enumerate(series):
        if len(each) > 1 and bool((chains[i] == chains[i, 0]).all()):
            said.append(f"{each.title} never moves: all its draws are the same.")
        if each.digits is not None and each.digits < FEW_DIGITS:
            said.append(
                f"{each.title} is written with {each.digits} significant digits at most; with fewer"
                f" than {FEW_DIGITS} figures that rest on near draws are off."
            )
    different = len(torch.unique(rows, dim=0))
    within = sum(len(torch.unique(chain, dim=0)) for chain in chains)
    if different < within:
        said.append(
            f"{within - different} of {within} different draws stand in more than one chain: chains"
            " that are copies say no more than one of them."
        )
    return said


def expected_header(problem: Problem) -> list[str]:
    """The columns that files of a problem's draws are expected to have."""
    return header(keys(shapes(problem)))
