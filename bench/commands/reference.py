"""What `postbench reference` does, once the words are parsed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bench.checks.finding import Finding
from bench.commands import terminal
from bench.commands.check import print_findings
from bench.errors import UserError
from bench.plugins import spec
from bench.reference.build import build
from bench.reference.table import Line, stems
from bench.reference.table import table as lines_of
from bench.reference.verify import absent, verify
from bench.running.forecast import worded
from problems.parts.stored import files, folders, stem_of

HEADINGS = (
    "name",
    "D",
    "draws",
    "log Z",
    "R-hat",
    "bulk ESS",
    "tail ESS",
    "divergent",
    "E-FMI",
    "apart",
    "made by",
    "on",
)
# the first to go for want of room
LESSER = ("made by", "draws", "on", "E-FMI", "D", "tail ESS", "divergent", "bulk ESS")
LONGEST = 30  # letters of a name on one line
EVERY = 30.0  # seconds between two lines of the same stage
ROOMY = 1_000  # columns in which every table finds room
LEGEND = (
    "R-hat: the worst of all coordinates and their squares. ESS: effective draws of the run, in its"
    " worst coordinate. Divergent: share of transitions. Apart: the worst difference of the two"
    " routes, in standard errors."
)


def build_reference(name: str, seed: int, out: Path | None) -> None:
    """Build, certify and store one reference, with progress; lines of it where the output is no
    terminal.
    """
    console, chosen = terminal.console(), spec.parse("problems", name)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task: TaskID = bar.add_task("starting", total=1.0)
        lines = Lines(console)

        def told(stage: str, share: float) -> None:
            bar.update(task, description=stage, completed=share)
            if quiet:
                lines.tell(stage, share)

        path = build(chosen, seed, out or folders()[0], told)
    console.print(f"Certified: {path}", soft_wrap=True)


class Lines:
    """Progress as lines: one where a stage begins, and one every half minute within it.

    Args:
        console: to print on.
        clock: seconds, never going back.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._begun = self._said = clock()
        self._stage = ""

    def tell(self, stage: str, share: float) -> None:
        """A stage, and what share of it is done."""
        now, new = self._clock(), stage != self._stage
        if not new and now - self._said < EVERY:
            return
        if new:
            self._stage, self._begun = stage, now
        self._said = now
        line = f"{stage}, {share:.0%} of this step"
        if share > 0 and now > self._begun:
            line += f", {worded((now - self._begun) * (1 - share) / share)} left in it"
        self._console.print(terminal.words(line), soft_wrap=True)


def verify_references(names: Sequence[str], folder: Path | None) -> bool:
    """Check stored references again, the shipped ones and the user's own; whether none failed."""
    console, places = terminal.console(), _places(folder)
    if folder and not stems(folder):
        raise UserError(f"--folder {folder}: there are no references there.")
    homes = {name: _homes(name, places) for name in names}

    def findings() -> Iterator[Finding]:
        for place in places:
            found = verify(
                [name for name in names if place in homes[name]] if names else None, place
            )
            for i, finding in enumerate(found):
                if i == 0:
                    console.print(f"{place}:", soft_wrap=True, highlight=False)
                yield finding
        if not names and folder is None:
            yield from absent()

    return print_findings(findings(), console)


def list_references(folder: Path | None) -> None:
    """The table of stored references: where each came from, and the figures of its certificate."""
    console, left_out = terminal.console(), None
    for place in _places(folder):
        lines, harmed = lines_of(place)
        console.print(
            f"{place}:{'' if lines or harmed else ' none'}", soft_wrap=True, highlight=False
        )
        if lines:
            shown, left_out = _fitting(lines, console)
            console.print(shown, highlight=False)
        for stem in harmed:
            console.print(
                f"{stem} was harmed; `postbench reference verify` says how.",
                soft_wrap=True,
                highlight=False,
                style="red",
            )
    if left_out is not None:
        more = f" Left out for want of room: {', '.join(left_out)}." if left_out else ""
        console.print(LEGEND + more, highlight=False)


def _places(folder: Path | None) -> list[Path]:
    return [folder] if folder else list(dict.fromkeys(folders()))


def _homes(name: str, places: Sequence[Path]) -> list[Path]:
    """The places with one file or both of a problem's reference; the first where there is none, to
    say that it is missing.
    """
    stem = stem_of(spec.parse("problems", name).build())
    return [place for place in places if any(path.is_file() for path in files(stem, place))] or [
        *places[:1]
    ]


def _fitting(lines: Sequence[Line], console: Console) -> tuple[Table, Sequence[str]]:
    """The table without the least of its columns, as many as the width asks, and those that are
    left out.
    """
    for count in range(len(LESSER) + 1):
        table = _table(lines, [heading for heading in HEADINGS if heading not in LESSER[:count]])
        if (
            Measurement.get(console, console.options.update(width=ROOMY), table).maximum
            <= console.width
        ):
            break
    return table, LESSER[:count]


def _table(lines: Sequence[Line], headings: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        justify: JustifyMethod = "left" if heading in ("name", "made by", "on") else "right"
        name = heading == "name"
        table.add_column(
            heading,
            justify=justify,
            no_wrap=not name,
            overflow="fold",
            max_width=LONGEST if name else None,
        )
    for line in lines:
        cells = _cells(line)
        table.add_row(*(cells[heading] for heading in headings))
    return table


def _cells(line: Line) -> dict[str, str]:
    return {
        "name": line.name,
        "D": str(line.dim),
        "draws": f"{line.draws:,}",
        "log Z": f"{line.log_z:.4f} ± {line.log_z_stderr:.4f}",
        "R-hat": f"{line.r_hat:.4f}",
        "bulk ESS": f"{line.ess_bulk:,.0f}",
        "tail ESS": f"{line.ess_tail:,.0f}",
        "divergent": f"{line.divergent:.2%}",
        "E-FMI": f"{line.e_fmi:.2f}",
        "apart": f"{line.agreement:.2f}",
        "made by": line.sampler,
        "on": line.date,
    }
