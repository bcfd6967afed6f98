"""What a run on a Dask cluster costs, and what a store of 10,000 cells costs to read.

    python -m tests.benchmarks.cluster killed      # 200 cells, a worker killed: same figures?
    python -m tests.benchmarks.cluster overhead    # processor seconds a cell, beside isolated
    python -m tests.benchmarks.cluster two         # cells that wait a second: one worker, and two
    python -m tests.benchmarks.cluster many        # 10,000 trivial cells, and the runner's memory
    python -m tests.benchmarks.cluster store       # 10,000 cells x 21 metrics, beside Parquet

Clusters are of this machine. Processor seconds are those of the runner and of all below it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.running.collect import collect
from bench.running.events import Ended
from bench.running.executors import Events, Isolated
from bench.running.executors.dask import LOCAL, Dask
from bench.running.matrix import Cell, expand, validated
from bench.store import COSTS, CellRecord, Row, Store
from tests.helpers.cells import OFFSET, cells, own
from tests.helpers.figures import WORDS

SKIPPED = 20  # first cells of a run, in which workers warm up


def spent() -> float:
    """Processor seconds of this process and of all below it so far."""
    import psutil

    me = psutil.Process()
    return float(sum(sum(each.cpu_times()[:4]) for each in [me, *me.children(recursive=True)]))


def followed(events: Events, folder: Path, at: Callable[[int], None] = lambda _: None) -> Store:
    """Keep the cells of a run; ``at`` is called with how many have ended."""
    store = Store(folder)

    def counted() -> Iterator[tuple[Cell, Any]]:
        ended = 0
        for cell, event in events:
            yield cell, event
            if isinstance(event, Ended):
                ended += 1
                at(ended)

    collect(counted(), store, lambda *_: None)
    return store


def figures(store: Store) -> list[str]:
    """All that does not depend on the machine's speed, as reasons that name seconds do."""
    rows = [row for row in store.rows() if row["metric"] not in COSTS]
    ends = [(cell["key"], cell["status"]) for cell in store.cells()]
    return sorted([*map(repr, ends), *(repr({**row, "seconds": 0}) for row in rows)])


def killed(folder: Path) -> None:
    """A run of 200 cells on two workers, one killed halfway, beside an isolated one."""
    chosen = expand(
        validated(
            {
                "problems": ["mixture-2d", "banana"],
                "methods": ["laplace", "gaussian-vb"],
                "metrics": ["kl_qp", "mmd", "mean_error"],
                "seeds": 50,
                "draws": 500,
                "budget": {"gradients": 500},
            },
            where="killed",
        )
    )
    with Isolated(folder / "isolated", 2) as isolated:
        apart = followed(isolated.run(chosen), folder / "isolated")
    with Dask(folder / "dask", LOCAL, 2, print) as cluster:

        def halfway(ended: int) -> None:
            if ended == len(chosen) // 2:
                os.kill(next(iter(cluster.client.run(os.getpid).values())), signal.SIGKILL)
                print("one worker of two killed after", ended, "cells")

        store = followed(cluster.run(chosen), folder / "dask", halfway)
    one, other = figures(apart), figures(store)
    print(len(chosen), "cells,", len(one), "lines isolated,", len(other), "on the cluster:")
    print("equal to the last digit:", one == other)
    for line in sorted(set(one) ^ set(other))[:20]:
        print("isolated  " if line in one else "on Dask   ", line)


def overhead(folder: Path) -> None:
    """Processor milliseconds of one trivial cell more, isolated and on a cluster."""
    chosen = cells([own("Walk:steps=2")], seeds=100)
    marks: list[float] = []

    def mark(ended: int) -> None:
        if ended in (SKIPPED, len(chosen)):
            marks.append(spent())

    with Isolated(folder / "isolated", 2) as isolated:
        followed(isolated.run(chosen), folder / "isolated", mark)
    with Dask(folder / "dask", LOCAL, 2, print) as cluster:
        followed(cluster.run(chosen), folder / "dask", mark)
    apart, dask = ((end - start) / (len(chosen) - SKIPPED) for start, end in (marks[:2], marks[2:]))
    print(f"a cell: isolated {1000 * apart:.1f} ms, on a cluster {1000 * dask:.1f} ms")


