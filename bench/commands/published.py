"""What `postbench published` does, and what `run --against` adds to a run: results that ship are
listed, made, and put beside one's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from bench.commands import terminal
from bench.commands.report import to_file
from bench.errors import UserError, unknown
from bench.plugins import spec
from bench.plugins.built_in import Group
from bench.plugins.spec import Spec
from bench.running.matrix_file import Matrix, validated
from bench.store import Lock, Store, kept_label, label

if TYPE_CHECKING:
    from bench.published.archive import Published

PUBLISHED = "published"  # the word that stands for the file of the suite
TITLE = "against-published"
USUAL = "quick"  # what `run` runs where nothing is named


def publish(folders: Sequence[Path], to: Path | None) -> None:
    """Write the file of published results from the folders of runs."""
    from bench.published import archive

    path, stores = to or archive.SHIPPED, [Store(folder, create=False) for folder in folders]
    count: list[int] = []
    to_file(path, lambda part: count.append(archive.write(stores, part)))
    size = path.stat().st_size
    terminal.console().print(f"{path}: {count[0]} cells, {size:,} bytes.", soft_wrap=True)


def show_published(source: str) -> None:
    """Print what was published, run by run: methods, problems, seeds, when and with what, and what
    is stale.
    """
    for place, found in enumerate(_read(source)):
        if place:
            terminal.console().print()
        _show(found)


def _show(found: Published) -> None:
    from bench.published.beside import stale

    old, console = stale(found), terminal.console()
    info = found.info
    console.print(Text(f"{info.get('title')}: {info.get('description')}", style="bold"))
    for name in ("finished", "version", "commit", "processor", "python"):
        console.print(f"{name}: {terminal.words(info.get(name, ''))}", soft_wrap=True)
    packages = info.get("packages", {})
    console.print(f"packages: {', '.join(f'{k} {v}' for k, v in packages.items())}", soft_wrap=True)
    problems = list(dict.fromkeys(_problem(cell) for cell in found.cells))
    console.print(f"problems: {', '.join(problems)}", soft_wrap=True)
    console.print(_table(found, old))
    if old:
        console.print(
            f"Stale are {len(old)} of {len(found.cells)} cells: code that makes their figures has"
            " changed since, perhaps without changing them. The figures are right of that code.",
            soft_wrap=True,
        )
        for reason, count in _counted(old).items():
            console.print(f"  {count} cells: {terminal.words(reason)}", soft_wrap=True)


def _table(found: Published, old: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("Method", "Problems", "Seeds", "Skipped", "Not ended well", "Stale"):
        table.add_column(column, justify="left" if column == "Method" else "right")
    methods: dict[str, list[Mapping[str, Any]]] = {}
    for cell in found.cells:
        methods.setdefault(label(cell["method"], cell["settings"]), []).append(cell)
    for method, cells in methods.items():
        skipped = sum(cell["status"] == "skipped" for cell in cells)
        ill = sum(cell["status"] not in ("ok", "skipped") for cell in cells)
        aged = sum(cell["key"] in old for cell in cells)
        table.add_row(
            Text(terminal.visible(method)),
            str(len({_problem(cell) for cell in cells if cell["status"] != "skipped"})),
            str(len({cell["seed"] for cell in cells})),
            *(str(count) if count else "" for count in (skipped, ill)),
            "" if not aged else "all" if aged == len(cells) else f"{aged} of {len(cells)}",
        )
    return table


def _counted(old: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for reason in old.values():
        found[reason] = found.get(reason, 0) + 1
    return found


def _label(name: str, groups: Sequence[Group]) -> str:
    """The label of a problem as typed, which is of the first of the groups that knows it."""
    for group in groups[:-1]:
        with contextlib.suppress(UserError):
            return _labelled(spec.parse(group, name))
    return _labelled(spec.parse(groups[-1], name))


def _labelled(found: Spec) -> str:
    return kept_label(found.name, found.settings)


def _problem(cell: Mapping[str, Any]) -> str:
    return label(cell["problem"], cell["problem_settings"])


def _read(source: str) -> tuple[Published, ...]:
    from bench.published.archive import SHIPPED, read

    if source == PUBLISHED:
        return read(SHIPPED)
    if not source.endswith(".parquet"):
        raise UserError(
            f"--against must be {PUBLISHED} or a .parquet file that `postbench published --make`"
            f" wrote, got {source!r}."
        )
    return read(Path(source))


class Against:
    """Published results, and the part of them that a run is held against.

    Args:
        source: ``published``, or the path of such a file.
        problems: as typed; none for all that were published.
        methods: as typed: those to run.
        preset: as typed; the problems are those that were published, so that none belongs here.

    Raises:
        UserError: if there are no methods, or a problem was not published.
    """

    def __init__(
        self, source: str, problems: Sequence[str], methods: Sequence[str], preset: str = USUAL
    ) -> None:
        if preset != USUAL:
            raise UserError(
                f"--against takes problems and settings from the published results: leave out"
                f" {preset!r}, or name problems by -p."
            )
        if not methods:
            raise UserError("--against needs the method that is to be run: -m mine.py:Mine.")
        self._runs, self._methods = _read(source), list(methods)
        kept = {name: of for run in reversed(self._runs) for name, of in _problems(run).items()}
        groups = {of["group"]: None for of in kept.values()}
        labels = [_label(name, list(groups)) for name in problems] or list(_problems(self._runs[0]))
        for name in labels:
            if name not in kept:
                raise unknown(
                    "published problem", name, kept, "`postbench published` shows what there is."
                )
        self._problems = {name: kept[name] for name in labels}
        holding = (run for run in self._runs if set(labels) <= set(_problems(run)))
        self._usual = next(holding, self._runs[0])

    def matrix(self) -> Matrix:
        """The matrix of the first published run that has all of the problems, or of the first of
        all, with these problems and methods in place of its own.
        """
        return validated(
            {
                **self._usual.recipe["matrix"],
                "title": TITLE,
                "description": f"{', '.join(self._methods)} among published results.",
                "problems": [
                    {"name": of["name"], "fields": of["fields"]} for of in self._problems.values()
                ],
                "methods": self._methods,
                "tuned": False,
            },
            where="published results",
        )

    def place(self, folder: Path) -> None:
        """Put the published cells beside those of the run, of each problem those of one run."""
        from bench.published.beside import place

        left, parts = set(self._problems), []
        for run in (self._usual, *(run for run in self._runs if run is not self._usual)):
            parts.append((run, left & set(_problems(run))))
            left -= set(_problems(run))
        with Lock(folder):
            place(Store(folder), parts)


def _problems(run: Published) -> Mapping[str, Mapping[str, Any]]:
    """What the problems of a published run are made of, by their labels."""
    found: Mapping[str, Mapping[str, Any]] = run.recipe["problems"]
    return found
