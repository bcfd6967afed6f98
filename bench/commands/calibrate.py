"""What `postbench calibrate` does, once the words are parsed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.calibration.calibrate import SIZES, Repetitions, Row, calibrate
from bench.calibration.case import Case
from bench.calibration.cases import DIMS, every_case
from bench.calibration.estimators import estimators
from bench.calibration.learned import NAME, learned_cases
from bench.calibration.learned_trials import calibrate_learned
from bench.calibration.ledger import Ledger, fingerprint
from bench.calibration.table import markdown, plain
from bench.commands import terminal
from bench.errors import UserError
from bench.provenance import version

MARKS = ("<!-- calibration -->\n", "<!-- end of calibration -->")
LEARNED_MARKS = ("<!-- learned pairs -->\n", "<!-- end of learned pairs -->")


def _chosen(cases: Sequence[Case], names: Sequence[str]) -> list[Case]:
    known = {*(case.name for case in cases), NAME}
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
    """Try every estimator on pairs whose answer is known, and write a table of posteriors and one
    of learned pairs.

    Args:
        pairs: names of those to try; none for all.
        out: folder of the trials, where a run that was stopped goes on, and of the page.
        into: a page that holds ``MARKS`` and ``LEARNED_MARKS``, or those of the table that is made,
            between which it is put as well; that of the suite is ``docs/calibration.md``.
    """
    cases = _chosen(every_case(tuple(dims) or DIMS), pairs)
    learned = learned_cases() if not pairs or NAME in pairs else []
    wanted = [marks for marks, some in ((MARKS, cases), (LEARNED_MARKS, learned)) if some]
    if into is not None:
        for marks in wanted:
            _between(into, "", marks)
    console, ledger = terminal.console(), Ledger(out / f"trials-{fingerprint()}.jsonl")
    tables, count = [], 0
    with _bar(console) as bar:
        if cases:
            rows = calibrate(
                cases,
                estimators(),
                sizes=tuple(sizes) or SIZES,
                repetitions=repetitions,
                jobs=jobs or os.cpu_count() or 1,
                ledger=ledger,
                progress=_shown(bar, "blocks of trials"),
            )
            tables.append(markdown(rows, _made(rows, repetitions)))
            count += len(rows)
        if learned:
            rows = calibrate_learned(learned, repetitions, ledger, _shown(bar, "learned pairs"))
            tables.append(plain(rows, _made(rows, repetitions)))
            count += len(rows)
    _write(out, into, dict(zip(wanted, tables, strict=True)))
    where = f"{out / 'calibration.md'}{f' and {into}' if into else ''}"
    console.print(f"{count} rows in {where}", soft_wrap=True, highlight=False)


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def _shown(bar: Progress, name: str) -> Callable[[int, int], None]:
    """A line of the bar that is told how much is done."""
    task = bar.add_task(name, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def _made(rows: Sequence[Row], repetitions: Repetitions) -> str:
    minutes = sum(row.seconds * (row.tried + row.skipped) for row in rows) / 60
    return (
        f"Made by `postbench calibrate`, version {version()}: {repetitions.cheap} repetitions of"
        f" cheap estimators, {repetitions.costly} of dear ones, {minutes:.0f} processor minutes."
    )


def _write(out: Path, into: Path | None, tables: Mapping[tuple[str, str], str]) -> None:
    """The tables, by their marks, on a page of their own and between their marks on another."""
    page = "# Calibration\n\n" + "\n".join(tables.values())
    (out / "calibration.md").write_text(page, encoding="utf-8")
    if into is not None:
        for marks, table in tables.items():
            into.write_text(_between(into, table, marks), encoding="utf-8")


def _between(page: Path, table: str, marks: tuple[str, str] = MARKS) -> str:
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
    before, begun, rest = text.partition(marks[0])
    _, ended, after = rest.partition(marks[1])
    if not (begun and ended):
        raise UserError(
            f"--into {page}: the page needs the lines {marks[0].strip()!r} and {marks[1]!r} for the"
            " table to go between."
        )
    return f"{before}{begun}\n{table}\n{ended}{after}"
