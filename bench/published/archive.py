"""Results of runs as one compressed Parquet file: a row for each cell, checkpoint and metric, and
beside them what was run, on which machine, with which versions, and what the keys are made of.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
from pyarrow import parquet

from bench.errors import UserError
from bench.running.costs import probe
from bench.running.recipe import RECIPE
from bench.store import ORIGINS, TRAITS, CellRecord, Row, Store

SHIPPED = Path(__file__).with_name("results.parquet")
MOST = 5_000_000  # bytes: it is part of every installation
MARK = b"postbench"  # of the facts in the file
FACTS = (
    *("title", "description", "command", "version", "commit", "started", "finished"),
    *("python", "platform", "processor", "cores", "packages", "metrics"),
    *(ORIGINS, TRAITS, RECIPE),
)
JSON = ("problem_settings", "settings", "budget", "diagnostics")
CELL = {field.name: f"cell_{field.name}" for field in dataclasses.fields(CellRecord)}
CELL |= {"key": "key"}
RUN = "run"  # the column that says of which run a cell is, by its place among them


@dataclasses.dataclass(frozen=True, eq=False)
class Published:
    """The results of a run as they were published.

    Args:
        cells: with the fields of ``CellRecord``.
        rows: of each cell, by its key.
        info: the facts of the run that ``FACTS`` names, and ``probe``: seconds of the fixed piece
            of work on the machine that made them.
        digest: hash of the file.
    """

    cells: Sequence[Mapping[str, Any]]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    info: Mapping[str, Any]
    digest: str

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What the keys are made of."""
        found: Mapping[str, Any] = self.info[RECIPE]
        return found


def read(path: Path = SHIPPED) -> tuple[Published, ...]:
    """Published results from their file, a run each.

    Raises:
        UserError: if there is none, or it is no such file.
    """
    try:
        table = parquet.read_table(path)
        runs = json.loads((table.schema.metadata or {})[MARK])
        records = table.to_pylist()
        for info in runs:
            info[RECIPE]["matrix"]["draws"]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return tuple(
            _run([record for record in records if record[RUN] == place], info, digest)
            for place, info in enumerate(runs)
        )
    except OSError as error:
        raise UserError(
            f"{path}: there are no published results to be read ({error.strerror or error})."
        ) from None
    except (pyarrow.ArrowException, KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} holds no published results; `postbench published --make DIR --to FILE` writes"
            " such a file."
        ) from None


def _run(records: Sequence[Mapping[str, Any]], info: Mapping[str, Any], digest: str) -> Published:
    """The rows of one run."""
    cells: dict[str, dict[str, Any]] = {}
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        if record["key"] not in cells:
            cell = {name: record[column] for name, column in CELL.items()}
            cells[record["key"]] = cell | {name: json.loads(cell[name]) for name in JSON}
        if record["metric"] is not None:
            rows[record["key"]].append({f.name: record[f.name] for f in dataclasses.fields(Row)})
    return Published(list(cells.values()), rows, info, digest)


def write(stores: Sequence[Store], path: Path) -> int:
    """Write the cells of the last matrices of runs as a file to publish.

    Args:
        stores: of runs on this machine, the one first whose settings are to be the usual ones.
        path: of the file.

    Returns:
        How many cells there are.

    Raises:
        UserError: if a run does not say what its keys are made of, is not complete, or the file
            would be too large.
    """
    found = [_cells(store) for store in stores]
    speed = {"probe": probe()}
    facts = [
        {name: store.info()[name] for name in FACTS if name in store.info()} | speed
        for store in stores
    ]
    records = [
        {RUN: place, **record}
        for place, (store, cells) in enumerate(zip(stores, found, strict=True))
        for record in _records(cells, store.rows())
    ]
    table = pyarrow.Table.from_pylist(records)
    table = table.replace_schema_metadata({MARK: json.dumps(facts).encode()})
    parquet.write_table(table, path, compression="zstd", compression_level=19)
    if (size := path.stat().st_size) > MOST:
        path.unlink()
        raise UserError(f"{path} would have {size:,} bytes, and {MOST:,} at most are published.")
    return sum(map(len, found))


def _cells(store: Store) -> list[dict[str, Any]]:
    """The cells of a run that has ended."""
    current = store.current() or set()
    if RECIPE not in store.info():
        raise UserError(
            f"{store.folder} was run before runs kept what their keys are made of; run the same"
            " matrix into a new folder, and publish that."
        )
    cells = [cell for cell in store.cells() if cell["key"] in current]
    if len(cells) < len(current):
        raise UserError(
            f"{store.folder}: {len(current) - len(cells)} of {len(current)} cells have not ended;"
            " the command that began the run continues it."
        )
    return cells


def _records(
    cells: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A record for each row of a cell, and one of the cell alone where it has none."""
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["key"]].append(row)
    names = [field.name for field in dataclasses.fields(Row)]
    records: list[dict[str, Any]] = []
    for cell in cells:
        own = {
            column: json.dumps(cell[name], sort_keys=True) if name in JSON else cell[name]
            for name, column in CELL.items()
        }
        for row in found[cell["key"]] or [dict.fromkeys(names)]:
            records.append(own | {name: row[name] for name in names})
    return records
