"""What a plugin shares with everyone else in the process: random states, torch-wide settings, and
time.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class _Shared:
    read: Callable[[], Any]
    write: Callable[[Any], object]


_SHARED = {
    "the random state of torch": _Shared(torch.get_rng_state, torch.set_rng_state),
    "the random state of numpy": _Shared(np.random.get_state, np.random.set_state),
    "the random state of random": _Shared(random.getstate, random.setstate),
    "torch's default dtype": _Shared(torch.get_default_dtype, torch.set_default_dtype),
    "torch's number of threads": _Shared(torch.get_num_threads, torch.set_num_threads),
    "torch's gradient mode": _Shared(torch.is_grad_enabled, torch.set_grad_enabled),
}
Surroundings = dict[str, Any]


def read() -> Surroundings:
    """All of it as it is now."""
    return {name: shared.read() for name, shared in _SHARED.items()}


def changed(before: Surroundings, after: Surroundings) -> list[str]:
    """The names of what differs."""
    return [name for name in _SHARED if not _equal(before[name], after[name])]


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
        for name in changed(before, read()):
            _SHARED[name].write(before[name])


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):  # numpy's state is a tuple with an array in it
        return all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return bool(np.all(a == b))


class OverdueError(BaseException):
    """Raised in the middle of whatever runs too long. No Exception, so that ``except Exception``
    lets it through.
    """


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise OverdueError after that time. Outside the main thread, or without POSIX timers, there
    is no deadline.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield
        return

    def ring(*_: object) -> None:
        raise OverdueError

    handler = signal.signal(signal.SIGALRM, ring)
    earlier = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *earlier)
        signal.signal(signal.SIGALRM, handler)
