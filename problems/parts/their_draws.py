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

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from problems.parts.stan import CompiledProgram

STEPS = 30  # of Newton's method
STEP = 1e-6  # of finite differences, beside the size of a coordinate
CLOSE = 1e-6  # relative distance at which a stored value is met: decimals are rounded
BLOCKS = 5  # of a chain, far longer than what its draws remember
RATE = 1e-6  # chance of refusing draws that are right


class UnusableDrawsError(Exception):
    """Draws that cannot be a truth; the message says why."""


def arranged(chains: list[Mapping[str, list[float]]]) -> dict[str, Tensor]:
    """Columns ``theta[1]`` of chains as tensors by name: {name: [chains, draws, *shape]}.

    Raises:
        UnusableDrawsError: if chains differ in their columns or lengths.
    """
    columns = list(chains[0]) if chains else []
    if not columns or any(list(chain) != columns for chain in chains):
        raise UnusableDrawsError("the chains do not have the same columns")
    table = {c: np.array([chain[c] for chain in chains], dtype=np.float64) for c in columns}
    if len({values.shape for values in table.values()}) != 1:
        raise UnusableDrawsError("the chains are not of one length")
    places: dict[str, dict[tuple[int, ...], str]] = {}
    for column in columns:
        name, _, rest = column.partition("[")
        index = tuple(int(i) - 1 for i in rest.rstrip("]").split(",")) if rest else ()
        places.setdefault(name, {})[index] = column
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


def unconstrained(program: CompiledProgram, stored: Mapping[str, Tensor]) -> Tensor:
    """Draws in unconstrained coordinates: {name: [n, *shape]} -> [n, D].

    Raises:
        UnusableDrawsError: if a parameter is neither stored nor determined by what is.
    """
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
    if not bool(z.isfinite().all()):
        raise UnusableDrawsError("some draws have no unconstrained coordinates")
    _must_come_back(program, z, stored)
    return z


def _solved(
    program: CompiledProgram, z: Tensor, stored: Mapping[str, Tensor], missing: list[str]
) -> Tensor:
    """Newton's method on the coordinates of parameters that are not stored."""
    free = [i for i, name in enumerate(program.coordinates) if name.split("[")[0] in missing]
    known = [name for name in program.constrain(z[:1]) if name in stored]
    if not known:
        raise UnusableDrawsError(f"{', '.join(missing)} are not stored")
    target = _table(stored, known, len(z))
    for _ in range(STEPS):
        away = target - _table(program.constrain(z), known, len(z))
        if bool((away.abs() <= 1e-12 * target.abs().clamp(min=1.0)).all()):
            break
        slopes = []
        for i in free:
            step = STEP * z[:, i].abs().clamp(min=1.0)
            ahead = z.clone()
            ahead[:, i] += step
            moved = _table(program.constrain(ahead), known, len(z)) - (target - away)
            slopes.append(moved / step.unsqueeze(-1))
        slope = torch.stack(slopes, -1)  # [n, stored, free]
        if int(torch.linalg.matrix_rank(slope[:1], rtol=1e-8).min()) < len(free):
            raise UnusableDrawsError(
                f"{', '.join(missing)} are not stored, and what is stored does not determine them"
            )
        z = z.clone()
        z[:, free] += torch.linalg.lstsq(slope, away.unsqueeze(-1)).solution.squeeze(-1)
    return z


def _table(values: Mapping[str, Tensor], names: list[str], rows: int) -> Tensor:
    return torch.cat([values[name].reshape(rows, -1) for name in names], -1)


def _must_come_back(program: CompiledProgram, z: Tensor, stored: Mapping[str, Tensor]) -> None:
    again = program.constrain(z)
    for name, value in stored.items():
        if name in again:
            told = value.reshape(len(z), -1)
            away = (again[name].reshape(len(z), -1) - told).abs() / told.abs().clamp(min=1.0)
            if not bool(((away < CLOSE) | told.isnan()).all()):  # entries that are not stored
                raise UnusableDrawsError(
                    f"{name} does not come back from unconstrained coordinates: off by"
                    f" {float(away.max()):.2g}"
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
