"""What the terminal shows while a matrix runs: cells as they finish, and how long the rest may
take.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bench.commands.terminal import NARROW, words
from bench.running.events import Started
from bench.running.forecast import Forecast
from bench.running.matrix import Cell
from bench.store import CellRecord, Row, label

COLOURS = {"ok": "green", "skipped": "yellow", "partial": "yellow", "cut-short": "yellow"}
HEADINGS = ("status", "problem", "method", "seed", "seconds", "KL(q||p) ± 95%, nats, or the reason")
HALF = 1.96  # standard errors in half of a 95% interval, as in the tables
SHOWN = 15  # finished cells in the live table; a terminal is not taller
LONGEST = 300  # letters of a reason


class Board:
    """A live table of cells. Where the output is not a terminal, a line per finished cell instead.

    Use as a context; ``listen`` is the listener of ``bench.running.collect.collect``.

    Args:
        cells: that are to run.
        console: to print on.
        forecast: of how long they take; left out, what is learned while they run.
    """

    def __init__(
        self, cells: Sequence[Cell], console: Console, forecast: Forecast | None = None
    ) -> None:
        self._console = console
        self._forecast = forecast or Forecast(cells, jobs=1)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._task = self._bar.add_task("cells", total=len(cells), left="")
        self._total = len(cells)
        self._running: dict[str, tuple[Cell, float]] = {}
        self._finished: list[tuple[CellRecord, Sequence[Row]]] = []
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if self._console.is_terminal:
            self._console.print(self._table(self._finished))

    def listen(self, cell: Cell, event: Started | CellRecord, rows: Sequence[Row]) -> None:
        """Take note of a start or an end."""
        now = time.monotonic()
        if isinstance(event, Started):
            self._running[cell.key] = (cell, now)
            self._forecast.started(cell, now)
            return
        self._running.pop(cell.key, None)
        self._forecast.ended(cell, now)
        self._finished.append((event, rows))
        self._bar.advance(self._task)
        if not self._console.is_terminal:
            left = self._forecast.left(now)
            line = f"[{len(self._finished)}/{self._total}] " + "  ".join(_cells(event, rows))
            self._console.print(
                Text(f"{line.rstrip()}  ({left})" if left else line), soft_wrap=True
            )

    def _render(self) -> Group:
        now = time.monotonic()
        running = [
            Text(f"  running  {_title(cell)}  {now - since:.0f} s", style="dim")
            for cell, since in self._running.values()
        ]
        self._bar.update(self._task, left=self._forecast.left(now))
        return Group(self._table(self._finished[-SHOWN:]), *running, self._bar)

    def _table(self, finished: Sequence[tuple[CellRecord, Sequence[Row]]]) -> Table | Group:
        if self._console.width < NARROW:  # no room for columns: a paragraph a cell
            return Group(*(_paragraph(record, rows) for record, rows in finished))
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in HEADINGS:
            justify = "right" if heading in ("seed", "seconds") else "left"
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for record, rows in finished:
            status, *rest = _cells(record, rows)
            table.add_row(Text(status, style=COLOURS.get(status, "red")), *map(Text, rest))
        return table


def _paragraph(record: CellRecord, rows: Sequence[Row]) -> Text:
    status, *rest = _cells(record, rows)
    style = COLOURS.get(status, "red")
    return Text(status, style=style, overflow="fold").append(f"  {'  '.join(rest)}", "default")


def _title(cell: Cell) -> str:
    problem, method = (label(spec.name, spec.described) for spec in (cell.problem, cell.method))
    return words(f"{problem}  {method}  seed {cell.seed}")


def _cells(record: CellRecord, rows: Sequence[Row]) -> list[str]:
    figures = record.status in ("ok", "partial", "cut-short")
    last = " ".join(filter(None, [_divergence(rows) if figures else "", record.reason]))
    return [
        record.status,
        words(label(record.problem, record.problem_settings), LONGEST),
        words(label(record.method, record.settings), LONGEST),
        str(record.seed),
        "" if record.seconds is None else f"{record.seconds:.1f}",
        words(last, LONGEST),
    ]


def _divergence(rows: Sequence[Row]) -> str:
    found = next(
        (row for row in rows if row.final and row.metric == "kl_qp" and row.value is not None), None
    )
    if found is None:
        return ""
    half = math.nan if found.stderr is None else HALF * found.stderr
    error = f" ± {half:.4f}" if math.isfinite(half) else ""
    return f"{found.value:.4f}{error}" + (f" ({found.kind})" if found.kind else "")
