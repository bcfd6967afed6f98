"""Cells in processes of their own, which can hang, crash or be killed without harm."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes.pool import Gone, Job, Pool
from bench.processes.wire import JunkError, Message
from bench.running.events import Doing, Ended, Event, Started, unpacked
from bench.running.executors.inline import Events
from bench.running.matrix import Cell

LOG = 2**20  # bytes of what a cell printed that are kept


@dataclass(eq=False)
class _Watched:
    """A cell that waits or runs: what it does, and what it has said at its end.

    ``alone`` is whether nothing may run beside it, for it is one of those that were lost together
    when something ended the server, and nobody knows which of them did.
    """

    cell: Cell
    alone: bool = False
    doing: str = "starting"
    ended: Ended | None = None
    junk: str = ""


class Isolated:
    """A process per cell, forked from a warm server; ``jobs`` of them side by side.

    The server imports torch once. A cell's process has a session of its own, is killed with all its
    descendants when it ends or its wall time is over, may not allocate more than its limit, and
    ends if this process dies. Use as a context: leaving it kills what still runs.
    """

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder, self.jobs = folder.absolute(), jobs
        self._pool = Pool(["bench.running.preload"])
        self._running: dict[Job, _Watched] = {}
        self._abandoned = False

    def __enter__(self) -> Isolated:
        self._pool.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.__exit__()
        for job, watched in self._running.items():
            self._tidy(watched.cell, job.process)
        self._running.clear()

    def run(self, cells: Sequence[Cell]) -> Events:
        """Yield each cell's events as they come, interleaved; every cell ends with ``Ended``.

        Cells that were lost with the server start once more, one after the other, which another
        ``Started`` tells; one that is lost alone has ended the server itself.
        """
        waiting = deque(_Watched(cell) for cell in cells)
        self._abandoned = False
        while self._running or (waiting and not self._abandoned):
            while waiting and not self._abandoned and self._has_room(waiting[0]):
                watched = waiting.popleft()
                self._running[self._start(watched.cell)] = watched
                yield watched.cell, Started()
            for job, message in self._pool.events():
                watched = self._running[job]
                if isinstance(message, Gone):
                    del self._running[job]
                    self._tidy(watched.cell, message.process)
                    if message.lost and watched.ended is None and not watched.alone:
                        waiting.appendleft(_Watched(watched.cell, alone=True))
                    else:
                        yield watched.cell, watched.ended or _end(watched, message)
                else:
                    yield from ((watched.cell, event) for event in _heard(job, watched, message))

    def abandon(self) -> None:
        """End what runs, from another thread: ``run`` then tells nothing more of its cells."""
        self._abandoned = True
        self._pool.break_off()

    def _has_room(self, watched: _Watched) -> bool:
        if watched.alone or any(running.alone for running in self._running.values()):
            return not self._running
        return len(self._running) < self.jobs

    def ask(self, target: str, arguments: tuple[Any, ...], wall: float) -> list[Message]:
        """What a process of its own says before it ends, or is ended; to be asked before the cells
        run.

        Args:
            target: ``module:function``, called with the arguments and a function that sends.
            arguments: to call it with.
            wall: seconds after which it is ended.
        """
        job = self._pool.start(target, arguments, wall=wall)
        said: list[Message] = []
        while True:
            for of, message in self._pool.events():
                if of is job and isinstance(message, Gone):
                    return said
                if of is job and not isinstance(message, Gone):
                    said.append(message)

    def _start(self, cell: Cell) -> Job:
        return self._pool.start(
            "bench.running.worker:main",
            (cell, self.folder),
            log=self._log(cell),
            wall=cell.wall,
            memory=cell.memory,
        )

    def _tidy(self, cell: Cell, process: int | None) -> None:
        """Remove what a process leaves: an empty log, the middle of a long one, and files half
        written.
        """
        with contextlib.suppress(OSError):
            _shorten(self._log(cell))
        with contextlib.suppress(OSError):
            for part in (self.folder / "draws").glob(f".{process}-*"):
                part.unlink()
            if self._log(cell).stat().st_size == 0:
                self._log(cell).unlink()

    def _log(self, cell: Cell) -> Path:
        return self.folder / "logs" / f"{cell.key}.txt"


def _shorten(log: Path) -> None:
    """Keep the beginning and the end of a log that is longer than anybody reads."""
    size = log.stat().st_size
    if size <= LOG:
        return
    with log.open("r+b") as file:
        file.seek(size - LOG // 2)
        end = file.read()
        file.seek(LOG // 2)
        file.truncate()
        file.write(f"\n... {size - LOG:,} bytes left out ...\n".encode() + end)


def _heard(job: Job, watched: _Watched, message: Message) -> Iterator[Event]:
    """What a message tells, but for the end, which is told when the process is gone."""
    if watched.ended is not None or watched.junk:
        return
    if "fault" in message:
        watched.junk = str(message["fault"])
        return
    try:
        event = unpacked(message)
    except JunkError as error:
        watched.junk = str(error)
        job.dismiss()
        return
    if isinstance(event, Ended):
        watched.ended = event
        job.dismiss()
    elif isinstance(event, Doing):
        watched.doing = event.what
    else:
        yield event


def _end(watched: _Watched, gone: Gone) -> Ended:
    """The end of a cell that did not tell of one."""
    if watched.junk:
        return Ended("crashed", f"{watched.junk}, while {watched.doing}")
    if gone.overdue:
        return Ended(
            "timed-out",
            f"killed after {watched.cell.wall:g} seconds of wall time, measuring included, while"
            f" {watched.doing} (budget.wall)",
        )
    return Ended("crashed", f"{gone.why}, while {watched.doing}")
