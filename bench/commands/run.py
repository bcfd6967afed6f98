"""What the commands do, once the words are parsed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.commands import terminal
from bench.commands.progress import Board
from bench.running import executors
from bench.running.collect import collect, describe, finish, missing
from bench.running.matrix import Cell, expand, left_out, overridden, read
from bench.store import Store


def run_matrix(
    source: str, changes: Mapping[str, Any], jobs: int | None, out: Path | None, retry: bool
) -> None:
    """Run what is missing of a matrix, then print the table and the path of the report."""
    console = terminal.console()
    matrix = overridden(read(source), changes)
    cells = expand(matrix)
    for reason in left_out(matrix):
        console.print(f"Left out: {reason}", style="yellow", markup=False, soft_wrap=True)
    store = Store(out or Path("results") / matrix.title)
    todo = missing(cells, store, retry=retry)
    if todo:
        if len(todo) < len(cells):
            console.print(
                f"{len(cells) - len(todo)} of {len(cells)} cells are done already; continuing with"
                " the rest."
            )
        describe(matrix, store)
        _run(todo, store, os.cpu_count() or 1 if jobs is None else jobs, console)
        finish(store)
    else:
        console.print(
            f"All {len(cells)} cells are done already; nothing to run. Add --retry for those that"
            " failed."
        )
    _conclude(store, console)


def _run(cells: Sequence[Cell], store: Store, jobs: int, console: Console) -> None:
    with Board(len(cells), console) as board:
        if jobs == 0:
            collect(executors.inline(cells, store.folder), store, board.listen)
            return
        with executors.Isolated(store.folder, jobs) as executor:
            try:
                collect(executor.run(cells), store, board.listen)
            except KeyboardInterrupt:
                console.print(
                    "Stopped. What had finished is kept; the same command again continues."
                )
                raise


def _conclude(store: Store, console: Console) -> None:
    from reports import tables
    from reports.page import write

    console.print(tables.terminal(store))
    html, markdown = store.folder / "report.html", store.folder / "report.md"
    write(store, html=html, markdown=markdown)
    console.print(f"Report: {html}\n        {markdown}", soft_wrap=True, highlight=False)
