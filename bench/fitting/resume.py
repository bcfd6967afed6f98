"""A cell of a learner that was killed goes on from its last minute: the learner's state, the clock,
and all that was measured by then, in one file of arrays and text.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from methods.amortised.checkpoints import FileCheckpoints, State

SAID = "harness"  # the fact of a state that holds what the harness adds, as JSON
SHOWN = "shown."  # before the names of tensors that the harness adds


@dataclass(frozen=True)
class Clock:
    """What had been spent, and how far the measuring had come.

    Args:
        seconds: of fitting, set-up left out.
        setup: seconds until the learner was ready; None where it has not said so.
        progress: of the last checkpoint that was measured, as ``Meter.progress``; 0 before it.
        index: of the next checkpoint.
    """

    seconds: float = 0.0
    setup: float | None = None
    progress: float = 0.0
    index: int = 0


@dataclass(frozen=True)
class Measured:
    """What was measured of a cell: rows as plain values, remarks, and arrays for pictures."""

    rows: list[dict[str, Any]]
    remarks: list[str]
    arrays: Mapping[str, Tensor]


class Resumption(FileCheckpoints):
    """The file of one cell. The learner saves its state; what the harness knows goes with it.

    Args:
        path: of the file; seconds: between two states, at least.

    ``clock`` and ``measured`` are asked whenever a state is saved. ``began`` and ``before`` are
    what the last state says; a file that cannot be read is removed, and the cell begins anew.
    """

    def __init__(self, path: Path, seconds: float = 60.0) -> None:
        super().__init__(path, seconds)
        self.clock: Callable[[], Clock] = Clock
        self.measured: Callable[[], Measured] = lambda: Measured([], [], {})
        self.began, self.before = Clock(), Measured([], [], {})
        try:
            state = self.last()
            if state is not None:
                self._read(state)
        except (ValueError, KeyError, TypeError):
            self.remove()

    def _read(self, state: State) -> None:
        said = json.loads(str(state.facts[SAID]))
        arrays = {
            name.removeprefix(SHOWN): tensor
            for name, tensor in state.tensors.items()
            if name.startswith(SHOWN)
        }
        self.before = Measured(said["rows"], said["remarks"], arrays)
        self.began = Clock(**said["clock"])

    def save(self, state: State) -> None:
        measured = self.measured()
        said = {
            "clock": vars(self.clock()),
            "rows": measured.rows,
            "remarks": measured.remarks,
        }
        more = {f"{SHOWN}{name}": tensor for name, tensor in measured.arrays.items()}
        super().save(State({**state.tensors, **more}, {**state.facts, SAID: json.dumps(said)}))

    def remove(self) -> None:
        """Forget the state, as of a cell that has ended."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()  # of the last cell
