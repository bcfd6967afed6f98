"""What `postbench report` does: the pages of a run that is on disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands import terminal
from bench.errors import UserError
from bench.store import Store

if TYPE_CHECKING:
    from reports.results import Results


def write_report(
    folder: Path,
    html: Path | None,
    markdown: Path | None,
    problems: Sequence[str] = (),
    tables: Path | None = None,
) -> None:
    """Write the report of a finished or unfinished run, and print where it is.

    Args:
        folder: of the run.
        html, markdown: where to; where no file is named, both go to the folder of the run.
        problems: those to draw; none for all.
        tables: a file for the tables in LaTeX.
    """
    store = Store(folder, create=False)
    if not any((html, markdown, tables)):
        html, markdown = folder / "report.html", folder / "report.md"
    if html is not None or markdown is not None:
        write_pages(store, html, markdown, problems)
    if tables is not None:
        _write_tables(store, tables, problems)
    for path in (html, markdown, tables):
        if path is not None:
            terminal.console().print(str(path), soft_wrap=True)


def _write_tables(store: Store, path: Path, problems: Sequence[str]) -> None:
    from reports.latex import latex

    if path.is_dir():
        raise UserError(f"--latex {path}: there is a folder of that name; name a file.")
    text = latex(store, problems)
    to_file(path, lambda part: _put(part, text))


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_pages(
    store: Store,
    html: Path | None,
    markdown: Path | None,
    problems: Sequence[str] = (),
    results: Results | None = None,
) -> None:
    """Write the pages, each whole or not at all, with pictures of ``NAME.md`` in the folder
    ``NAME_figures`` beside it.

    Links in their places are replaced, never followed: a folder that was received may hold some.

    Raises:
        UserError: if they cannot be written.
    """
    from reports.page import write

    for path, words in ((html, "--html"), (markdown, "--markdown")):
        if path is not None and path.is_dir() and not path.is_symlink():
            raise UserError(f"{words} {path}: there is a folder of that name; name a file.")
    with _written(html or markdown), contextlib.ExitStack() as stack:
        places = {}
        for path in (html, markdown):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                name = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix=".report-", dir=path.parent)
                )
                places[path] = Path(name) / path.name
        write(
            store,
            html=places.get(html),  # type: ignore[arg-type]
            markdown=places.get(markdown),  # type: ignore[arg-type]
            problems=problems,
            results=results,
        )
        for path, part in places.items():
            _replace(part, path)
            figures = f"{path.stem}_figures"
            if (part.parent / figures).is_dir():
                _replace_folder(part.parent / figures, path.parent / figures)


def _replace(part: Path, path: Path) -> None:
    part.chmod(0o666 & ~_mask())
    part.replace(path)


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _replace_folder(part: Path, folder: Path) -> None:
    """Put the files of a folder into another one, which may be there and hold other files."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        folder.unlink()
    folder.mkdir(exist_ok=True)
    for file in part.iterdir():
        _replace(file, folder / file.name)


def to_file(to: Path, write: Callable[[Path], None]) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: if it cannot be written, or ``write`` refuses its name.
    """
    with _written(to):
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".export-", dir=to.parent) as name:
                part = Path(name) / to.name
                write(part)
                _replace(part, to)
        except ValueError as error:
            raise UserError(f"--to {to}: {str(error).replace(str(part), str(to))}") from None


@contextlib.contextmanager
def _written(path: Path | None) -> Iterator[None]:
    """Errors of the file system as one sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}). Nothing of the results is"
            " lost; make room or name another place, and the same command writes it."
        ) from None


def terminal_table(store: Store, width: int, results: Results) -> str:
    """The table of a run as text for a terminal of that width, with its styles as escape codes."""
    from rich.console import Console

    from reports import tables

    console = Console(
        width=width,
        force_terminal=True,
        color_system="standard",
        markup=False,
        highlight=False,
        emoji=False,
    )
    with console.capture() as captured:
        console.print(tables.terminal(store, results))
    return captured.get()
