"""What the commands do, once the words are parsed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bench import executors, spec, terminal
from bench.checks.finding import Finding
from bench.errors import UserError
from bench.matrix import Cell, Matrix, expand, read, validated
from bench.progress import Board
from bench.registry import group_of
from bench.run import collect, describe, finish, missing
from bench.store import Store


def run_matrix(source: str, changes: Mapping[str, Any], jobs: int | None, out: Path | None, retry: bool) -> None:
    """Run what is missing of a matrix, then print the table and the path of the report."""
    console = terminal.console()
    matrix = overridden(read(source), changes)
    cells = expand(matrix)
    store = _store(out or Path("results") / matrix.title)
    todo = missing(cells, store, retry=retry)
    if todo:
        if len(todo) < len(cells):
            console.print(f"{len(cells) - len(todo)} of {len(cells)} cells are done already; continuing with the rest.")
        describe(matrix, store)
        _run(todo, store, os.cpu_count() or 1 if jobs is None else jobs, console)
        finish(store)
    else:
        console.print(f"All {len(cells)} cells are done already; nothing to run. Add --retry for those that failed.")
    _conclude(store, console)


def overridden(matrix: Matrix, changes: Mapping[str, Any]) -> Matrix:
    """The matrix with what the command line says in place of what the file says.

    Args:
        changes: keys of a matrix file; what is None or empty was not said.
    """
    said = {name: value for name, value in changes.items() if value not in (None, [])}
    budget = {name: value for name, value in said.pop("budget", {}).items() if value is not None}
    content = matrix.model_dump() | said
    content["budget"] |= budget
    for item in (*content["problems"], *content["methods"]):
        if isinstance(item, dict):
            item["seeds"] = None if "seeds" in said else item["seeds"]
            item["budget"] = {name: value for name, value in item["budget"].items() if name not in budget}
    if "problems" in said or "methods" in said:
        content |= {"title": "custom", "description": ""}
    return validated(content, where="command line")


def _store(folder: Path) -> Store:
    try:
        return Store(folder)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written ({error.strerror or error}); choose another folder.") from None


def _run(cells: Sequence[Cell], store: Store, jobs: int, console: Console) -> None:
    with Board(len(cells), console) as board:
        if jobs == 0:
            collect(executors.inline(cells, store.folder), store, board.listen)
            return
        with executors.Isolated(store.folder, jobs) as executor:
            try:
                collect(executor.run(cells), store, board.listen)
            except KeyboardInterrupt:
                console.print("Stopped. What had finished is kept; the same command again continues.")
                raise


def _conclude(store: Store, console: Console) -> None:
    from reports import tables
    from reports.page import write

    console.print(tables.terminal(store))
    html, markdown = store.folder / "report.html", store.folder / "report.md"
    write(store, html=html, markdown=markdown)
    console.print(f"Report: {html}\n        {markdown}", soft_wrap=True, highlight=False)


def write_report(folder: Path, html: Path | None, markdown: Path | None) -> None:
    """Write the report of a finished or unfinished run."""
    from reports.page import write

    if html is None and markdown is None:
        html, markdown = folder / "report.html", folder / "report.md"
    write(_results(folder), html=html, markdown=markdown)
    for path in (html, markdown):
        if path is not None:
            terminal.console().print(str(path), soft_wrap=True, highlight=False)


def export_rows(folder: Path, to: Path) -> None:
    """Write the tidy rows of a run."""
    from reports.frame import export

    try:
        export(_results(folder), to)
    except (ValueError, OSError) as error:
        raise UserError(f"--to {to}: {error}") from None
    terminal.console().print(str(to), soft_wrap=True, highlight=False)


def _results(folder: Path) -> Store:
    try:
        return Store(folder, create=False)
    except FileNotFoundError as error:
        raise UserError(str(error)) from None


def check_one(text: str) -> bool:
    """Print every check of a plugin; whether none failed."""
    from bench.checks import check

    console, chosen = terminal.console(), spec.parse(group_of(spec.name_of(text)), text)
    console.print(f"{chosen.entry.group[:-1]} {chosen.name}, from {chosen.entry.package}", highlight=False)
    return print_findings(check(chosen), console)


def print_findings(findings: Iterable[Finding], console: Console) -> bool:
    """Print each finding as it comes, and how many passed and failed; whether none failed."""
    failed = passed = 0
    for finding in findings:
        style = {"pass": "green", "fail": "red"}.get(finding.outcome, "yellow")
        console.print(
            Text(f"  {finding.outcome:8}", style=style) + Text(f"{finding.name}: {finding.why}", style="none"), soft_wrap=True
        )
        failed, passed = failed + (finding.outcome == "fail"), passed + (finding.outcome == "pass")
    console.print(f"{passed} passed, {failed} failed", style="red" if failed else "green", highlight=False)
    return failed == 0


def write_plugin(kind: str, name: str, folder: Path) -> None:
    """Write a plugin to start from, and say what to do with it."""
    from bench.scaffold import GROUP, new

    if kind not in GROUP:
        raise UserError(f"There is no kind of plugin named {kind!r}; expected one of {', '.join(GROUP)}.")
    path = new(kind, name, folder)
    terminal.console().print(
        f"{path} is written; its first lines say how to check it and run it.", soft_wrap=True, highlight=False
    )
