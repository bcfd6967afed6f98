"""What `postbench report` and `postbench export` do: the pages and the rows of a run that is on
disk.
"""

from __future__ import annotations

from pathlib import Path

from bench.commands import terminal
from bench.errors import UserError
from bench.store import Store


def write_report(folder: Path, html: Path | None, markdown: Path | None) -> None:
    """Write the report of a finished or unfinished run."""
    from reports.page import write

    if html is None and markdown is None:
        html, markdown = folder / "report.html", folder / "report.md"
    write(Store(folder, create=False), html=html, markdown=markdown)
    for path in (html, markdown):
        if path is not None:
            terminal.console().print(str(path), soft_wrap=True, highlight=False)


def export_rows(folder: Path, to: Path) -> None:
    """Write the tidy rows of a run."""
    from reports.frame import export

    try:
        export(Store(folder, create=False), to)
    except (ValueError, OSError) as error:
        raise UserError(f"--to {to}: {error}") from None
    terminal.console().print(str(to), soft_wrap=True, highlight=False)
