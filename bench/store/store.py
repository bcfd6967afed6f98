"""The folder of one run: what is written as cells end, and read for tables and pages."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.store.database import FILE, TOKEN, Database
from bench.store.draws import DrawsFolder
from bench.store.records import CellRecord, Row, Status
from bench.store.trouble import StoreError, full, is_file, no_room
from bench.store.values import as_json, count, decoded, from_json, number, plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JSON = ("problem_settings", "settings", "budget", "diagnostics")
COUNTS = ("checkpoint", "gradients", "evaluations", "draws", "seed")
NUMBERS = ("seconds", "value", "stderr")
JUDGED = "judged"  # the fact of ``info`` that holds the keys of draws that were made elsewhere
ORIGINS = "settings"  # the fact that says where the settings of each method come from, by its label
GENERATIVE = "generative"  # the trait of generative models
TRAITS = "traits"  # the fact that says what each problem is known for, by its label
SOURCES = "sources"  # the fact that says how each problem was named, by its label
CURRENT = "cells"  # the fact of ``info`` that holds the keys of the last matrix
PUBLISHED = "published"  # the fact that says of each published cell, by its key, why it is stale
NOTE = "published_note"  # the fact that says what a reader must know of published cells
PUBLISHED_AS = "published_as"  # the fact that tells one set of published cells from another


class Store:
    """The folder of one run: its rows in one SQLite file, its draws and logs beside it.

    Args:
        folder: made if absent, with its parents, unless ``create`` is False.
        create: False to read what is there; then nothing is ever written, so that a folder without
            the right to write, or an archive, can be read.

    Raises:
        StoreError: if ``create`` is False and the folder holds no results; if its file is of
            another program, of another version, or harmed; if the folder cannot be written.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.folder = folder.absolute()  # a plugin may change the current folder
        if not create and not is_file(folder / FILE):
            raise StoreError(
                f"{folder} holds no results ({FILE} is missing); `postbench run --out {folder}`"
                " makes them."
            )
        self._draws = DrawsFolder(self.folder / "draws")
        self._unreadable: dict[str, str] = {}
        if create:
            _made(self.draws_folder)
            _made(self.logs_folder)
        self._database = Database(self.folder / FILE, write=create)

    @property
    def logs_folder(self) -> Path:
        """Where what a cell printed is kept: one file per cell key, none for the silent ones."""
        return self.folder / "logs"

    @property
    def draws_folder(self) -> Path:
        """Where draws are kept: one file per cell key, and one per problem named ``truth-`` and its
        label.
        """
        return self._draws.path

    def append(self, cell: CellRecord, rows: Iterable[Row]) -> None:
        """Write one cell and its rows in one transaction; a cell of the same key is replaced.

        Raises:
            StoreError: if there is no room, or the file was removed since it was opened.
            TypeError, OverflowError: if a figure is no number; nothing is written then.
        """
        self.append_all([(cell, rows)])

    def append_all(self, cells: Iterable[tuple[CellRecord, Iterable[Row]]]) -> None:
        """Write cells with their rows, all in one transaction.

        Raises:
            StoreError, TypeError, OverflowError: as ``append``.
        """
        plain = [
            (_plain_record(cell), [_plain_record(row) for row in rows]) for cell, rows in cells
        ]
        with self._database.writing() as db:
            for record, rows in plain:
                db.execute("DELETE FROM cells WHERE key = ?", (record["key"],))
                _insert(db, "cells", [record])
                _insert(db, "rows", [{"key": record["key"], **row} for row in rows])

    def done(self) -> dict[str, Status]:
        """The status of every cell that has ended, by key."""
        with self._database.reading() as db:
            return {
                row["key"]: row["status"] for row in db.execute("SELECT key, status FROM cells")
            }

    def cells(self) -> list[dict[str, Any]]:
        """Every cell as a dictionary of the fields of ``CellRecord``, in the order they ended."""
        with self._database.reading() as db:
            found = [dict(row) for row in db.execute("SELECT * FROM cells ORDER BY rowid")]
        for cell in found:
            for name in JSON:
                cell[name] = from_json(cell[name])
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Every row as a dictionary of the fields of ``Row``, with the ``key`` of its cell; a row
        whose figure is no number reads ``failed``, with the reason.
        """
        with self._database.reading() as db:
            found = [dict(row) for row in db.execute("SELECT * FROM rows ORDER BY rowid")]
        for row in found:
            row["final"] = bool(row["final"])
            if not all(row[name] is None or type(row[name]) is float for name in NUMBERS):
                _decode(row)
        return found

    def note(self, info: Mapping[str, Any]) -> None:
        """Keep facts about the run (versions, machine, command); a later value replaces an earlier
        one.
        """
        with self._database.writing() as db:
            rows = [(plain(name), as_json(value)) for name, value in info.items()]
            db.executemany("INSERT OR REPLACE INTO info VALUES (?, ?)", rows)

    def info(self) -> dict[str, Any]:
        """The facts about the run that ``note`` has kept, by name."""
        with self._database.reading() as db:
            return {
                row["name"]: from_json(row["value"])
                for row in db.execute("SELECT * FROM info WHERE name != ?", (TOKEN,))
            }

    def keep_current(self, labels: Mapping[str, tuple[str, str]]) -> None:
        """Note which cells the matrix that was run last is made of, and what it calls them.

        Args:
            labels: names of problem and method, by key. Where two plugins of one name stand in a
                matrix they are told apart by their folders, so that the names of cells that have
                ended already may change.
        """
        with self._database.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO info VALUES (?, ?)", (CURRENT, as_json(list(labels)))
            )
            db.executemany(
                "UPDATE cells SET problem = ?, method = ? WHERE key = ?"
                " AND (problem != ? OR method != ?)",
                [(*map(plain, names), key, *map(plain, names)) for key, names in labels.items()],
            )

    def current(self) -> set[str] | None:
        """The keys of the cells of the matrix that was run last; None where no run noted them.

        A folder may hold several cells of one problem, method and seed: of older code, of another
        budget. The one in this set is the one to show.
        """
        found = self.info().get(CURRENT)
        return set(found) if isinstance(found, Collection) else None

    def keep_judged(self, key: str, names: tuple[str, str], seed: int) -> None:
        """Note a cell of draws that were made elsewhere: it is shown beside those of the matrix.

        An earlier one of the same problem, name and seed gives way to it.

        Args:
            key: of the cell.
            names: of its problem and of the draws.
            seed: under which they are filed.
        """
        place = [*names, seed]
        others = {k: v for k, v in self._judged().items() if list(v) != place}
        self.note({JUDGED: {**others, key: place}})

    def _judged(self) -> Mapping[str, Sequence[Any]]:
        found = self.info().get(JUDGED)
        return found if isinstance(found, Mapping) else {}

    def keep_published(self, cells: Mapping[str, str], note: str, token: str) -> None:
        """Note the published cells that are shown beside those of the matrix; earlier ones are
        shown no more.

        Args:
            cells: by key, why each is stale, empty where it is not.
            note: what a reader must know of them.
            token: by which this set of cells is told from another.
        """
        self.note({PUBLISHED: dict(cells), NOTE: note, PUBLISHED_AS: token})

    def published(self) -> Mapping[str, str]:
        """Why each published cell is stale, empty where it is not, by its key."""
        found = self.info().get(PUBLISHED)
        return found if isinstance(found, Mapping) else {}

    def shown(self) -> set[str] | None:
        """The keys of the cells to show: those of the matrix that was run last, those of draws that
        were made elsewhere, and published ones; None, for all, where no run noted its own.
        """
        current = self.current()
        return None if current is None else current | set(self._judged()) | set(self.published())

    def save_draws(self, name: str, draws: NDArray[np.float64], coordinates: Sequence[str]) -> str:
        """Keep draws [n, D] under a cell's key or ``truth-<problem label>``; the file appears whole
        or not at all.

        Returns:
            Why they could not be kept, empty where they are: figures must not be lost for it.
        """
        return self._draws.save(name, draws, coordinates)

    def facts(self, name: str) -> dict[str, Any]:
        """What was kept beside draws: of the truth, whether it is a reference's, and how well its
        log Z is known.
        """
        return self._draws.facts(name)

    def log_q(self, name: str) -> NDArray[np.float64] | None:
        """The log density that an approximation itself gives its draws, nats, [n]; None where it
        has none.
        """
        return self._draws.log_q(name)

    def named(self, name: str) -> tuple[NDArray[np.float64], list[str]] | None:
        """Draws [n, K] in the model's own units, entry by entry, and the names of the columns; None
        where none were kept, as where the parameters are the coordinates.
        """
        return self._draws.named(name)

    def more(self, name: str) -> dict[str, NDArray[Any]]:
        """Arrays of numbers that were kept beside draws for pictures, by name."""
        return self._draws.more(name)

    def has_draws(self, name: str) -> bool:
        """Whether draws were kept under that name."""
        return self._draws.found(name) is not None

    def draws(self, name: str) -> tuple[NDArray[np.float64], list[str]] | None:
        """Draws [n, D] and the coordinates' labels, or None where none were kept or their file
        cannot be used; then ``unreadable`` says why.
        """
        found = self._draws.load(name)
        self._unreadable.pop(name, None)
        if isinstance(found, str):
            self._unreadable[name] = found
            return None
        return found

    def unreadable(self, name: str) -> str:
        """Why ``draws`` gave None though there is a file; empty where there is none, or it was
        fine.
        """
        return self._unreadable.get(name, "")


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        if no_room(error):
            raise full(folder) from error
        raise StoreError(
            f"{folder.parent} cannot be written ({getattr(error, 'strerror', None) or error});"
            " choose another folder."
        ) from error


def _plain_record(record: CellRecord | Row) -> dict[str, Any]:
    """The fields of a record as the file holds them: numbers, whole numbers and plain texts."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        name, value = field.name, getattr(record, field.name)
        if name in JSON:
            found[name] = as_json(value or {})
        elif name in NUMBERS:
            found[name] = number(value, name)
        elif name in COUNTS:
            found[name] = None if value is None else count(value, name)
        elif name == "final":
            found[name] = bool(value)
        else:
            found[name] = None if value is None else plain(value)
    return found


def _decode(row: dict[str, Any]) -> None:
    try:
        row |= {name: decoded(row[name]) for name in NUMBERS}
    except (TypeError, OverflowError) as error:
        row |= {"value": None, "stderr": None, "kind": None, "status": "failed"}
        row["reason"] = str(error)
        row["seconds"] = row["seconds"] if isinstance(row["seconds"], float) else 0.0


def _insert(db: sqlite3.Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    names = list(rows[0])
    marks = ", ".join(f":{name}" for name in names)
    db.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)
