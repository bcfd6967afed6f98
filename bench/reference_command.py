"""What `postbench reference` does, once the words are parsed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import spec, terminal
from bench.checks.finding import Finding
from bench.command import print_findings
from bench.reference.build import build
from bench.reference.table import table as lines
from bench.reference.verify import verify
from problems.stored import SHIPPED, folders


def build_reference(name: str, seed: int, out: Path | None) -> None:
    """Build, certify and store one reference, with progress."""
    console, chosen = terminal.console(), spec.parse("problems", name)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task: TaskID = bar.add_task("starting", total=1.0)
        path = build(
            chosen, seed, out or folders()[0], lambda stage, share: bar.update(task, description=stage, completed=share)
        )
    console.print(f"Certified: {path}", soft_wrap=True, highlight=False)


def verify_references(names: Sequence[str], folder: Path | None) -> bool:
    """Check stored references again, the shipped ones and the user's own; whether none failed."""
    places = [folder] if folder else [place for place in dict.fromkeys((*folders(), SHIPPED)) if place.is_dir()]

    def findings() -> Iterator[Finding]:
        for place in places:
            yield from verify(list(names) or None, place)

    return print_findings(findings(), terminal.console())


def list_references(folder: Path | None) -> None:
    """The table of stored references: where each came from, and the figures of its certificate."""
    console = terminal.console()
    for place in [folder] if folder else folders():
        table = Table(title=str(place), title_justify="left", box=None, pad_edge=False)
        for heading in (
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
        ):
            table.add_column(heading, justify="left" if heading in ("name", "made by", "on") else "right")
        for line in lines(place):
            figures = (f"{line.r_hat:.4f}", f"{line.ess_bulk:,.0f}", f"{line.ess_tail:,.0f}", f"{line.divergent:.2%}")
            log_z = f"{line.log_z:.4f} ± {line.log_z_stderr:.4f}"
            more = (f"{line.e_fmi:.2f}", f"{line.agreement:.2f}", line.sampler, line.date)
            table.add_row(line.name, str(line.dim), f"{line.draws:,}", log_z, *figures, *more)
        console.print(table if table.row_count else f"{place}: none", highlight=False)
