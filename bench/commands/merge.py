"""What `postbench merge` does: runs of several machines become one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.commands import terminal
from bench.store.merging import merge


def merge_runs(folders: Sequence[Path], into: Path) -> None:
    """Merge runs, and print what came of it.

    Raises:
        UserError: where two runs contradict one another, or a folder cannot be read or written.
    """
    written, whole = merge(folders, into)
    terminal.console().print(
        f"{into} holds {whole} cells, {written} of them new. `postbench report {into}` writes the"
        " report.",
        soft_wrap=True,
    )
