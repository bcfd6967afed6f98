"""The runner's side of the fork server: starts jobs, hears what they say, and ends them."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.processes import wire
from bench.processes.server import Order, homes
from bench.processes.wire import JunkError, Message, Reader

PACKAGES = ("bench", "methods", "problems")  # that must be the runner's own in every job
TIDY = 2.0  # seconds for which a job may go on that has said all it had to say
IDLE = 60.0  # seconds at most that a wait for messages takes


@dataclass(frozen=True)
class Gone:
    """A job's process, and all that it started, has ended.

    Args:
        why: in words, such as ``the process was ended by SIGSEGV``.
        overdue: whether it was ended at its wall limit.
        lost: whether the fork server ended, and the job with it, through no fault of its own.
        process: its number, None where that was never told.
    """

    why: str
    overdue: bool = False
    lost: bool = False
    process: int | None = None


@dataclass(eq=False)
class Job:
    """The process of one job as the runner sees it.

    Args:
        number: of the job, counted by the pool.
        pipe: where its messages are read.
        due: the time on the monotonic clock when it is ended, None for never.
        cut: whether its messages end in the middle of one.
    """

    number: int
    pipe: int
    due: float | None
    reader: Reader = field(default_factory=Reader)
    open: bool = True
    why: str = ""
    overdue: bool = False
    process: int | None = None
    cut: bool = False

    @property
    def ended(self) -> Gone:
        """How it ended. Half a message is its own fault, unless it was cut off with the server."""
        why = CUT if self.cut and self.why != LOST else self.why
        return Gone(why, self.overdue, why == LOST, self.process)

    def dismiss(self) -> None:
        """It has said all it had to say, and may tidy up for a moment."""
        self.due = time.monotonic() + TIDY


class Pool:
    """A fork server and its jobs. Use as a context: leaving it ends everything.

    Args:
        preload: modules that the server imports before it forks.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self._preload = preload
        self._numbers = itertools.count()
        self._jobs: dict[int, Job] = {}
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Pool:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        with _unhurried():
            self._stop()

    def start(
        self,
        target: str,
        arguments: tuple[Any, ...],
        *,
        log: Path | None = None,
        wall: float | None = None,
        memory: float | None = None,
    ) -> Job:
        """Have a process forked that calls ``target(*arguments, send)``.

        Raises:
            UserError: if the server cannot start.
        """
        self._wait_until_ready()
        number = next(self._numbers)
        order = pickle.dumps(Order(number, target, arguments, log, wall, memory))
        pipe, far = os.pipe()
        os.set_blocking(pipe, False)
        due = None if wall is None else time.monotonic() + wall
        job = self._jobs[number] = Job(number, pipe, due)
        try:
            socket.send_fds(self._control, [wire.LENGTH.pack(len(order))], [far])
            self._control.sendall(order)
        except OSError:
            self._lose()
        finally:
            os.close(far)
        return job

    def break_off(self) -> None:
        """End the server and with it every job, from any thread; the next wait tells of it."""
        server = self._server
        if server is not None:
            server.kill()

    def events(self) -> Iterator[tuple[Job, Message | Gone]]:
        """What the jobs have said since the last call; waits until one says something."""
        if not self._jobs:
            return
        self._hear(self._patience())
        for job in list(self._jobs.values()):
            yield from ((job, message) for message in self._messages(job))
            if job.why and not job.open:
                del self._jobs[job.number]
                os.close(job.pipe)
                yield job, job.ended

    def _patience(self) -> float:
        dues = [job.due for job in self._jobs.values() if job.due is not None]
        return max(0.0, min([IDLE, *(due - time.monotonic() for due in dues)]))

    def _hear(self, patience: float) -> None:
        """Wait for a sign of life, take note of ends, and end what is overdue."""
        pipes = [job.pipe for job in self._jobs.values() if job.open]
        if any(job.why for job in self._jobs.values()):
            patience = 0.0
        poll = select.poll()  # select() knows no descriptor above 1023
        for descriptor in (self._control.fileno(), *pipes):
            poll.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(math.ceil(1000 * patience))}
        if self._control.fileno() in ready:
            self._take_note()
        for job in self._jobs.values():
            if job.due is not None and time.monotonic() >= job.due:
                job.due, job.overdue = None, job.open
                job.why = job.why or ("" if job.open else MUTE)
                self._end(job)

    def _messages(self, job: Job) -> Iterator[Message]:
        ended = bool(job.why)
        while job.open:
            data = wire.available(job.pipe)
            if data is None:
                job.open = not ended
                return
            try:
                yield from job.reader.feed(data)
            except JunkError as error:
                self._fail(job, f"what it reported cannot be read: {error}")
                return
            if not data:
                self._close(job)

    def _close(self, job: Job) -> None:
        """The far end of its pipe is closed: it has ended, or can say nothing any more."""
        job.open, job.cut = False, job.reader.midway
        if not job.why:  # the server will say how it ended, unless it has ended itself
            job.due = min(job.due or float("inf"), time.monotonic() + TIDY)

    def _fail(self, job: Job, why: str) -> None:
        job.open = False
        if not job.why:
            self._end(job)
        job.why = why

    def _end(self, job: Job) -> None:
        order = pickle.dumps(job.number)
        with contextlib.suppress(OSError):
            self._control.sendall(wire.LENGTH.pack(len(order)) + order)

    def _take_note(self) -> None:
        data = wire.available(self._control.fileno())
        if data == b"":
            self._lose()
            return
        for message in self._reader.feed(data or b""):
            started = self._jobs.get(message.get("started", -1))
            if started is not None:
                started.process = message["process"]
            ended = self._jobs.get(message.get("ended", -1))
            if ended is not None:
                ended.why = ended.why or _cause(message["status"])

    def _lose(self) -> None:
        """The server has ended, and every job with it."""
        for job in self._jobs.values():
            job.why = job.why or LOST
        self._stop()
        self._start()

    def _start(self) -> None:
        self._control, far = socket.socketpair()
        self._reader, self._ready = Reader(), False
        path = [place or os.getcwd() for place in sys.path]  # noqa: PTH109
        code = (
            f"import sys; sys.path[:] = {path!r}; from bench.processes.server import main;"
            f" main({far.fileno()}, {list(self._preload)!r}, {PACKAGES!r})"
        )
        self._complaints = _memory_file()
        self._server = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            pass_fds=[far.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
            env={"OMP_NUM_THREADS": "1", **os.environ},  # read by torch: no thread pool to fork
            start_new_session=True,
        )
        far.close()

    def _stop(self) -> None:
        """Close the socket, which ends the server and all its jobs, and see it gone."""
        self._control.close()
        if self._server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(timeout=TIDY)
            self._server.kill()
            self._server.wait()
            os.close(self._complaints)
            self._server = None
        for job in self._jobs.values():
            if not job.why:
                os.close(job.pipe)
        self._jobs = {number: job for number, job in self._jobs.items() if job.why}

    def _wait_until_ready(self) -> None:
        while not self._ready:
            data = self._control.recv(wire.CHUNK)
            if not data:
                raise UserError(f"The processes of the run cannot start: {self._complaint()}.")
            for message in self._reader.feed(data):
                self._ready = "ready" in message
                _must_be_ours(message.get("homes", {}))

    def _complaint(self) -> str:
        size = os.fstat(self._complaints).st_size
        said = os.pread(self._complaints, wire.CHUNK, max(0, size - wire.CHUNK))
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "the fork server ended without a word"


LOST = "the fork server ended"
CUT = "it ended in the middle of a report"
MUTE = "it closed the descriptor that it reports through"


def _cause(status: int) -> str:
    """How a process ended, in words: from its exit status, or minus the signal."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"the process was ended by {signal.Signals(-status).name}"
    if status == wire.UNHEARD:
        return "the process could not report: the descriptor it reports through was closed"
    return f"the process ended by itself with exit status {status}"


def _must_be_ours(theirs: dict[str, str]) -> None:
    ours = homes(PACKAGES)
    for name, place in theirs.items():
        if ours.get(name) != place:
            raise UserError(
                f"The processes of the run would import {name!r} from {place}, and this command"
                f" runs the one of {ours.get(name)}; run it from another folder, or repair the"
                " installation."
            )


def _memory_file() -> int:
    """A file that needs no room on any disk, for what the server complains of."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("postbench")
    return os.open(os.devnull, os.O_RDWR)


@contextlib.contextmanager
def _unhurried() -> Iterator[None]:
    """A second Ctrl-C waits until what the first one asked for is done, which takes a moment."""
    try:
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread, which alone is interrupted
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
