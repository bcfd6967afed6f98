"""Runs of several machines become one: every cell as it was measured, and none averaged."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.store.draws import DrawsFolder
from bench.store.lock import Lock
from bench.store.records import COSTS, CellRecord, Row
from bench.store.store import CURRENT, JUDGED, Store
from bench.store.trouble import StoreError, full, no_room

SHOWN = 5  # conflicts that the message names
FIGURE = ("checkpoint", "metric", "value", "stderr", "kind", "status")


class _Entry(NamedTuple):
    """One cell, its rows, and the run it is of."""

    cell: dict[str, Any]
    rows: list[dict[str, Any]]
    store: Store


def merge(folders: Sequence[Path], into: Path) -> tuple[int, int]:
    """Put the cells, draws and logs of runs into one folder, which may hold a run already.

    The runs are only read. Of two cells of one key, one that ended well takes the place of one that
    did not; two that read the same are one. Each cell is written as a whole, so that a merge that
    was broken off is finished by the same command, and one that was finished changes nothing.

    Args:
        folders: of the runs.
        into: made where it is missing.

    Returns:
        How many cells were written, and how many the folder holds now.

    Raises:
        StoreError: where two runs have one cell with different figures; then nothing is written.
            Where a folder holds no results, or there is no room.
    """
    places = {folder.resolve(): folder for folder in folders if folder.resolve() != into.resolve()}
    sources = [Store(folder, create=False) for folder in places.values()]
    for_sure = [_entries(store) for store in sources]
    _chosen(for_sure)  # refused before anything is made
    target = Store(into)
    with Lock(target.folder):
        chosen = _chosen([_entries(target), *for_sure])
        new = [entry for entry in chosen.values() if entry.store is not target]
        _note([target, *sources], chosen)
        for store in sources:
            _copy_new(store.draws_folder, target.draws_folder, "truth-*.npz")
        for entry in new:
            _carry(entry, target)
    return len(new), len(chosen)


def _entries(store: Store) -> dict[str, _Entry]:
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in store.rows():
        rows[row.pop("key")].append(row)
    return {cell["key"]: _Entry(cell, rows[cell["key"]], store) for cell in store.cells()}


def _chosen(runs: Sequence[Mapping[str, _Entry]]) -> dict[str, _Entry]:
    chosen: dict[str, _Entry] = {}
    conflicts = []
    for run in runs:
        for key, entry in run.items():
            rival = chosen.get(key)
            if rival is None or (_well(entry) and not _well(rival)):
                chosen[key] = entry
            elif _well(entry) and (differing := _differing(rival, entry)):
                cell = entry.cell
                conflicts.append(
                    f"{cell['method']} on {cell['problem']}, seed {cell['seed']} ({key}):"
                    f" {', '.join(differing)} differ in {rival.store.folder} and"
                    f" {entry.store.folder}"
                )
    if conflicts:
        more = len(conflicts) - SHOWN
        raise StoreError(
            "The same cell has different figures in two runs, and which is right cannot be known:"
            f" {'; '.join(conflicts[:SHOWN])}{f'; and {more} more' if more > 0 else ''}."
            " Nothing was merged; leave one of the folders out."
        )
    return chosen


def _well(entry: _Entry) -> bool:
    return bool(entry.cell["status"] == "ok")


def _differing(first: _Entry, second: _Entry) -> list[str]:
    """The metrics that read otherwise; costs depend on the machine."""
    a, b = (
        {tuple(row[name] for name in FIGURE) for row in of.rows if row["metric"] not in COSTS}
        for of in (first, second)
    )
    return sorted({str(figure[1]) for figure in a ^ b})


def _carry(entry: _Entry, target: Store) -> None:
    """Copy a cell: its draws and its log first, so that no row stands without them."""
    key, store = entry.cell["key"], entry.store
    found = DrawsFolder(store.draws_folder).found(key)
    if found is not None:
        _copy(found, DrawsFolder(target.draws_folder).file(key))
    for log in _files(store.logs_folder, f"{key}*"):
        _copy(log, target.logs_folder / log.name)
    target.append(CellRecord(**entry.cell), [Row(**row) for row in entry.rows])


def _copy_new(source: Path, target: Path, pattern: str) -> None:
    for file in _files(source, pattern):
        if not (target / file.name).exists():
            _copy(file, target / file.name)


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def _copy(file: Path, to: Path) -> None:
    """Copy a file so that it is there whole or not at all."""
    part = to.with_name(f".{os.getpid()}-{to.name}")
    try:
        shutil.copyfile(file, part)
        part.replace(to)
    except OSError as error:
        if no_room(error):
            raise full(to.parent) from error
        raise StoreError(
            f"{file} cannot be copied to {to} ({error.strerror or error}); see to the permissions,"
            " and the same command goes on."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _note(stores: Sequence[Store], chosen: Mapping[str, _Entry]) -> None:
    """Keep facts in the first store: those that are mappings are joined, of others the first run's
    stays; and which cells are shown, before they are there, so that a merge goes on rightly.
    """
    target = stores[0]
    facts: dict[str, Any] = {}
    for store in stores:
        for name, value in store.info().items():
            if isinstance(value, dict) and isinstance(facts.get(name), dict):
                facts[name] = {**value, **facts[name]}
            else:
                facts.setdefault(name, value)
    shown = _shown(stores)
    facts.pop(CURRENT, None)
    if facts != {name: value for name, value in target.info().items() if name != CURRENT}:
        target.note(facts)
    if target.current() != shown:
        cells = [of.cell for key, of in chosen.items() if key in shown]
        target.keep_current({cell["key"]: (cell["problem"], cell["method"]) for cell in cells})


def _shown(stores: Sequence[Store]) -> Collection[str]:
    """The cells of every run's last matrix; all cells of a run that noted none."""
    found: set[str] = set()
    for i, store in enumerate(stores):
        done, current = set(store.done()), store.current()
        if current is None:
            found |= done - set(store.info().get(JUDGED, {}))
        else:
            found |= current if i == 0 else current & done
    return found
