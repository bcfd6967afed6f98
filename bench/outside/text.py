"""Draws from a CSV: a column a parameter, comments after ``#``, as CmdStan and others write."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.errors import UserError
from bench.outside.series import Series, Values

CHAIN, DRAW = ("chain", "chain__", ".chain"), ("draw", "draw__", ".draw", "iteration")
DIVERGENT = "divergent__"
LOOK = 200  # values of a column whose digits are counted


def read_csv(file: Path) -> list[Series]:
    """The chains of a CSV file.

    Raises:
        UserError: names the file, the line and the column of what cannot be read.
    """
    header, lines, rows = _rows(file)
    columns = {
        name: _numbers(file, name, [row[i] for row in rows], lines) for i, name in enumerate(header)
    }
    digits = {name: _digits([row[i] for row in rows[:LOOK]]) for i, name in enumerate(header)}
    return split(file, columns, np.array(lines), "line", digits)


def split(
    file: Path,
    columns: dict[str, Values],
    places: np.ndarray[tuple[int], np.dtype[np.int64]],
    unit: str,
    digits: dict[str, int] | None = None,
) -> list[Series]:
    """A table's rows dealt to their chains, in the order of their draws; its columns that only say
    which and when are left out, those of the sampler's own that end in ``__`` as well.
    """
    chain = next((columns[name] for name in CHAIN if name in columns), None)
    draw = next((columns[name] for name in DRAW if name in columns), None)
    kept = {
        name: values
        for name, values in columns.items()
        if name not in (*CHAIN, *DRAW) and not name.endswith("__")
    }
    count = {name: n for name, n in (digits or {}).items() if name in kept}
    found = []
    for label in [None] if chain is None else np.unique(chain):
        rows = np.arange(len(places)) if label is None else np.flatnonzero(chain == label)
        if draw is not None:
            rows = rows[np.argsort(draw[rows], kind="stable")]
        divergent = columns.get(DIVERGENT)
        found.append(
            Series(
                file,
                "" if label is None else f"{label:g}",
                {name: values[rows] for name, values in kept.items()},
                places[rows],
                unit,
                max(count.values(), default=None) if digits is not None else None,
                None if divergent is None else int(divergent[rows].sum()),
            )
        )
    return found


def _rows(file: Path) -> tuple[list[str], list[int], list[list[str]]]:
    """Header, numbers of the lines of values, and their cells as text."""
    header: list[str] = []
    lines: list[int] = []
    rows: list[list[str]] = []
    for number, row in _filled(file):
        if not header:
            header = [name.strip() for name in row]
            _must_differ(file, number, header)
        elif len(row) != len(header):
            raise UserError(
                f"{file}, line {number}: {len(row)} values where the header has {len(header)}"
                " columns; was the program stopped while it wrote? Remove the line."
            )
        else:
            lines.append(number)
            rows.append(row)
    if not rows:
        raise UserError(f"{file} holds no draws: a header and a line a draw are expected.")
    return header, lines, rows


def _filled(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that are neither empty nor comments, with their numbers."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip() and not line.lstrip().startswith("#"):
                    yield number, next(csv.reader([line]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{file} cannot be read as CSV: {reason}.") from None


def _must_differ(file: Path, number: int, header: list[str]) -> None:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{file}, line {number}: two columns are named {twice!r}; keep one.")


def _numbers(file: Path, name: str, cells: list[str], lines: list[int]) -> Values:
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        for cell, line in zip(cells, lines, strict=True):
            try:
                float(cell)
            except ValueError:
                raise UserError(
                    f"{file}, line {line}, column {name!r}: {cell!r} is no number."
                ) from None
        raise


def _digits(cells: list[str]) -> int:
    """The most significant digits that any of the numbers is written with."""
    return max(
        (
            len(cell.lower().partition("e")[0].replace(".", "").lstrip("+-0 ").strip())
            for cell in cells
        ),
        default=0,
    )
