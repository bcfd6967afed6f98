"""What `postbench calibrate` does, once the words are parsed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.calibration.calibrate import SIZES, Repetitions, calibrate
from bench.calibration.case import Case
from bench.calibration.cases import DIMS, every_case
from bench.calibration.estimators import estimators
from bench.calibration.ledger import Ledger, fingerprint
from bench.calibration.table import markdown
from bench.commands import terminal
from bench.errors import UserError
from bench.provenance import version

MARKS = ("<!-- calibration -->\n", "<!-- end of calibration -->")


def _chosen(cases: Sequence[Case], names: Sequence[str]) -> list[Case]:
    known = {case.name for case in cases}
    for name in names:
        if name not in known:
            raise UserError(
                f"--pair {name!r} is no pair of the calibration; there are"
                f" {', '.join(sorted(known))}."
            )
    return [case for case in cases if not names or case.name in names]


def write_calibration(
    out: Path,
    into: Path | None,
    dims: Sequence[int],
    sizes: Sequence[int],
    repetitions: Repetitions,
    jobs: int | None,
    pairs: Sequence[str] = (),
) -> None:
    """Try every estimator on pairs whose answer is known, and write the table.

    Args:
        pairs: names of those to try; none for all.
        out: folder of the trials, where a run that was stopped goes on, and of the page.
        into: a page that holds ``MARKS``, between which the table is put as well; that of the suite
            is ``docs/calibration.md``.
    """
    if into is not None:
        _between(into, "")
    console, ledger = terminal.console(), Ledger(out / f"trials-{fingerprint()}.jsonl")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("blocks of trials", total=None)
        rows = calibrate(
            _chosen(every_case(tuple(dims) or DIMS), pairs),
            estimators(),
            sizes=tuple(sizes) or SIZES,
            repetitions=repetitions,
            jobs=jobs or os.cpu_count() or 1,
            ledger=ledger,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    minutes = sum(row.seconds * (row.tried + row.skipped) for row in rows) / 60
    made = (
        f"Made by `postbench calibrate`, version {version()}: {repetitions.cheap} repetitions of"
        f" cheap estimators, {repetitions.costly} of dear ones, {minutes:.0f} processor minutes."
    )
    page, table = out / "calibration.md", markdown(rows, made)
    page.write_text(f"# Calibration\n\n{table}", encoding="utf-8")
    if into is not None:
        into.write_text(_between(into, table), encoding="utf-8")
    console.print(
        f"{len(rows)} rows in {page}{f' and {into}' if into else ''}",
        soft_wrap=True,
        highlight=False,
    )


def _between(page: Path, table: str) -> str:
    """The page with the table between its marks.

    Raises:
        UserError: if the page cannot be read or has no such place.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--into {page}: {getattr(error, 'strerror', None) or error}; name a Markdown page."
        ) from None
    before, begun, rest = text.partition(MARKS[0])
    _, ended, after = rest.partition(MARKS[1])
    if not (begun and ended):
        raise UserError(
            f"--into {page}: the page needs the lines {MARKS[0].strip()!r} and {MARKS[1]!r} for the"
            " table to go between."
        )
    return f"{before}{begun}\n{table}\n{ended}{after}"
