"""The results of a run on disk: one SQLite file of tidy rows, one transaction a cell, and the draws
beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# cut-short: a guard of seconds ended a fit that plans by gradients or by its own steps.
# partial: some draws were not finite.
# The figures of both are kept and set apart: not averaged, not ranked.
Status = Literal[
    "ok", "partial", "cut-short", "failed", "timed-out", "crashed", "diverged", "skipped"
]
FILE = "results.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS info (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY, problem TEXT NOT NULL, problem_settings TEXT NOT NULL,
    method TEXT NOT NULL, settings TEXT NOT NULL, seed INTEGER NOT NULL, budget TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, seconds REAL, gradients INTEGER,
    diagnostics TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows (
    key TEXT NOT NULL REFERENCES cells(key) ON DELETE CASCADE, checkpoint INTEGER NOT NULL,
    final INTEGER NOT NULL, seconds REAL NOT NULL, gradients INTEGER NOT NULL,
    evaluations INTEGER NOT NULL, draws INTEGER NOT NULL, metric TEXT NOT NULL,
    value REAL, stderr REAL, kind TEXT, status TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (key, checkpoint, metric));
"""


@dataclass(frozen=True)
class Row:
    """One metric of one cell at one checkpoint.

    Args:
        checkpoint: 0, 1, ... in the order they were reached; final: whether it is the cell's last.
        seconds, gradients, evaluations: what the method had spent when it was measured; evaluations
            of the density.
        draws: how many draws the metric saw.
        metric, value, stderr, kind: the estimate; all None but the name where ``status`` is
            ``skipped``.
        status, reason: ``ok`` with an optional note, or ``skipped`` or ``failed`` with the reason.
    """

    checkpoint: int
    final: bool
    seconds: float
    gradients: int
    evaluations: int
    draws: int
    metric: str
    value: float | None
    stderr: float | None
    kind: str | None
    status: Status = "ok"
    reason: str = ""


@dataclass(frozen=True)
class CellRecord:
    """One cell as it ended.

    Args:
        key: hash of the content that decides the result.
        problem, problem_settings, method, settings: names, and the fields that differ from their
            defaults.
        seed, budget: as run.
        status, reason: how it ended, and why where that is not ``ok``.
        seconds, gradients: spent in all, None where it ended before it could tell.
        diagnostics: what the method itself reported (split R-hat, divergences, ...).
    """

    key: str
    problem: str
    problem_settings: Mapping[str, Any]
    method: str
    settings: Mapping[str, Any]
    seed: int
    budget: Mapping[str, Any]
    status: Status
    reason: str = ""
    seconds: float | None = None
    gradients: int | None = None
    diagnostics: Mapping[str, float] | None = None


class Store:
    """The folder of one run.

    Args:
        folder: made if absent, with its parents, unless ``create`` is False.
        create: False to open what is there.

    Raises:
        FileNotFoundError: if ``create`` is False and the folder holds no results.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.folder = folder
        if not create and not (folder / FILE).is_file():
            raise FileNotFoundError(
                f"{folder} holds no results ({FILE} is missing); `postbench run --out {folder}`"
                " makes them."
            )
        self.draws_folder.mkdir(parents=True, exist_ok=True)
        self.logs_folder.mkdir(exist_ok=True)
        with self._connect() as db:
            db.executescript(SCHEMA)

    @property
    def logs_folder(self) -> Path:
        """Where what a cell printed is kept: one file per cell key, none for the silent ones."""
        return self.folder / "logs"

    @property
    def draws_folder(self) -> Path:
        """Where draws are kept: one file per cell key, and one per problem named ``truth-`` and its
        label.
        """
        return self.folder / "draws"

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.folder / FILE, timeout=60)
        db.execute("PRAGMA foreign_keys = ON")
        db.row_factory = sqlite3.Row
        try:
            with db:
                yield db
        finally:
            db.close()

    def append(self, cell: CellRecord, rows: Iterable[Row]) -> None:
        """Write one cell and its rows in one transaction; a cell of the same key is replaced."""
        values = asdict(cell)
        for name in ("problem_settings", "settings", "budget", "diagnostics"):
            values[name] = json.dumps(values[name] or {}, sort_keys=True)
        with self._connect() as db:
            db.execute("DELETE FROM cells WHERE key = ?", (cell.key,))
            _insert(db, "cells", [values])
            _insert(db, "rows", [{"key": cell.key, **asdict(row)} for row in rows])

    def done(self) -> dict[str, Status]:
        """The status of every cell that has ended, by key."""
        with self._connect() as db:
            return {
                row["key"]: row["status"] for row in db.execute("SELECT key, status FROM cells")
            }

    def cells(self) -> list[dict[str, Any]]:
        """Every cell as a dictionary of the fields of ``CellRecord``, in the order they ended."""
        with self._connect() as db:
            found = [dict(row) for row in db.execute("SELECT * FROM cells ORDER BY rowid")]
        for cell in found:
            for name in ("problem_settings", "settings", "budget", "diagnostics"):
                cell[name] = json.loads(cell[name])
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Every row as a dictionary of the fields of ``Row``, with the ``key`` of its cell."""
        with self._connect() as db:
            found = [dict(row) for row in db.execute("SELECT * FROM rows ORDER BY rowid")]
        for row in found:
            row["final"] = bool(row["final"])
        return found

    def note(self, info: Mapping[str, Any]) -> None:
        """Keep facts about the run (versions, machine, command); a later value replaces an earlier
        one.
        """
        with self._connect() as db:
            rows = [(name, json.dumps(value)) for name, value in info.items()]
            db.executemany("INSERT OR REPLACE INTO info VALUES (?, ?)", rows)

    def info(self) -> dict[str, Any]:
        """What ``note`` kept."""
        with self._connect() as db:
            return {
                row["name"]: json.loads(row["value"]) for row in db.execute("SELECT * FROM info")
            }

    def save_draws(self, name: str, draws: NDArray[np.float64], coordinates: Sequence[str]) -> None:
        """Keep draws [n, D] under a cell's key or ``truth-<problem label>``; the file appears whole
        or not at all.
        """
        path = self._draws_file(name)
        part = path.with_name(f".{os.getpid()}-{path.name}")
        np.savez_compressed(part, draws=draws.astype(np.float32), coordinates=np.array(coordinates))
        part.replace(path)

    def _draws_file(self, name: str) -> Path:
        return self.draws_folder / f"{re.sub(r'[^0-9A-Za-z.=_-]+', '-', name)}.npz"

    def has_draws(self, name: str) -> bool:
        """Whether draws were kept under that name."""
        return self._draws_file(name).is_file()

    def draws(self, name: str) -> tuple[NDArray[np.float32], list[str]] | None:
        """Draws [n, D] and the coordinates' labels, or None where none were kept."""
        if not self.has_draws(name):
            return None
        with np.load(self._draws_file(name)) as data:
            return data["draws"], [str(label) for label in data["coordinates"]]


def label(name: str, settings: Mapping[str, Any]) -> str:
    """How a problem or a method is called in tables: its name, and the settings that differ from
    the defaults.
    """
    return " ".join([name, *(f"{field}={value}" for field, value in settings.items())])


def _insert(db: sqlite3.Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    names = list(rows[0])
    marks = ", ".join(f":{name}" for name in names)
    db.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)
