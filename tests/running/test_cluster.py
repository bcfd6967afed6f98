"""A Dask cluster runs the same cells as this machine does, whatever happens to its workers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.running.collect import collect, missing
from bench.running.events import Ended, Started
from bench.running.executors import dask, travel
from bench.running.executors.dask import Dask
from bench.running.matrix import Cell
from bench.store import COSTS, Store
from tests.helpers.cells import cells, own, run

distributed = pytest.importorskip("distributed")
PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from beside import SCALE
from methods import Gaussian, Method

@dataclass(frozen=True)
class Sent(Method):
    table: str = ""
    name: ClassVar[str] = "sent"

    def run(self, target, budget, generator):
        with open(self.table) as file:
            loc = torch.full((target.dim,), float(file.read()), dtype=torch.float64)
        yield Gaussian(loc, torch.full_like(loc, SCALE))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers on this machine, which come back when they are killed."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit=None,
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    ) as started:
        yield started


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster.scheduler_address) as connected:
        connected.wait_for_workers(2)
        yield connected


def on(address: str, chosen: list[Cell], folder: Path) -> tuple[Store, list[str]]:
    """Run what is missing on a cluster; what the user was told, too."""
    store, told = Store(folder), list[str]()
    with Dask(folder, address, 2, told.append) as executor:
        collect(executor.run(missing(chosen, store)), store, lambda *_: None)
    return store, told


def figures(store: Store) -> list[tuple[Any, ...]]:
    """All that does not depend on the machine's speed."""
    ends = [
        (c["key"], c["status"], c["problem"], c["method"], c["settings"]) for c in store.cells()
    ]
    rows = [
        tuple(value for name, value in row.items() if name != "seconds")
        for row in store.rows()
        if row["metric"] not in COSTS
    ]
    return sorted(map(repr, [*ends, *rows]))


def test_a_worker_killed_in_mid_cell_changes_no_figure(
    cluster: Any, client: Any, tmp_path: Path
) -> None:
    chosen = cells([own("Walk:steps=3"), own("Trouble:how=segfault"), "exact"], seeds=4)
    apart = run(chosen, tmp_path / "apart", jobs=2)
    store = Store(tmp_path / "cluster")
    with Dask(store.folder, cluster.scheduler_address, 2, print) as executor:

        def harmed() -> Iterator[tuple[Cell, Any]]:
            ended = 0
            for cell, event in executor.run(chosen):
                yield cell, event
                ended += isinstance(event, Ended)
                if ended == 4 and isinstance(event, Started):
                    ended += 100
                    victim = next(iter(client.run(os.getpid).values()))
                    os.kill(victim, signal.SIGKILL)

        collect(harmed(), store, lambda *_: None)
    assert figures(store) == figures(apart)
    assert {name.name for name in store.draws_folder.iterdir()} == {
        name.name for name in apart.draws_folder.iterdir()
    }
    for cell in chosen:
        ours, theirs = store.draws(cell.key), apart.draws(cell.key)
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or (ours[0] == theirs[0]).all()
    crashed = [cell for cell in store.cells() if cell["status"] == "crashed"]
    assert [cell["reason"].split(",")[0] for cell in crashed] == [
        "the process was ended by SIGSEGV"
    ] * 4