def two(folder: Path) -> None:
    """How much sooner two workers are through than one, on cells that wait for a second."""
    chosen = cells([own("Walk:steps=2,nap=0.5")], seeds=24)
    took = []
    for workers in (1, 2):
        since: list[float] = []

        def mark(ended: int, since: list[float] = since) -> None:
            if ended in (4, len(chosen)):
                since.append(time.monotonic())

        place = folder / str(workers)
        with Dask(place, LOCAL, workers, print) as cluster:
            followed(cluster.run(chosen), place, mark)
        took.append(since[1] - since[0])
    print(f"one worker {took[0]:.1f} s, two {took[1]:.1f} s: {took[0] / took[1]:.2f} of two")


def many(folder: Path, count: int = 10_000) -> None:
    """Many trivial cells, and what the runner holds of memory meanwhile."""
    import psutil

    me, since = psutil.Process(), time.monotonic()

    def mark(ended: int) -> None:
        if ended % (count // 10) == 0:
            held = me.memory_info().rss / 2**20
            print(f"{ended} cells, {time.monotonic() - since:.0f} s, runner {held:.0f} MiB")
            sys.stdout.flush()

    with Dask(folder, LOCAL, 2, print) as cluster:
        store = followed(cluster.run(cells(["exact"], seeds=count)), folder, mark)
    print("ended:", len(store.done()), "of", count)


def filled(folder: Path, cell_count: int = 10_000, metrics: int = 21) -> list[Cell]:
    """A store of many cells, each with many metrics; the cells that it holds."""
    chosen = cells(
        [own("Walk:steps=2"), own("Walk:steps=3"), "exact"],
        metrics=[OFFSET],
        seeds=-(-cell_count // 3),
    )[:cell_count]
    store = Store(folder)
    names = [f"metric_{i:02d}" for i in range(metrics - 1)]
    store.note({"title": "large", "metrics": {"kl_qp": WORDS["kl_qp"]}})
    store.keep_current({c.key: (c.problem.name, c.method.name) for c in chosen})
    for i, cell in enumerate(chosen):
        record = CellRecord(
            cell.key,
            cell.problem.name,
            {},
            cell.method.name,
            cell.method.described,
            cell.seed,
            {},
            "ok",
            "",
            1.0,
            100,
        )
        row = Row(0, True, 1.0, 100, 100, 500, "kl_qp", 0.1 + 1e-5 * i, 0.01, "exact", "ok", "")
        store.append(record, [row, *(replace(row, metric=name) for name in names)])
    return chosen


def store(folder: Path) -> None:
    """Seconds to open a large store, to tell what is missing, and to report an overview."""
    from bench.running.collect import missing
    from reports.results import summarise

    chosen = _timed("filled, a transaction a cell", lambda: filled(folder))
    opened = _timed("opened", lambda: Store(folder, create=False))
    print("missing:", len(_timed("what is missing", lambda: missing(chosen, opened))))
    rows = _timed("its rows as dictionaries", opened.rows)
    print(len(rows), "rows")
    import pandas as pd

    file = folder / "rows.parquet"
    pd.DataFrame(rows).to_parquet(file)
    _timed("the same rows by pandas from Parquet", lambda: pd.read_parquet(file))
    _timed("summarised for tables", lambda: summarise(opened))
    from bench.commands import pages

    summary = _timed("summarised for the terminal", lambda: pages.summary(opened))
    _timed("the table of the terminal", lambda: pages.table(opened, 120, summary))


def _timed(what: str, work: Callable[[], Any]) -> Any:
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{what}: {processor:.2f} s of processor, {wall:.2f} s in all")
    return found


def main(words: Sequence[str]) -> None:
    """Measure what the words name."""
    parts: dict[str, Callable[[Path], None]] = {
        each.__name__: each for each in (killed, overhead, two, many, store)
    }
    print(f"load: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for word in words or parts:
        folder = Path(tempfile.mkdtemp(prefix="postbench-"))
        try:
            parts[word](folder)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
