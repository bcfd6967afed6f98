"""Where cells run: in this process, or each in one of its own that can hang, crash or be killed
without harm.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from bench.fitting import memory
from bench.running.matrix import Cell
from bench.running.worker import Ended, Event, work


@dataclass(frozen=True)
class Started:
    """Event: a cell has a process of its own now."""


Events = Iterator[tuple[Cell, Event | Started]]


def inline(cells: Sequence[Cell], folder: Path) -> Events:
    """One after the other in this process: no isolation and no limits, but a debugger can
    step in.
    """
    for cell in cells:
        yield cell, Started()
        for event in work(cell, folder):
            yield cell, event


class Isolated:
    """A process per cell, forked from a warm server; ``jobs`` of them side by side.

    The server imports torch once. Its children are killed when their wall time is over, may not
    allocate more than their limit, and end themselves if this process dies. Use as a context:
    leaving it kills what still runs.
    """

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder, self.jobs = folder, jobs
        self._running: list[_Child] = []
        # read by the server when it imports torch: no thread pool to fork
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["bench.running.preload"])

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._running:
            child.kill()
        self._running.clear()

    def run(self, cells: Sequence[Cell]) -> Events:
        """Yield each cell's events as they come, interleaved; every cell ends with ``Ended``."""
        waiting = deque(cells)
        while waiting or self._running:
            while waiting and len(self._running) < self.jobs:
                child = _Child(waiting.popleft(), self.folder, self._context)
                self._running.append(child)
                yield child.cell, Started()
            connections = [child.connection for child in self._running]
            ready = multiprocessing.connection.wait(
                connections, timeout=min(child.left() for child in self._running)
            )
            for child in list(self._running):
                event = child.receive() if child.connection in ready else child.overdue()
                if isinstance(event, Ended):
                    self._running.remove(child)
                    child.leave()
                if event is not None:
                    yield child.cell, event


class _Child:
    """One cell's process, seen from outside."""

    def __init__(
        self, cell: Cell, folder: Path, context: multiprocessing.context.ForkServerContext
    ) -> None:
        self.cell = cell
        self.connection, far_end = context.Pipe(duplex=False)
        self.process: ForkServerProcess = context.Process(
            target=_child, args=(cell, folder, far_end), daemon=True
        )
        self.process.start()
        far_end.close()
        self.started = time.monotonic()

    def left(self) -> float:
        """Seconds until the wall limit, at least 0; a minute where there is no limit."""
        return (
            60.0
            if self.cell.wall is None
            else max(0.0, self.started + self.cell.wall - time.monotonic())
        )

    def receive(self) -> Event:
        """The next event; a pipe that ended without one is a crash."""
        try:
            event: Event = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(timeout=10)
            return Ended("crashed", _cause(self.process.exitcode))
        return event

    def overdue(self) -> Ended | None:
        """The end of a cell that has run past its wall limit."""
        if self.cell.wall is None or self.left() > 0:
            return None
        return Ended(
            "timed-out",
            f"killed after {self.cell.wall:g} seconds of wall time, measuring included"
            " (budget.wall)",
        )

    def leave(self) -> None:
        """Let the process tidy up for a moment if it ended by itself, and make sure that it is
        gone.
        """
        if self.left() > 0:
            self.process.join(timeout=1)
        self.kill()

    def kill(self) -> None:
        """End the process, whatever it does; harmless where it has ended."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        with contextlib.suppress(ValueError):
            return f"the cell's process was ended by {signal.Signals(-exitcode).name}"
    return f"the cell's process ended by itself with exit status {exitcode}"


def _child(cell: Cell, folder: Path, connection: Connection) -> None:
    # Ctrl-C is the parent's to handle; it ends its children
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with _output_to(folder / "logs" / f"{cell.key}.txt"):
        import torch

        torch.set_num_threads(1)  # cells side by side must not fight for cores
        memory.limit(cell.memory)
        for event in work(cell, folder):
            connection.send(event)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """What the cell and its libraries print goes to a file, removed again if nothing was
    printed.
    """
    with path.open("w", encoding="utf-8") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        faulthandler.enable(log)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            faulthandler.disable()
    if path.stat().st_size == 0:
        path.unlink()
