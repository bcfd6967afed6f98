"""Memory of a process: how much it has used at its peak, and a limit on how much it may."""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path

MIB = 2**20


class PeakMemory:
    """Peak resident memory above what the process held at the start, MiB. Linux can forget an old
    peak, others cannot.
    """

    def __init__(self) -> None:
        self._base = _status("VmRSS")
        self._peak = 0.0
        _forget_peak()

    def restart(self) -> None:
        """Leave what happened since the last reading out of the account."""
        _forget_peak()

    @property
    def mebibytes(self) -> float:
        """The peak so far; NaN where the platform does not tell."""
        self._peak = max(self._peak, _status("VmHWM") - self._base)
        return self._peak


def limit(mebibytes: float) -> None:
    """Let this process allocate that much more than it holds now; past it, allocations fail with an
    error.
    """
    if sys.platform != "linux":
        return
    held = _status("VmData")
    most = int((held + mebibytes) * MIB)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(
        resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )


def _status(name: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return math.nan
    return next(
        (float(line.split()[1]) * 1024 / MIB for line in lines if line.startswith(f"{name}:")),
        math.nan,
    )


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # the peak then includes what came before: too high, never too low
