"""Names of columns: what a problem's parameters are called in files, and which column is which."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping

import torch

from bench.errors import UserError, unknown
from problems.base import Problem

Key = tuple[str, tuple[int, ...]]  # a parameter's name, and the place in its shape, from 1
BRACKETS = re.compile(r"(.+?)\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]")
DOTS = re.compile(r"(.+?)((?:\.\d+)+)")


def shapes(problem: Problem) -> dict[str, tuple[int, ...]]:
    """The shape of every constrained parameter of a problem."""
    values = problem.constrain(torch.zeros(1, problem.dim, dtype=torch.float64))
    return {name: tuple(value.shape[1:]) for name, value in values.items()}


def keys(shapes: Mapping[str, tuple[int, ...]]) -> list[Key]:
    """Every entry of every parameter, in order."""
    return [
        (name, tuple(i + 1 for i in index))
        for name, shape in shapes.items()
        for index in itertools.product(*map(range, shape))
    ]


def header(found: Iterable[Key]) -> list[str]:
    """Names of columns as files are expected to have them: ``tau``, ``theta[1]``,
    ``sigma[2,1]``.
    """
    return [f"{name}[{','.join(map(str, at))}]" if at else name for name, at in found]


def key_of(column: str) -> Key:
    """Which entry a column's name means: ``theta[2,1]``, ``theta.2.1`` or a plain name."""
    if match := BRACKETS.fullmatch(column):
        return match[1], tuple(int(i) for i in match[2].split(","))
    if match := DOTS.fullmatch(column):
        return match[1], tuple(int(i) for i in match[2].split(".")[1:])
    return column, ()


def matched(
    columns: Collection[str], wanted: Mapping[str, tuple[int, ...]], where: str, *, spare: bool
) -> dict[Key, str]:
    """The column of every entry.

    Args:
        columns: of a file.
        wanted: shapes of the parameters by name.
        where: the file, for messages.
        spare: whether columns of other names are passed over.

    Raises:
        UserError: if a column is missing, or one is there that no parameter has.
    """
    found = _counted_from_one({key_of(column): column for column in columns}, wanted)
    expected = keys(wanted)
    for name, shape in wanted.items():  # a shape of one entry may go without its index
        one = (name, (1,) * len(shape))
        if one in expected and one not in found and (name, ()) in found:
            found[one] = found.pop((name, ()))
    missing = [key for key in expected if key not in found]
    if missing:
        names = header(missing)
        raise unknown(
            f"column in {where}",
            names[0],
            columns,
            f"{len(names)} of {len(expected)} are missing; `postbench show PROBLEM --columns`"
            " prints the header that is expected.",
        )
    more = [column for key, column in found.items() if key not in set(expected)]
    if more and not spare:
        raise UserError(
            f"{where}: no parameter is called {more[0]!r}"
            f"{f', nor are {len(more) - 1} other columns' if len(more) > 1 else ''};"
            " add --spare-columns to pass over them, or remove them."
        )
    return {key: found[key] for key in expected}


def _counted_from_one(
    found: dict[Key, str], wanted: Mapping[str, tuple[int, ...]]
) -> dict[Key, str]:
    """Indices from 0, as ArviZ's tables have them, are told by the 0 and moved up by one."""
    zeros = {name for name, at in found if name in wanted and 0 in at}
    return {
        (name, tuple(i + 1 for i in at) if name in zeros else at): column
        for (name, at), column in found.items()
    }
