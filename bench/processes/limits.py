"""What the system does for us: memory that is limited, and processes that end with their parent."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
from pathlib import Path

MIB = 2**20
SPARE = 60  # seconds of processor time beyond the wall limit that the kernel allows
_DIE_WITH_PARENT, _ADOPT = 1, 36  # of prctl: PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER


def status_of(name: str) -> float:
    """A size out of what Linux tells of this process, MiB; NaN where the platform does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return math.nan
    return next(
        (float(line.split()[1]) * 1024 / MIB for line in lines if line.startswith(f"{name}:")),
        math.nan,
    )


def limit_memory(mebibytes: float) -> None:
    """Let this process allocate that much more than it holds now; past it, allocations fail."""
    if sys.platform != "linux":
        return
    _lower(resource.RLIMIT_DATA, int((status_of("VmData") + mebibytes) * MIB))


def limit_processor(wall: float) -> None:
    """Let the kernel end this process well after its wall limit, whatever holds its interpreter."""
    _lower(resource.RLIMIT_CPU, math.ceil(wall * (os.cpu_count() or 1) + SPARE))


def _lower(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (most, most))


def die_with_parent(parent: int) -> None:
    """Let the kernel end this process when its parent ends, also if that is killed."""
    _control(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be watched
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none escapes."""
    _control(_ADOPT, 1)


def _control(what: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(what, value, 0, 0, 0)


def children() -> set[int]:
    """The processes whose parent is this one, those included that have ended and wait to be asked;
    none where the platform does not tell.
    """
    me = os.getpid()
    try:
        listed = Path(f"/proc/{me}/task/{me}/children").read_text(encoding="ascii")
    except OSError:
        return set()
    return {int(pid) for pid in listed.split()}


def at_work(processes: set[int]) -> set[int]:
    """Those of them that have not ended."""
    found = set()
    for process in processes:
        with contextlib.suppress(OSError, IndexError):
            stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
            if stat.rpartition(")")[2].split()[0] not in "ZX":
                found.add(process)
    return found
