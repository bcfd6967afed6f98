"""What `postbench calibrate` does, once the words are parsed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench import terminal
from bench.calibrate import SIZES, Repetitions, Row, calibrate
from bench.calibration_cases import DIMS, every_case
from bench.calibration_estimators import estimators
from bench.calibration_table import markdown
from bench.version import version


def write_calibration(to: Path, dims: Sequence[int], sizes: Sequence[int], cheap: int, costly: int, jobs: int | None) -> None:
    """Try every estimator of a divergence on pairs whose divergence is known, and write the table."""
    console, repetitions = terminal.console(), Repetitions(cheap, costly)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("pairs", total=None)

        def told(done: int, total: int, rows: Sequence[Row]) -> None:
            bar.update(task, completed=done, total=total)

        rows = calibrate(
            every_case(tuple(dims) or DIMS),
            estimators(),
            sizes=tuple(sizes) or SIZES,
            repetitions=repetitions,
            jobs=jobs or os.cpu_count() or 1,
            progress=told,
        )
    made = (
        f"Made by `postbench calibrate`, version {version()}: {cheap} repetitions of cheap estimators, {costly} of fitted ones."
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(f"# Calibration\n\n{markdown(rows, made)}", encoding="utf-8")
    console.print(f"{len(rows)} rows in {to}", soft_wrap=True, highlight=False)
