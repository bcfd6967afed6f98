"""Tables for a terminal of any width: what has no room is left out by name, and never cut off."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from reports.sheet import SYMBOLS, Entry, Line, Table, symbols

LABEL = 15  # columns for labels at least; longer ones go on below


def as_rich(table: Table) -> RichTable:
    """For the terminal, its notes below it; markup in names and reasons is shown, not obeyed."""
    notes = Text("\n".join(table.notes)) if table.notes else None
    found = RichTable(
        title=Text(table.title, "bold"),
        title_justify="left",
        caption=notes,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for i, column in enumerate(table.columns):
        words = table.prose or i == 0
        found.add_column(
            Text(column),
            justify="left" if words else "right",
            overflow="fold",
            no_wrap=i == 1 and not words and not table.floor_column,
            min_width=None if i else LABEL,
            style="dim" if table.floor_column and i == len(table.columns) - 1 else "",
        )
    for i, line in enumerate(table.lines):
        if line.floor and i:
            found.add_section()
        found.add_row(_label(line), *map(_rich, line.entries), style="dim" if line.floor else "")
    return found


def _label(line: Line) -> Text:
    return Text(line.heading).append(f"\n{line.detail}" if line.detail else "", "dim")


def _rich(entry: Entry) -> Text:
    marks = "".join(SYMBOLS[mark] for mark in symbols(entry.verdict))
    style = "bold green" if entry.verdict.rank == "best" else "bold" if entry.verdict.rank else ""
    text = Text(" ".join(filter(None, [entry.text, marks])), style)
    return text.append(f"\n{entry.detail}", "dim") if entry.detail else text


@dataclass(frozen=True)
class Fitted:
    """A table that gives up columns where the terminal is narrow, and says which.

    Args:
        table: whole.
        drops: columns in the order in which they are given up; 0 is the label's.
    """

    table: Table
    drops: tuple[int, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        given = next(
            (
                n
                for n in range(len(self.drops))
                if _width(self._without(n), console, options) <= options.max_width
            ),
            None,
        )
        count = len(self.drops) if given is None else given
        yield as_rich(self._without(count))
        if count:
            left = ", ".join(
                self.table.columns[i].partition(",")[0] for i in sorted(self.drops[:count])
            )
            yield Text(f"Left out in a terminal this narrow: {left}.\n", "dim")

    def _without(self, count: int) -> Table:
        gone = set(self.drops[:count])
        kept = [i for i in range(len(self.table.columns)) if i not in gone]
        lines = [
            replace(line, entries=tuple(line.entries[i - 1] for i in kept[1:]))
            for line in self.table.lines
        ]
        columns, helps = (
            tuple(words[i] for i in kept) for words in (self.table.columns, self.table.helps)
        )
        return replace(self.table, columns=columns, helps=helps, lines=tuple(lines))


def _width(table: Table, console: Console, options: ConsoleOptions) -> int:
    """Columns that a table takes when its labels are folded and nothing else is."""
    found = as_rich(replace(table, title="", notes=()))
    found.columns[0].max_width = LABEL
    return Measurement.get(console, options.update(width=10_000), found).maximum
