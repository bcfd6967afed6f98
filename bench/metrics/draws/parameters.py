"""Draws in the model's own units: every named parameter that varies, entry by entry, a column each.

A diagonal of ones or a triangle of zeros is no quantity, and a symmetric matrix has each of its
entries once, by the name below the diagonal.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Skipped, kept
from bench.metrics.draws import tails
from bench.metrics.draws.samples import thinned, unfit
from problems.base import Problem

ROWS = 10_000  # draws that are carried over at once
KEPT, KEPT_ROWS = 200, 4000  # columns and draws that pictures are given at most
KEPT_ONE_BY_ONE = 1000  # draws, of a model that carries them over row by row
HEAD = 1000  # draws by which two columns are told apart
ROUNDING = 1e-12  # of its size: what a constant may vary by
SAME = (
    "The model's own parameters are the problem's coordinates: the metric without _constrained"
    " measures them."
)


Named = tuple[list[str], Tensor]  # names of columns, and draws of them, [n, K]


@dataclass(frozen=True, eq=False)
class Parameters:
    """The quantities of a problem in its own units, and draws of them.

    Args:
        draws: [n, K] of q; truth: [m, K].
        names: of the K, such as ``tau`` or ``Omega[2,1]``.
        chosen: their columns among all entries of all parameters, [K].
        heavy: which of them have no standard deviation, [K].
    """

    draws: Tensor
    truth: Tensor
    names: tuple[str, ...]
    chosen: Tensor
    heavy: Tensor


def columns(problem: Problem, z: Tensor) -> tuple[list[str], Tensor]:
    """The names of all entries of all parameters, and their draws, float64: [n, D] -> [n, K]."""
    parts, names = [], []
    with torch.no_grad():
        for block in torch.split(z, ROWS):
            values = problem.constrain(block)
            names = _names(values, len(block))
            flat = [value.reshape(len(block), -1).double() for value in values.values()]
            parts.append(torch.cat(flat, 1))
    return names, torch.cat(parts)


@kept
def parameters(comparison: Comparison) -> Parameters | Skipped:
    """Both samples in the model's own units, or why they cannot be compared there."""
    problem, z = comparison.problem, comparison.truth
    names, truth = columns(problem, z)
    _, draws = columns(problem, comparison.draws)
    if (refused := unfit(draws, truth)) is not None:
        return Skipped(f"In the model's own units: {refused.reason}")
    chosen = varied(names, truth)
    if not chosen:
        return Skipped("No parameter of the model varies in the draws of the truth.")
    places = torch.tensor(chosen)
    draws, truth = draws[:, places], truth[:, places]
    same = _same(truth, z)
    if bool(same.all()):
        return Skipped(SAME)
    heavy = tails.heavy(truth)
    if problem.moments is not None:  # what is known of a coordinate is known of its parameter
        heavy = torch.where(same, torch.tensor(problem.moments <= 2), heavy)
    return Parameters(draws, truth, tuple(names[k] for k in chosen), places, heavy)


class OwnUnits:
    """Carries draws of a problem to the model's own units, some of them, for pictures.

    Args:
        problem: whose draws they are.
        truth: [m, D]: which parameters vary is seen in them.
    """

    def __init__(self, problem: Problem, truth: Tensor) -> None:
        self.problem, self._most = problem, KEPT_ROWS if problem.batched else KEPT_ONE_BY_ONE
        z = thinned(truth, self._most)
        names, found = columns(problem, z)
        self._places = torch.tensor(varied(names, found)[:KEPT], dtype=torch.long)
        self._names = [names[k] for k in self._places.tolist()]
        self._truth = found[:, self._places]
        self._same = not self._names or bool(_same(self._truth, z).all())

    @property
    def truth(self) -> Named | None:
        """Names of columns and draws of the truth, [m, K]; None where the parameters are the
        coordinates themselves.
        """
        return None if self._same else (self._names, self._truth)

    def of(self, draws: Tensor) -> Named | None:
        """The same of draws of q, [n, D]."""
        if self._same:
            return None
        carried = columns(self.problem, thinned(draws, self._most))[1]
        return self._names, carried[:, self._places]


def _same(truth: Tensor, z: Tensor) -> Tensor:
    """Which columns of [m, K] are coordinates, columns of [m, D]: [K]."""
    known = {_key(z[:, j]) for j in range(z.shape[1])}
    return torch.tensor([_key(truth[:, k]) in known for k in range(truth.shape[1])])


def varied(names: list[str], truth: Tensor) -> list[int]:
    """The columns of [m, K] that are quantities: not constant to rounding, and not the mirror image
    of an entry below the diagonal.
    """
    low, high = truth.amin(0), truth.amax(0)
    moves = (high - low) > ROUNDING * torch.maximum(low.abs(), high.abs())
    place = {name: k for k, name in enumerate(names)}
    mirrored = {
        k
        for name, k in place.items()
        if (other := place.get(_mirror(name))) is not None and _above(name)
        if torch.allclose(truth[:, k], truth[:, other], rtol=1e-9, atol=0.0)
    }
    return [k for k in range(len(names)) if bool(moves[k]) and k not in mirrored]


def _names(values: Mapping[str, Tensor], rows: int) -> list[str]:
    """``tau``, ``theta[1]``, ``Omega[2,1]``: in the order of the entries."""
    found = []
    for name, value in values.items():
        shape = value.shape[1:] if value.shape[:1] == (rows,) else value.shape
        for at in itertools.product(*(range(1, size + 1) for size in shape)):
            found.append(f"{name}[{','.join(map(str, at))}]" if at else name)
    return found


def _index(name: str) -> list[str]:
    return name.rpartition("[")[2].rstrip("]").split(",") if name.endswith("]") else []


def _mirror(name: str) -> str:
    """The name of the entry on the other side of a matrix's diagonal; empty where there is none."""
    at = _index(name)
    if len(at) < 2:
        return ""
    return f"{name.rpartition('[')[0]}[{','.join([*at[:-2], at[-1], at[-2]])}]"


def _above(name: str) -> bool:
    row, column = _index(name)[-2:]
    return int(row) < int(column)


def _key(column: Tensor) -> bytes:
    return column[:HEAD].double().contiguous().numpy().tobytes()
