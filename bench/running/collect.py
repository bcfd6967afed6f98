"""Runs what is missing of a matrix and keeps every cell as it ends."""

from __future__ import annotations

import dataclasses
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path

from bench.fitting.exact import ExactDraws
from bench.plugins.traits import known
from bench.processes.plain import worded
from bench.provenance import PACKAGES, commit, now, processor, version
from bench.running.events import Ended, Measured, Started
from bench.running.executors import Events
from bench.running.matrix import Cell, Matrix, metrics_of
from bench.store import GENERATIVE, SOURCES, CellRecord, Row, Status, Store, kept_label

Listener = Callable[[Cell, "Started | CellRecord", Sequence[Row]], None]


# what the store raises at values that it cannot hold; a full disk is another matter
UNKEEPABLE = (
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    OverflowError,
    ValueError,
    TypeError,
)


def missing(cells: Iterable[Cell], store: Store, *, retry: bool = False) -> list[Cell]:
    """The cells that have not ended yet; with ``retry``, those that did not end well, too."""
    done = store.done()
    return [cell for cell in cells if cell.key not in done or (retry and done[cell.key] != "ok")]


def collect(events: Events, store: Store, listener: Listener) -> None:
    """Follow the cells to their ends; each is written in one transaction at its end.

    Args:
        events: from an executor.
        store: where they go.
        listener: told of every start and of every end, with the cell's rows.
    """
    rows: dict[str, list[Row]] = {}
    for cell, event in events:
        if isinstance(event, Measured):
            rows[cell.key].extend(event.rows)
        elif isinstance(event, Ended):
            ended = _finished(rows.pop(cell.key))
            record = _record(cell, event, ended)
            try:
                store.append(record, ended)
            except UNKEEPABLE as error:  # whatever one cell has come to, the others go on
                record = dataclasses.replace(
                    record, status="crashed", reason=f"its rows cannot be kept: {worded(error)}"
                )
                ended = []
                store.append(record, ended)
            listener(cell, record, ended)
        elif isinstance(event, Started):
            rows[cell.key] = []  # anew, where the first process was lost
            listener(cell, event, ())


def _finished(rows: Sequence[Row]) -> list[Row]:
    """The rows with the last checkpoint marked as final, each figure once."""
    last = max((row.checkpoint for row in rows), default=0)
    unique = {(row.checkpoint, row.metric): row for row in rows}
    return [dataclasses.replace(row, final=row.checkpoint == last) for row in unique.values()]


def _record(cell: Cell, ended: Ended, rows: Sequence[Row]) -> CellRecord:
    status: Status = ended.status
    return CellRecord(
        key=cell.key,
        problem=cell.problem.name,
        problem_settings=cell.problem_settings,
        method=cell.method.name,
        settings=cell.method.described,
        seed=cell.seed,
        budget=dataclasses.asdict(cell.budget),
        status=status,
        reason=ended.reason,
        seconds=rows[-1].seconds if rows else None,
        gradients=rows[-1].gradients if rows else None,
        diagnostics=ended.diagnostics,
    )


def origins_of(cells: Iterable[Cell]) -> dict[str, str]:
    """Where the settings of each method of a run come from, by its label; of the noise floor, which
    has none, nothing.
    """
    methods = {kept_label(cell.method.name, cell.method.described): cell for cell in cells}
    return {name: cell.origin.words for name, cell in methods.items() if name != ExactDraws.name}


def traits_of(cells: Iterable[Cell]) -> dict[str, list[str]]:
    """What each problem of a run is known for, by its label: all that is told of it at its
    defaults, and what it declares where it has settings of its own.
    """
    problems = {kept_label(cell.problem.name, cell.problem_settings): cell for cell in cells}
    return {
        name: [GENERATIVE] if cell.amortised else sorted(known(cell.problem))
        for name, cell in problems.items()
    }


def note_sources(cells: Iterable[Cell], store: Store) -> None:
    """Keep how each problem was named, by its label, so that it can be made again: its name with
    its path, its fields, the folder that paths begin at, and a hash of what decides it.
    """
    here = str(Path.cwd())
    found = {
        kept_label(cell.problem.name, cell.problem_settings): {
            "name": cell.problem.entry.name,
            "fields": dict(cell.problem.settings),
            "folder": here,
            "content": cell.problem.content,
        }
        for cell in cells
        if not cell.amortised
    }
    store.note({SOURCES: {**store.info().get(SOURCES, {}), **found}})


def describe(matrix: Matrix, store: Store) -> None:
    """Keep what a reader must know of the run: the matrix, the versions, the machine."""
    store.note(
        {
            "title": matrix.title,
            "description": matrix.description,
            "command": " ".join(["postbench", *sys.argv[1:]]),
            "version": version(),
            "commit": commit(),
            "started": store.info().get("started", now()),
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "cores": (
                len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
            ),
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "metrics": {**store.info().get("metrics", {}), **measured_by(matrix)},
        }
    )


def measured_by(matrix: Matrix) -> dict[str, dict[str, str | float | bool | None]]:
    """What each metric says of itself: by that a report words it and ranks by it."""
    metrics = [metric.build() for metric in metrics_of(matrix)]
    return {metric.name: metric.described() for metric in metrics}


def finish(store: Store) -> None:
    """Keep the time at which the last cell ended."""
    store.note({"finished": now()})
