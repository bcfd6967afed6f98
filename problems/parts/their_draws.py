r"""Reference draws that others made, in the model's own units: brought to unconstrained
coordinates, and held against the density.

A stored column is a parameter, or a quantity that the program computes from parameters. Parameters
that are not stored are solved for, row by row, from the quantities that are: by Newton's method on
:math:`t(z) = \text{stored}`, where the program determines them. The draws must then satisfy Stein's
identities :math:`E[\nabla \log p] = 0` and :math:`E[z_i \partial_i \log p] = -1`.

Source of the identities: J. Gorham, L. Mackey, Measuring sample quality with Stein's method, 2015,
arXiv:1506.03039.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from problems.parts.stan import CompiledProgram

STEPS = 30  # of Newton's method
STEP = 1e-6  # of finite differences, beside the size of a coordinate
SETTLED = 1e-12  # of a coordinate: a step after which there is none to take
CELLS = 2_000_000  # numbers of the matrices that are solved at once
CLOSE = 1e-6  # relative distance at which a stored value is met: decimals are rounded
APART = 1e-2  # the same, beside the standard deviation of the draws
COLUMN = re.compile(r"([A-Za-z]\w*)(?:\[(\d+(?:,\d+)*)\])?")
BLOCKS = 5  # of a chain, far longer than what its draws remember
RATE = 1e-6  # chance of refusing draws that are right


class UnusableDrawsError(Exception):
    """Draws that cannot be a truth; the message says why."""


def arranged(chains: Any) -> dict[str, Tensor]:
    """Columns ``theta[1]`` of chains as tensors by name: {name: [chains, draws, *shape]}.

    Args:
        chains: what the file holds: a list of objects, each with a list of numbers for a column.

    Raises:
        UnusableDrawsError: if it is no such list, or chains differ in their columns or lengths.
    """
    if not isinstance(chains, list) or not all(isinstance(chain, dict) for chain in chains):
        raise UnusableDrawsError("the file holds no list of chains")
    columns = sorted(chains[0]) if chains else []
    if not columns or any(sorted(chain) != columns for chain in chains):
        raise UnusableDrawsError("the chains do not have the same columns")
    table = _table_of(chains, columns)
    places: dict[str, dict[tuple[int, ...], str]] = {}
    for column in columns:
        form = COLUMN.fullmatch(column)
        if form is None:
            raise UnusableDrawsError(f"{column!r} is no name of a column, such as theta[1]")
        index = tuple(int(i) - 1 for i in form[2].split(",")) if form[2] else ()
        if len({len(at) for at in (*places.get(form[1], ()), index)}) > 1 or -1 in index:
            raise UnusableDrawsError(f"the columns of {form[1]!r} have no shape")
        places.setdefault(form[1], {})[index] = column
    found = {}
    for name, entries in places.items():
        shape = tuple(max(at) + 1 for at in zip(*entries, strict=True))
        first = next(iter(table.values()))
        whole = np.full((*first.shape, *shape), np.nan)
        for index, column in entries.items():
            place: Any = (slice(None), slice(None), *index)
            whole[place] = table[column]
        found[name] = torch.from_numpy(whole)
    return found


def _table_of(chains: list[dict[str, Any]], columns: list[str]) -> dict[str, Any]:
    """Every column as an array [chains, draws].

    Raises:
        UnusableDrawsError: if it is no list of numbers, or chains are not of one length.
    """
    if not all(isinstance(chain[c], list) for chain in chains for c in columns):
        raise UnusableDrawsError("the file holds no list of numbers for each column")
    lengths = sorted({len(chain[c]) for chain in chains for c in columns})
    if len(lengths) > 1 or not lengths[0]:
        counts = ", ".join(map(str, lengths))
        raise UnusableDrawsError(f"the chains are not of one length: there are {counts} draws")
    try:
        return {c: np.array([chain[c] for chain in chains], dtype=np.float64) for c in columns}
    except (TypeError, ValueError):
        raise UnusableDrawsError("the chains hold something that is no number") from None


def unconstrained(program: CompiledProgram, stored: Mapping[str, Tensor]) -> Tensor:
    """Draws in unconstrained coordinates: {name: [n, *shape]} -> [n, D].

    Raises:
        UnusableDrawsError: if a parameter is neither stored nor determined by what is.
    """
    _must_be_whole(program, stored)
    rows = len(next(iter(stored.values())))
    start = program.constrain(torch.zeros(1, len(program.coordinates), dtype=torch.float64))
    missing = [name for name in program.shapes if name not in stored]
    values = {
        name: stored[name].reshape(rows, *shape)
        if name in stored
        else start[name].expand(rows, *shape)
        for name, shape in program.shapes.items()
    }
    z = program.unconstrain(values)
    if missing:
        z = _solved(program, z, stored, missing)
    if bad := int((~z.isfinite().all(-1)).sum()):
        where = program.coordinates[int((~z.isfinite()).sum(0).argmax())]
        raise UnusableDrawsError(
            f"{bad} of {rows} draws have no unconstrained coordinates, at {where}: they lie on the"
            " edge of their support, or outside"
        )
    _must_come_back(program, z, stored)
    return z


def _must_be_whole(program: CompiledProgram, stored: Mapping[str, Tensor]) -> None:
    """All entries of a parameter are stored, or none.

    Raises:
        UnusableDrawsError: where that is not so.
    """
    for name, shape in program.shapes.items():
        if name in stored:
            found = tuple(stored[name].shape[1:])
            if found != shape or bool(stored[name].isnan().any()):
                raise UnusableDrawsError(
                    f"{name} has the shape {list(shape)} in the program; what is stored of it is"
                    f" {list(found)}, or lacks entries"
                )


def _solved(
    program: CompiledProgram, z: Tensor, stored: Mapping[str, Tensor], missing: list[str]
) -> Tensor:
    """Newton's method on the coordinates of parameters that are not stored."""
    free = [i for i, name in enumerate(program.coordinates) if name.split("[")[0] in missing]
    made = program.constrain(z[:1])
    known = [n for n in made if n in stored and made[n].shape[1:] == stored[n].shape[1:]]
    if not known:
        raise UnusableDrawsError(f"{', '.join(missing)} are not stored")
    target = _table(stored, known, len(z))
    slope, _ = _slopes(program, z[:1], known, free, target[:1])
    if int(torch.linalg.matrix_rank(slope, rtol=1e-8).min()) < len(free):
        raise UnusableDrawsError(
            f"{', '.join(missing)} are not stored, and what is stored does not determine them"
        )
    count = max(1, CELLS // (target.shape[1] * len(free)))
    parts = zip(torch.split(z, count), torch.split(target, count), strict=True)
    return torch.cat([_newton(program, part, known, free, aim) for part, aim in parts])


def _newton(
    program: CompiledProgram, z: Tensor, known: list[str], free: list[int], target: Tensor
) -> Tensor:
    """Rows [n, D] whose quantities ``known`` are those of the target, as near as steps go."""
    for _ in range(STEPS):
        slope, away = _slopes(program, z, known, free, target)
        if bool((away.abs() <= 1e-12 * target.abs().clamp(min=1.0)).all()):
            break
        step = torch.linalg.lstsq(slope, away.unsqueeze(-1)).solution.squeeze(-1)
        z = z.clone()
        z[:, free] += step
        if bool((step.abs() <= SETTLED * z[:, free].abs().clamp(min=1.0)).all()):
            break
    return z


def _slopes(
    program: CompiledProgram, z: Tensor, known: list[str], free: list[int], target: Tensor
) -> tuple[Tensor, Tensor]:
    """Derivatives by the free coordinates, [n, stored, free], and what is missing to the target."""
    here = _table(program.constrain(z), known, len(z))
    slopes = []
    for i in free:
        step = STEP * z[:, i].abs().clamp(min=1.0)
        ahead = z.clone()
        ahead[:, i] += step
        slopes.append((_table(program.constrain(ahead), known, len(z)) - here) / step.unsqueeze(-1))
    return torch.stack(slopes, -1), target - here


def _table(values: Mapping[str, Tensor], names: list[str], rows: int) -> Tensor:
    return torch.cat([values[name].reshape(rows, -1) for name in names], -1)


def _must_come_back(program: CompiledProgram, z: Tensor, stored: Mapping[str, Tensor]) -> None:
    """What is stored must be what the program makes of the coordinates, as far as decimals go: a
    share of a draw's own size, or a small share of how far draws are apart.
    """
    again = program.constrain(z)
    for name, value in stored.items():
        if name not in again:
            continue
        told, made = value.reshape(len(z), -1), again[name].reshape(len(z), -1)
        if told.shape != made.shape:
            raise UnusableDrawsError(
                f"{name} has the shape {list(again[name].shape[1:])} in the program; what is stored"
                f" of it is {list(value.shape[1:])}"
            )
        allowed = torch.maximum(CLOSE * told.abs().clamp(min=1.0), APART * told.std(0))
        away = (made - told).abs()
        if not bool(((away <= allowed) | told.isnan()).all()):  # entries that are not stored
            worst = float((away / allowed).nan_to_num(0.0).max())
            raise UnusableDrawsError(
                f"{name} does not come back from unconstrained coordinates: it is"
                f" {worst:.2g} times as far off as rounding could bring it"
            )


def stein_fault(program: CompiledProgram, chains: Tensor) -> str:
    """Which of Stein's identities draws [chains, draws, D] break; empty where they hold.

    The means of blocks of each chain count as independent figures; each identity is a t test on
    them.
    """
    chains = chains[:, : chains.shape[1] // BLOCKS * BLOCKS].reshape(
        len(chains) * BLOCKS, -1, chains.shape[2]
    )
    many, _, dim = chains.shape
    value, score = program.value_and_grad(chains.reshape(-1, dim))
    if not bool(value.isfinite().all()):
        return f"the density is not finite at {int((~value.isfinite()).sum())} of the draws"
    centre = chains.mean((0, 1))
    score = score.reshape(chains.shape)
    figures = torch.cat([score, (chains - centre) * score + 1], -1).mean(1)  # [blocks, 2 D]
    t = figures.mean(0) / (figures.std(0) / many**0.5).clamp(min=1e-300)
    limit = float(stats.t.isf(RATE / (4 * dim), many - 1))
    worst = int(t.abs().argmax())
    if float(t.abs()[worst]) <= limit:
        return ""
    coordinate = program.coordinates[worst % dim]
    return (
        f"the draws do not fit the density at {coordinate}: a mean that must vanish is"
        f" {float(t.abs()[worst]):.1f} standard errors from 0"
    )