def test_plugin_files_that_workers_lack_are_sent_along(
    cluster: Any, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "beside.py").write_text("SCALE = 1.5\n", encoding="utf-8")
    (tmp_path / "table.txt").write_text("0.25", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    chosen = cells(["mine.py:Sent:table=table.txt"], seeds=3)
    apart = run(chosen, tmp_path / "apart")
    blind = (
        "from bench.running.executors import remote\n"
        "seen = remote._same\n"
        f"remote._same = lambda p, d, seen=seen: {str(tmp_path)!r} != str(p)[:{len(str(tmp_path))}]"
        " and seen(p, d)"
    )
    client.run(exec, blind, {})
    store, _ = on(cluster.scheduler_address, chosen, tmp_path / "cluster")
    assert [cell["status"] for cell in store.cells()] == ["ok"] * 3
    assert figures(store) == figures(apart)


def test_a_worker_of_another_version_is_refused_by_name_and_the_others_go_on(
    cluster: Any, client: Any, tmp_path: Path
) -> None:
    old, _ = client.nthreads()
    travels = "from bench.running.executors import travel\n"
    other = f"{travels}travel.ours = travel.suite\ntravel.suite = lambda: {{'postbench': '0.0.1'}}"
    client.run(exec, other, {}, workers=[old])
    store, told = on(cluster.scheduler_address, cells([own("Walk")], seeds=6), tmp_path)
    client.run(exec, f"{travels}travel.suite = travel.ours", {}, workers=[old])
    assert [cell["status"] for cell in store.cells()] == ["ok"] * 6
    (sentence,) = told
    assert sentence.startswith(f"The worker {old} is refused: it has postbench 0.0.1 in place of ")


def test_where_every_worker_has_another_plugin_the_run_ends_with_its_name(
    cluster: Any, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = travel.mark
    monkeypatch.setattr(travel, "mark", lambda spec: {**ours(spec), "the package": "walks 2.0"})
    with pytest.raises(UserError, match=r"No worker .*py:Normal: .*walks 2\.0.*continues"):
        on(cluster.scheduler_address, cells([own("Walk")]), tmp_path)
    monkeypatch.undo()
    store, _ = on(cluster.scheduler_address, cells([own("Walk")]), tmp_path)
    assert [cell["status"] for cell in store.cells()] == ["ok"]


def test_a_run_that_is_left_ends_what_its_workers_do(
    cluster: Any, client: Any, tmp_path: Path
) -> None:
    (cell,) = cells([own("Trouble:how=hang")], budget={"wall": 300})
    with Dask(tmp_path, cluster.scheduler_address, 2, print) as executor:
        events = executor.run([cell])
        assert isinstance(next(events)[1], Started)
    code = "import psutil; assert len(psutil.Process().children(recursive=True)) <= 1"
    for _ in range(100):
        with contextlib.suppress(AssertionError):
            client.run(exec, code, {})
            return
        time.sleep(0.1)
    raise AssertionError("the cell still runs")


def test_a_cell_that_ends_its_worker_every_time_is_a_row(
    cluster: Any, client: Any, tmp_path: Path
) -> None:
    cluster.scheduler.allowed_failures = 0
    store = Store(tmp_path)
    with Dask(tmp_path, cluster.scheduler_address, 2, print) as executor:

        def harmed() -> Iterator[tuple[Cell, Any]]:
            for cell, event in executor.run(cells([own("Trouble:how=hang")])):
                yield cell, event
                if isinstance(event, Started):
                    (busy,) = (w for w, keys in client.processing().items() if keys)
                    os.kill(client.run(os.getpid, workers=[busy])[busy], signal.SIGKILL)

        collect(harmed(), store, lambda *_: None)
    cluster.scheduler.allowed_failures = 3
    (cell,) = store.cells()
    assert cell["status"] == "crashed"
    assert "was lost" in cell["reason"]


def test_a_worker_may_join_late_and_a_lost_scheduler_loses_nothing_that_had_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, started = tmp_path / "scheduler.json", list[subprocess.Popen[bytes]]()

    def start(kind: str, *more: str) -> None:
        words = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *more]
        place = ["--scheduler-file", str(file), "--no-dashboard"]
        quiet = subprocess.DEVNULL
        started.append(subprocess.Popen([*words, *place], cwd=tmp_path, stdout=quiet, stderr=quiet))

    monkeypatch.setattr(dask, "PATIENCE", 0.1)
    chosen, store = cells([own("Walk:steps=2")], seeds=40), Store(tmp_path / "run")
    try:
        start("scheduler", "--port", "0", "--host", "127.0.0.1")
        while not file.is_file():
            time.sleep(0.05)

        def join(sentence: str) -> None:
            assert "has no worker yet" in sentence
            start("worker", "--no-nanny", "--nthreads", "1", "--death-timeout", "30")

        with Dask(store.folder, str(file), 2, join) as executor:

            def harmed() -> Iterator[tuple[Cell, Any]]:
                for cell, event in executor.run(chosen):
                    yield cell, event
                    if isinstance(event, Ended):
                        started[0].kill()

            with pytest.raises(UserError, match=r"scheduler .* was lost.* same command continues"):
                collect(harmed(), store, lambda *_: None)
    finally:
        for process in started:
            process.kill()
            process.wait()
    kept = store.done()
    assert 0 < len(kept) < 40
    run(chosen, store.folder)
    assert set(store.done()) == {cell.key for cell in chosen}
    assert figures(store) == figures(run(chosen, tmp_path / "whole"))


def test_no_scheduler_and_no_library_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "PATIENCE", 0.2)
    with pytest.raises(UserError, match="no scheduler answers there"):
        on("tcp://127.0.0.1:9", [], tmp_path)
    with pytest.raises(UserError, match="no scheduler answers there"):
        on("nowhere.json", [], tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"not installed: pip install 'postbench\[dask\]'"):
        on("local", [], tmp_path)


def test_nothing_imports_dask_before_a_run_asks_for_it() -> None:
    code = (
        "import sys, bench.commands.run, bench.running.executors.dask\n"
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_no_address_is_the_matrix_of_the_run() -> None:
    from bench.cli import ADDRESS

    addresses = ("tcp://10.0.0.1:8786", "s.json", "/a b/s.json", "host:8786", "tls://h:1", "local")
    assert [a for a in addresses if not ADDRESS.fullmatch(a)] == ["/a b/s.json"]
    assert not any(ADDRESS.fullmatch(name) for name in ("smoke", "study.toml", "-p", "", "--out"))


def test_marks_tell_code_data_and_packages_apart() -> None:
    (cell,) = cells([own("Walk")])
    load = travel.Loads().of(cell)
    assert travel.strangers(cell, load.marks) == ""
    other = [*load.marks]
    other[1] = {**other[1], "its code": "0" * 64, "the library zuko": "9.9"}
    assert travel.strangers(cell, other) == (
        "method trouble.py:Walk: its code, the library zuko missing in place of 9.9"
    )
    moved = travel.moved(cell, {path: f"/elsewhere{path}" for path in load.files})
    assert moved.method.entry.reference.startswith("/elsewhere/")
    assert moved.key == cell.key
    assert dataclasses.replace(moved, problem=cell.problem).key == cell.key
