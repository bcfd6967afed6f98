"""Cells one after the other in this process, where a debugger can step in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.running.events import Event, Started
from bench.running.matrix import Cell

Events = Iterator[tuple[Cell, Event | Started]]  # what every executor yields


def inline(cells: Sequence[Cell], folder: Path) -> Events:
    """One after the other in this process: no isolation and no limits, but a debugger can
    step in.
    """
    from bench.running.worker import work

    folder = folder.absolute()  # whatever a plugin makes of the current directory
    for cell in cells:
        yield cell, Started()
        events: list[Event] = []
        work(cell, folder, events.append)
        for event in events:
            yield cell, event
