"""What the terminal shows while a matrix runs: cells as they finish, and how long the rest may
take.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from bench.running.executors import Started
from bench.running.matrix import Cell
from bench.store import CellRecord, Row, label

COLOURS = {"ok": "green", "skipped": "yellow"}
SHOWN = 15  # finished cells in the live table; a terminal is not taller


class Board:
    """A live table of cells. Where the output is not a terminal, a line per finished cell instead.

    Use as a context; ``listen`` is the listener of ``bench.running.collect.collect``.
    """

    def __init__(self, total: int, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task("cells", total=total)
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
        if isinstance(event, Started):
            self._running[cell.key] = (cell, time.monotonic())
            return
        self._running.pop(cell.key, None)
        self._finished.append((event, rows))
        self._bar.advance(self._task)
        if not self._console.is_terminal:
            done, total = len(self._finished), int(self._bar.tasks[0].total or 0)
            self._console.print(
                Text(f"[{done}/{total}] " + "  ".join(_cells(event, rows))), soft_wrap=True
            )

    def _render(self) -> Group:
        now = time.monotonic()
        running = [
            Text(f"  running  {_title(cell)}  {now - since:.0f} s", style="dim")
            for cell, since in self._running.values()
        ]
        return Group(self._table(self._finished[-SHOWN:]), *running, self._bar)

    def _table(self, finished: Sequence[tuple[CellRecord, Sequence[Row]]]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in (
            "status",
            "problem",
            "method",
            "seed",
            "seconds",
            "KL(q||p), nats, or the reason",
        ):
            table.add_column(heading, justify="right" if heading in ("seed", "seconds") else "left")
        for record, rows in finished:
            status, *rest = _cells(record, rows)
            table.add_row(Text(status, style=COLOURS.get(status, "red")), *map(Text, rest))
        return table


def _title(cell: Cell) -> str:
    problem, method = (label(spec.name, spec.settings) for spec in (cell.problem, cell.method))
    return f"{problem}  {method}  seed {cell.seed}"


def _cells(record: CellRecord, rows: Sequence[Row]) -> list[str]:
    return [
        record.status,
        label(record.problem, record.problem_settings),
        label(record.method, record.settings),
        str(record.seed),
        "" if record.seconds is None else f"{record.seconds:.1f}",
        record.reason if record.status != "ok" else _divergence(rows),
    ]


def _divergence(rows: Sequence[Row]) -> str:
    found = next(
        (row for row in rows if row.final and row.metric == "kl_qp" and row.value is not None), None
    )
    return "" if found is None else f"{found.value:.4f} ± {found.stderr:.4f} ({found.kind})"
