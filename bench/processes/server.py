"""The fork server: imports once what all jobs need, and forks a process for each job.

It runs in a session of its own, so that Ctrl-C in the terminal is the runner's alone, and ends with
everything it started when the runner closes the socket or dies. It imports from the runner's own
search path, never from the current directory. Imports only: an operation of torch's could leave
threads behind, and a fork of a process with threads may hang.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import importlib.util
import io
import os
import pickle
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.processes import limits, wire
from bench.processes.pages import join_pages, keep_pages
from bench.processes.plain import worded

ROUNDS = 1000  # of ending what others left behind, a millisecond each
MANY = 30  # jobs after which joining the pages of this process is worth its time
HIGH = 900  # the descriptor that a job reports through: out of the way of the first few


@dataclass(frozen=True)
class Order:
    """What a job does and under which limits.

    Args:
        number: of the job, as the runner counts.
        target: ``module:function``, called with ``arguments`` and a function that sends a message.
        log: file for what it prints; None to drop it.
        wall: seconds until the runner ends it, None for ever.
        memory: MiB that it may allocate, None for all there is.
    """

    number: int
    target: str
    arguments: tuple[Any, ...]
    log: Path | None
    wall: float | None
    memory: float | None


def homes(names: Sequence[str]) -> dict[str, str]:
    """Where packages would be imported from: their files, by name."""
    found = ((name, importlib.util.find_spec(name)) for name in names)
    return {name: str(spec.origin if spec else None) for name, spec in found}


def main(descriptor: int, modules: Sequence[str], packages: Sequence[str]) -> NoReturn:
    """Import, say hello, and serve until the runner is gone."""
    control = socket.socket(fileno=descriptor)
    keep_pages()
    # refused by the runner where they differ, so nothing of another house is imported before
    wire.write(descriptor, wire.encode({"homes": homes(packages)}))
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the collector then leaves these pages alone, and forks go on sharing them
    _Server(control).serve()


class _Server:
    """The socket, and the processes it has forked: number of the job by process."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.process = os.getpid()
        self.jobs: dict[int, int] = {}
        self.forks = 0
        self.woken, self.wake = os.pipe()
        os.set_blocking(self.wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        limits.adopt_orphans()

    def serve(self) -> NoReturn:
        self._say({"ready": True})
        while True:
            ready, _, _ = select.select([self.control.fileno(), self.woken], [], [])
            if self.woken in ready:
                os.read(self.woken, wire.CHUNK)
                self._bury()
            if self.control.fileno() in ready:
                try:
                    self._obey()
                except (EOFError, OSError):
                    self._leave()

    def _say(self, message: wire.Message) -> None:
        wire.write(self.control.fileno(), wire.encode(message))

    def _obey(self) -> None:
        head, descriptors, _, _ = socket.recv_fds(self.control, wire.LENGTH.size, 1)
        if len(head) < wire.LENGTH.size:
            raise EOFError
        (length,) = wire.LENGTH.unpack(head)
        order = pickle.loads(self._exactly(length))
        if isinstance(order, int):
            self._kill(order)
            return
        (out,) = descriptors
        self.forks += 1
        if self.forks == MANY:
            join_pages()
        process = os.fork()
        if process == 0:
            self._become(order, out)
        os.close(out)
        self.jobs[process] = order.number
        self._say({"started": order.number, "process": process})

    def _exactly(self, length: int) -> bytes:
        parts = []
        while length:
            part = self.control.recv(min(length, wire.CHUNK))
            if not part:
                raise EOFError
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _kill(self, number: int) -> None:
        for process, of in self.jobs.items():
            if of == number:
                _end(process)

    def _bury(self) -> None:
        """Take note of every job that has ended, and end all that it left behind."""
        while self.jobs:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                break
            if ended.si_pid in self.jobs:
                _end(ended.si_pid)  # its group, whose number is free once it is waited for
            _, status = os.waitpid(ended.si_pid, 0)
            number = self.jobs.pop(ended.si_pid, None)
            self._end_orphans()
            if number is not None:
                code = os.waitstatus_to_exitcode(status)
                self._say({"ended": number, "status": code})

    def _end_orphans(self) -> None:
        """End what ended jobs have left behind, and what that leaves behind in turn."""
        for _ in range(ROUNDS):
            orphans = limits.children() - self.jobs.keys()
            if not orphans:
                return
            for orphan in orphans:
                _end(orphan)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(orphan, os.WNOHANG)
            time.sleep(0.001)

    def _leave(self) -> NoReturn:
        for process in self.jobs:
            _end(process)
        for process in list(self.jobs):
            os.waitpid(process, 0)
        self.jobs.clear()
        self._end_orphans()
        os._exit(0)

    def _become(self, order: Order, out: int) -> NoReturn:
        """Be the job: nothing of the server's is left but its imports."""
        code = 1
        try:
            os.setsid()
            limits.die_with_parent(self.process)
            limits.adopt_orphans()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for descriptor in (self.control.detach(), self.woken, self.wake):
                os.close(descriptor)
            out = _moved(out)
            with _output_to(order.log):
                code = _work(order, out)
        finally:
            os._exit(code)


def _moved(descriptor: int) -> int:
    """The same end of the pipe under a high number, not passed on to programs."""
    import fcntl

    with contextlib.suppress(OSError):
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH)
        os.close(descriptor)
        return high
    os.set_inheritable(descriptor, False)
    return descriptor


def _work(order: Order, out: int) -> int:
    def send(message: wire.Message) -> None:
        data = wire.encode(message)
        try:
            wire.write(out, data)
        except OSError:  # the far end is gone, or this one was closed by a plugin
            os._exit(wire.UNHEARD)

    try:
        if order.memory is not None:
            limits.limit_memory(order.memory)
        if order.wall is not None:
            limits.limit_processor(order.wall)
        module, _, name = order.target.partition(":")
        target: Callable[..., None] = getattr(importlib.import_module(module), name)
        target(*order.arguments, send)
    except BaseException as error:
        traceback.print_exc()
        send({"fault": worded(error)})
        return 1
    return 0


def _end(process: int) -> None:
    """End a process and its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGKILL)


@contextlib.contextmanager
def _output_to(path: Path | None) -> Iterator[None]:
    """What a job and its libraries print goes to a file, removed again if nothing was printed."""
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 0)
    try:
        log = path.open("w", encoding="utf-8") if path is not None else open(os.devnull, "w")  # noqa: PTH123, SIM115
    except OSError:  # no room, or no folder: the figures matter more
        path, log = None, open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        if isinstance(stream, io.TextIOWrapper):  # whatever the terminal's encoding is
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    faulthandler.enable(log)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        with contextlib.suppress(OSError):
            if path is not None and path.stat().st_size == 0:
                path.unlink()
