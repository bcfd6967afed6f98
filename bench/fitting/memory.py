"""Memory of a process: how much it has used at its peak."""

from __future__ import annotations

from pathlib import Path

from bench.processes.limits import status_of
from bench.processes.pages import give_back_pages


class PeakMemory:
    """Peak resident memory above what the process held at the start, MiB. Linux can forget an old
    peak, others cannot.
    """

    def __init__(self) -> None:
        give_back_pages()  # what building the problem has freed is no memory of the method
        self._base = status_of("VmRSS")
        self._peak = 0.0
        _forget_peak()

    def restart(self) -> None:
        """Leave what happened since the last reading out of the account."""
        give_back_pages()  # what measuring has freed
        _forget_peak()

    @property
    def mebibytes(self) -> float:
        """The peak so far; NaN where the platform does not tell."""
        self._peak = max(self._peak, status_of("VmHWM") - self._base)
        return self._peak


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # the peak then includes what came before: too high, never too low
