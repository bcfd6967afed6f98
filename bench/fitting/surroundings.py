"""What a plugin shares with everyone else in the process: random states, torch-wide settings, and
time.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from bench.processes.limits import at_work, children

MOMENT = 1.0  # seconds in which a process that was told to end should end


@dataclass(frozen=True)
class _Shared:
    """A state of the whole process that a plugin may change: how it is read and put back.

    Args:
        read, write: what it is, and how it is put back.
        promised: whether a plugin must leave it alone; a library that is imported late may well
            change the others.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]
    promised: bool = True


def _directory() -> str:
    with contextlib.suppress(OSError):  # it may have been removed
        return str(Path.cwd())
    return ""


def _go_to(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.chdir(directory)


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _set_filters(filters: tuple[Any, ...]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]
    with warnings.catch_warnings():
        pass  # whose end tells Python that the filters are others


_SHARED = {
    "the random state of torch": _Shared(torch.get_rng_state, torch.set_rng_state),
    "the random state of numpy": _Shared(np.random.get_state, np.random.set_state),
    "the random state of random": _Shared(random.getstate, random.setstate),
    "torch's default dtype": _Shared(torch.get_default_dtype, torch.set_default_dtype),
    "torch's number of threads": _Shared(torch.get_num_threads, torch.set_num_threads),
    "torch's gradient mode": _Shared(torch.is_grad_enabled, torch.set_grad_enabled),
    "numpy's handling of errors": _Shared(np.geterr, lambda modes: np.seterr(**modes)),
    "the current directory": _Shared(_directory, _go_to),
    "the environment variables": _Shared(lambda: dict(os.environ), _set_environment, False),
    "the filters of warnings": _Shared(lambda: tuple(warnings.filters), _set_filters, False),
}
Surroundings = dict[str, Any]


def read() -> Surroundings:
    """All of it as it is now."""
    return {name: shared.read() for name, shared in _SHARED.items()}


def changed(before: Surroundings, after: Surroundings) -> list[str]:
    """The names of what differs, and that a plugin must leave alone."""
    return [name for name in _differing(before, after) if _SHARED[name].promised]


def restore(wanted: Surroundings) -> None:
    """Put back whatever of the process-wide state differs from ``wanted``."""
    for name in _differing(wanted, read()):
        _SHARED[name].write(wanted[name])


def _differing(before: Surroundings, after: Surroundings) -> list[str]:
    return [name for name in _SHARED if not _equal(before[name], after[name])]


def left_behind(before: set[int]) -> list[str]:
    """In words, the processes that have come since and do not end within a moment; none or one
    item.
    """
    until = time.monotonic() + MOMENT
    while new := at_work(children() - before):
        if time.monotonic() > until:
            return [f"the processes at work ({len(new)} more go on)"]
        time.sleep(0.02)
    return []


def scramble(seed: int) -> None:
    """Set the global random states, so that code which draws from them cannot pass for
    reproducible.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Put everything back at the end, whatever was done to it."""
    before = read()
    try:
        yield
    finally:
        restore(before)


@contextlib.contextmanager
def lent(own: Surroundings) -> Iterator[None]:
    """Surroundings of one's own for a while, whatever the plugin that waits has made of them."""
    theirs = read()
    restore(own)
    try:
        yield
    finally:
        restore(theirs)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    try:
        return bool(a == b)
    except ValueError:  # numpy's state is a tuple with an array in it
        return len(a) == len(b) and all(map(_equal, a, b))


class DeadlineError(BaseException):
    """Raised in the middle of whatever runs too long. No Exception, so that ``except Exception``
    lets it through.
    """


@contextlib.contextmanager
def alarmed(ring: Callable[[int, FrameType | None], None], seconds: float | None) -> Iterator[None]:
    """Have ``ring`` called after that time, in the middle of whatever runs.

    Outside the main thread, without POSIX timers, or with None for a time, it is never called.
    """
    here = threading.current_thread() is threading.main_thread()
    if seconds is None or not here or not hasattr(signal, "setitimer"):
        yield
        return
    handler = signal.signal(signal.SIGALRM, ring)
    earlier = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *earlier)
        signal.signal(signal.SIGALRM, handler)


@contextlib.contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raise DeadlineError after that time, where ``alarmed`` can."""

    def ring(*_: object) -> None:
        raise DeadlineError

    with alarmed(ring, seconds):
        yield
