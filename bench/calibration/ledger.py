"""Trials of a calibration on disk, one line each as it ends: a run that was stopped goes on where
it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.calibration.trials import Trial
from bench.provenance import code_of

ROOMS = ("methods", "problems", "bench/metrics", "bench/fitting")
# what a trial gives is decided by the other modules beside this one
HARMLESS = ("ledger.py", "table.py")


class Ledger:
    """The trials of a calibration that are done, so that one that was stopped can go on.

    Args:
        path: of a file of JSON lines, made if absent; None keeps them in memory alone.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.trials: list[Trial] = []
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            whole = text[: text.rfind("\n") + 1]  # a run that was killed leaves half a line
            self.trials = [Trial(**json.loads(line)) for line in whole.splitlines()]
            if whole != text:
                path.write_text(whole, encoding="utf-8")

    @property
    def done(self) -> set[tuple[str, int, int, str, int]]:
        """What tells a trial from others (pair, D, n, estimator, repetition), for all that are
        done.
        """
        return {trial.place for trial in self.trials}

    def write(self, trials: Sequence[Trial]) -> None:
        """Append trials to the file at once, so that they outlive a kill."""
        self.trials += trials
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(
                    json.dumps(asdict(trial), separators=(",", ":")) + "\n" for trial in trials
                )


def fingerprint() -> str:
    """Hash of the sources that decide what a trial gives: trials of other code are not of
    this run.
    """
    root = Path(__file__).parents[2]
    own = [path for path in Path(__file__).parent.glob("*.py") if path.name not in HARMLESS]
    return code_of([*(root / room for room in ROOMS), *own])[:12]
