"""The report of a run, written again only where something of it has changed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.report import terminal_table, write_pages
from bench.plugins.reached import SUITE
from bench.provenance import code_of
from bench.running.remembered import keep, recalled
from bench.store import FILE, Store

if TYPE_CHECKING:  # a run that has nothing to do does not wait for pandas
    from reports.results import Results

    Summary = Callable[[], Results]

TABLE, PAGES, SECONDS = "table", "pages", "page_seconds"  # what is remembered of each


def summary(store: Store) -> Summary:
    """The results of a run, worked out when they are first asked for and once."""

    @functools.cache
    def once() -> Results:
        from reports.results import summarise

        return summarise(store)

    return once


def table(store: Store, width: int, results: Summary) -> str:
    """The table for a terminal of that width, with its styles; as it was made last where the
    results are the same.
    """
    kept, state = recalled(store.folder).get(TABLE), [width, *_state(store)]
    if isinstance(kept, list) and kept[:-1] == state:
        return str(kept[-1])
    made = terminal_table(store, width, results())
    keep(store.folder, {TABLE: [*state, made]})
    return made


def bring_up_to_date(store: Store, html: Path, markdown: Path, results: Summary) -> None:
    """Write both pages, unless they are there as they were written of the same results.

    Raises:
        UserError: if they cannot be written.
    """
    if recalled(store.folder).get(PAGES) == [*_state(store), *_trace(html), *_trace(markdown)]:
        return
    since = time.monotonic()
    write_pages(store, html, markdown, results=results())
    took = round(time.monotonic() - since, 3)
    made = [*_state(store), *_trace(html), *_trace(markdown)]
    keep(store.folder, {PAGES: made, SECONDS: took})


def _state(store: Store) -> list[str | int]:
    """What changes when the results do, or the code that makes pages of them."""
    rooms = (SUITE / "reports", SUITE / "bench" / "store")
    return [code_of(rooms, more=(".html", ".css", ".js")), *_trace(store.folder / FILE)]


def _trace(file: Path) -> list[int]:
    """Size and time of a file; empty where it is not there."""
    try:
        found = file.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]
