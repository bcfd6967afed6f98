"""What `postbench compare` does: two runs held against each other, for the eye and for a gate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench.commands import terminal
from bench.commands.report import to_file
from bench.errors import UserError
from bench.plugins.built_in import is_program
from bench.plugins.spec import name_of
from bench.store import Store

if TYPE_CHECKING:
    from reports.comparison.compared import Comparison
    from reports.comparison.written import Sheet

COLOURS = {"worse": "red", "bette": "green", "canno": "yellow"}


def compare_runs(
    folders: tuple[Path, Path],
    fail_if_worse: str | None,
    metrics: Sequence[str],
    names: Sequence[str],
    pages: Mapping[str, Path | None],
) -> int:
    """Compare two runs, print the tables and write the pages that were asked for.

    Args:
        folders: of the old run and of the new one.
        fail_if_worse: how much worse a figure may get, as ``5%``; None for no gate.
        metrics: those to compare; none for all.
        names: methods under other names, each as ``OLD=NEW``.
        pages: files to write, by ``html``, ``markdown`` and ``json``.

    Returns:
        The exit status: 0; of a gate 1 where something is worse by more than allowed, 3 where that
        cannot be told.

    Raises:
        UserError: if an option cannot be read, or the runs have nothing in common.
    """
    from reports.comparison import written
    from reports.comparison.compared import SAME, compare

    allowed = SAME if fail_if_worse is None else share(fail_if_worse, "--fail-if-worse")
    stores = [Store(folder, create=False) for folder in folders]
    found = compare(stores[0], stores[1], _names(names), metrics, allowed)
    makers: dict[str, Callable[[Comparison], str]] = {
        "html": written.html,
        "markdown": written.markdown,
        "json": written.as_json,
    }
    console = terminal.console()
    console.print(Text(written.lead(found), style="bold"))
    for sheet in written.sheets(found, brief=True):
        show(sheet)
    for kind, path in pages.items():
        if path is not None:
            _write(path, makers[kind](found))
            console.print(str(path), soft_wrap=True)
    if fail_if_worse is None:
        return 0
    console.print(Text(_gate(found)))
    return found.status


def share(text: str, option: str) -> float:
    """A share as people write it: ``5%`` or ``0.05``.

    Raises:
        UserError: if it is none, or negative.
    """
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise UserError(f"{option} must be a share such as 5% or 0.05, got {text!r}.")
    return found


def show(sheet: Sheet) -> None:
    """Print a table to the terminal."""
    table = Table(title=sheet.title, title_justify="left", box=None, pad_edge=False)
    for i, column in enumerate(sheet.columns):
        table.add_column(column, overflow="fold", justify="left" if i < sheet.names else "right")
    for line in sheet.lines:
        style = COLOURS.get(line[-1][:5], "")
        table.add_row(*(Text(terminal.visible(text)) for text in line), style=style)
    console = terminal.console()
    console.print()
    console.print(table)
    if sheet.note:
        console.print(Text(sheet.note, style="dim"))


def _names(pairs: Sequence[str]) -> dict[str, str]:
    """``OLD=NEW`` by OLD; what follows a colon are settings, as on other command lines."""
    found = {}
    for pair in pairs:
        old, sign, new = pair.partition("=")
        if not (old and sign and new):
            raise UserError(
                f"--map must be OLD=NEW, two methods as tables call them, got {pair!r}."
            )
        found[as_label(old)] = as_label(new)
    return found


def as_label(name: str) -> str:
    """``avb:steps=2,batch=8`` as tables call it, by the names of the fields: ``avb batch=8
    steps=2``; of a file without the way to it: ``mine.py:Mine``.
    """
    head = name_of(name)
    fields = name[len(head) + 1 :]
    shown = Path(head).name if ".py:" in head or is_program(head) else head
    ordered = sorted(fields.split(","), key=lambda field: field.partition("=")[0])
    return " ".join([shown, *ordered]) if fields else shown


def _write(path: Path, text: str) -> None:
    if path.is_dir():
        raise UserError(f"{path}: there is a folder of that name; name a file.")
    to_file(path, lambda part: _put(part, text))


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")


def _gate(found: Comparison) -> str:
    here = found.at_the_gate
    worse = [
        f"{of.pair.metric} of {of.pair.method} on {of.pair.problem}"
        for of in here
        if of.gate == "worse"
    ]
    worse += [f"{method} on {problem}, which has no figure" for problem, method in found.lost]
    unknown = [of for of in here if of.gate == "cannot tell"]
    most = f"by more than {100 * found.allowed:.3g}%"
    if worse:
        return f"Gate: worse {most}: {'; '.join(worse)}."
    unheld = len(found.unheld)
    if unheld:
        return f"Gate: {unheld} figures cannot be held against one another (see Not compared)."
    if unknown or not here:
        return (
            f"Gate: of {len(unknown)} of {len(here)} it cannot be told that none is worse {most}."
        )
    return f"Gate: none of {len(here)} is worse {most}."
