"""What `postbench run` does: expands the matrix, runs what is missing, and writes the report."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from bench.commands import terminal
from bench.errors import StoppedError, UserError
from bench.running.matrix_file import Matrix, overridden, read
from bench.running.remembered import remember, remembered
from bench.store import FILE, ORIGINS, TRAITS, Lock, Store, is_file

if TYPE_CHECKING:  # a run that has nothing to do waits for none of them
    from bench.commands.published import Against
    from bench.running.executors import Events
    from bench.running.forecast import Forecast
    from bench.running.matrix import Cell

STOPPED = "Stopped. What had finished is kept; the same command again continues."
SOUND = ("ok", "partial", "cut-short")  # the ends of cells that have figures


def run_matrix(
    source: str,
    changes: Mapping[str, Any],
    jobs: int | None,
    out: Path | None,
    retry: bool,
    against: Against | None = None,
    dask: str | None = None,
) -> bool:
    """Run what is missing of a matrix, then print the table and the path of the report.

    Args:
        source: a preset or a file; not read where ``against`` says what is run.
        changes: what the command line says instead.
        jobs: cells side by side; None for one a core.
        out: where results go; None for a folder by the matrix's title.
        retry: whether cells that did not end well run again.
        against: published results that are shown beside those of the run.
        dask: ``local``, or the scheduler of a Dask cluster; None for none.

    Returns:
        Whether any cell has figures, and the report could be written.

    Raises:
        StoppedError: on Ctrl-C.
    """
    try:
        matrix = overridden(read(source) if against is None else against.matrix(), changes)
        folder = out or Path("results") / matrix.title
        keys = None if retry else _nothing_to_run(folder, matrix)
        if keys is None:
            keys = run_missing(folder, matrix, jobs, retry, dask)
        if against is not None:
            against.place(folder)
        return conclude(folder, keys)
    except KeyboardInterrupt:
        raise StoppedError(STOPPED) from None


def _nothing_to_run(folder: Path, matrix: Matrix) -> list[str] | None:
    """The keys of the matrix, where they are known from the last time and all have ended; None
    where there may be something to do.
    """
    known = remembered(folder, matrix)
    if known is None or not is_file(folder / FILE):
        return None
    keys, reasons = known
    store = Store(folder, create=False)
    if store.current() != set(keys) or not set(keys) <= store.done().keys():
        return None
    console = terminal.console()
    _say_left_out(reasons, console)
    _say_done(len(keys), console)
    return keys


def run_missing(
    folder: Path, matrix: Matrix, jobs: int | None, retry: bool, dask: str | None = None
) -> list[str]:
    """Expand the matrix and run what is missing, without a report; the keys of all its cells."""
    from bench.running.collect import describe, finish, missing, note_sources, origins_of, traits_of
    from bench.running.matrix import expand, left_out
    from bench.running.recipe import note_recipe

    console, reasons = terminal.console(), left_out(matrix)
    cells = expand(matrix)
    keys = [cell.key for cell in cells]
    origins = origins_of(cells)
    _say_left_out(reasons, console)
    if is_file(folder / FILE):
        store = Store(folder, create=False)
        same = store.current() == set(keys) and store.info().get(ORIGINS, {}) == origins
        if same and not missing(cells, store, retry=retry):
            _say_done(len(keys), console)
            remember(folder, matrix, cells, reasons)
            return keys
    store = Store(folder)
    with Lock(folder):
        store.keep_current({cell.key: (cell.problem.name, cell.method.name) for cell in cells})
        store.note({ORIGINS: origins, TRAITS: traits_of(cells)})
        note_sources(cells, store)
        note_recipe(matrix, cells, store)
        remember(folder, matrix, cells, reasons)
        todo = missing(cells, store, retry=retry)
        if not todo:
            _say_done(len(keys), console)
            return keys
        if len(todo) < len(cells):
            console.print(
                f"{len(cells) - len(todo)} of {len(cells)} cells are done already; continuing with"
                " the rest."
            )
        describe(matrix, store)
        side = os.cpu_count() or 1 if jobs is None else jobs
        if dask is None:
            run_cells(todo, store, side, console)
        else:
            run_on_cluster(todo, store, dask, side, console)
        finish(store)
    return keys


def _say_left_out(reasons: Collection[str], console: Console) -> None:
    for reason in reasons:
        console.print(f"Left out: {terminal.words(reason)}", style="yellow", soft_wrap=True)


def _say_done(count: int, console: Console) -> None:
    console.print(
        f"All {count} cells are done already; nothing to run. Add --retry for those that failed."
    )


def run_cells(cells: Sequence[Cell], store: Store, jobs: int, console: Console) -> None:
    """Run cells and keep each as it ends, with the progress on the console; ``jobs`` side by side,
    0 in this process.
    """
    from bench.running import costs, executors

    cores = os.cpu_count() or 1
    if jobs == 0:
        told = costs.forecast(cells, store.folder, 1, cores)
        _follow(executors.inline(cells, store.folder), cells, store, told, jobs, console)
        return
    with executors.Isolated(store.folder, jobs) as isolated:
        told = costs.forecast(cells, store.folder, jobs, cores, isolated.ask)
        _follow(isolated.run(cells), cells, store, told, jobs, console)


def run_on_cluster(
    cells: Sequence[Cell], store: Store, where: str, workers: int, console: Console
) -> None:
    """Run cells on a Dask cluster and keep each as it comes, with the progress on the console.

    Args:
        cells: to run.
        store: where they go.
        where: ``local``, or the scheduler of a cluster that stands.
        workers: of a cluster that is started here.
        console: to print on.
    """
    from bench.running import costs
    from bench.running.executors.dask import Dask

    def say(sentence: str) -> None:
        console.print(terminal.words(sentence), style="yellow", soft_wrap=True)

    with Dask(store.folder, where, workers, say) as cluster:
        told = costs.forecast(cells, store.folder, cluster.threads, cluster.threads)
        _follow(cluster.run(cells), cells, store, told, cluster.threads, console)


def _follow(
    events: Events,
    cells: Sequence[Cell],
    store: Store,
    told: Forecast,
    jobs: int,
    console: Console,
) -> None:
    """Keep each cell as it ends, and show how the run goes."""
    from bench.commands.progress import Board
    from bench.running import costs
    from bench.running.collect import collect

    with contextlib.ExitStack() as stack:
        console.print(_plan(cells, told, jobs), soft_wrap=True)
        stack.callback(lambda: costs.learn(store.folder, cells, told))
        board = stack.enter_context(Board(cells, console, told))
        collect(events, store, board.listen)


def _plan(cells: Sequence[Cell], told: Forecast, jobs: int) -> str:
    """How many cells there are to run, and how long they will take as far as it is known."""
    from bench.running.forecast import worded

    seconds, unknown = told.seconds(0.0), told.unknown()
    side = f", {jobs} side by side" if jobs > 1 else ""
    counted = f"{len(cells)} cell{'s' * (len(cells) != 1)} to run{side}"
    if seconds is not None:
        return f"{counted}: {worded(seconds)} on this machine, measuring and the report included."
    methods = ", ".join(dict.fromkeys(terminal.words(cell.method.name) for cell in unknown))
    most = max(cell.budget.seconds or cell.budget.guard or 0.0 for cell in unknown)
    return (
        f"{counted}. How long they take is known when the first has ended: there are no earlier"
        f" times of {methods}. No cell is fitted for longer than"
        f" {worded(most).removeprefix('about ')}."
    )


def conclude(folder: Path, keys: Sequence[str]) -> bool:
    """Print the table and write the pages, unless they are those of the same results already."""
    from bench.commands import pages

    console, store = terminal.console(), Store(folder, create=False)
    html, markdown = folder / "report.html", folder / "report.md"
    whole, results = True, pages.summary(store)
    try:
        console.print(Text.from_ansi(pages.table(store, console.width, results)))
        pages.bring_up_to_date(store, html, markdown, results)
        console.print(f"Report: {html}\n        {markdown}", soft_wrap=True)
    except UserError as error:
        console.print(f"No report: {error}", style="red", soft_wrap=True)
        whole = False
    except Exception as error:  # a page that fails costs no cell
        _keep_traceback(store)
        console.print(
            f"No report: {type(error).__name__}: {terminal.words(error)}. The results are kept in"
            f" {folder}; `postbench export {folder} --to rows.csv` gives the figures.",
            style="red",
            soft_wrap=True,
        )
        whole = False
    done = store.done()
    return whole and any(done.get(key) in SOUND for key in keys)


def _keep_traceback(store: Store) -> None:
    try:
        (store.logs_folder / "report.txt").write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        traceback.print_exc()
