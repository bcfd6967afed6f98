"""Whatever a cell does, its row says so and the run goes on."""

import re
from pathlib import Path

import pytest

from bench.running.executors import LOG
from bench.store import Store
from reports import tables
from reports.overview import overview
from reports.page import markdown
from reports.results import summarise
from reports.sheet import escaped
from tests.helpers.cells import cells, own, run

TROUBLES = {
    "raise": ("failed", r"RuntimeError: <b>no</b> luck"),
    "nan": ("diverged", r"100 of 100 draws are not finite"),
    "hang": ("timed-out", r"killed after 4 seconds"),
    "exit": ("crashed", r"exit status 3"),
    "segfault": ("crashed", r"SIGSEGV"),
    "memory": ("failed", r"(allocate|memory)"),
}


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One run of every kind of trouble, and of a sound method after them."""
    methods = [*(own(f"Trouble:how={how}") for how in TROUBLES), own("Walk"), "exact"]
    budget = {"seconds": 30, "checkpoints": 9, "wall": 4, "memory": 1024}
    return run(cells(methods, budget=budget), tmp_path_factory.mktemp("troubled"), jobs=2)


@pytest.mark.parametrize("how", TROUBLES)
def test_trouble_is_a_row_with_its_reason(troubled: Store, how: str) -> None:
    (cell,) = (
        cell
        for cell in troubled.cells()
        if cell["settings"].get("how", "raise") == how and "Trouble" in cell["method"]
    )
    status, reason = TROUBLES[how]
    assert cell["status"] == status
    assert re.search(reason, cell["reason"]), cell["reason"]


def test_sound_cells_run_beside_them(troubled: Store) -> None:
    sound = [cell for cell in troubled.cells() if "Trouble" not in cell["method"]]
    assert [cell["status"] for cell in sound] == ["ok", "ok"]


def test_a_failure_keeps_its_traceback_and_silence_leaves_no_log(troubled: Store) -> None:
    logs = {path.stem: path.read_text() for path in troubled.logs_folder.iterdir()}
    for cell in troubled.cells():
        if cell["status"] == "ok":
            assert cell["key"] not in logs
        if cell["reason"].startswith("RuntimeError: <b>no</b>"):
            assert "Traceback" in logs[cell["key"]]


def test_inline_and_isolated_agree_to_the_last_bit(tmp_path: Path) -> None:
    chosen = cells([own("Walk:steps=3"), "exact"], seeds=2)
    alone, apart = run(chosen, tmp_path / "alone"), run(chosen, tmp_path / "apart", jobs=2)

    def figures(store: Store) -> list[tuple[object, ...]]:
        measured = [row for row in store.rows() if row["metric"] == "offset"]
        return sorted((row["key"], row["value"], row["stderr"]) for row in measured)

    assert figures(alone) == figures(apart)
    assert len(figures(alone)) == 4
    for cell in chosen:
        ours, theirs = alone.draws(cell.key), apart.draws(cell.key)
        assert ours is not None
        assert theirs is not None
        assert (ours[0] == theirs[0]).all()


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ("raise", "failed", "ZeroDivisionError: no draws"),
        ("skip", "skipped", "not here"),
        ("nan", "failed", "NaN"),
    ],
)
def test_a_metric_that_cannot_be_had_leaves_the_others_standing(
    tmp_path: Path, how: str, status: str, reason: str
) -> None:
    store = run(
        cells([own("Walk:steps=2")], metrics=[own(f"Lame:how={how}"), own("Offset")]), tmp_path
    )
    rows = {row["metric"]: row for row in store.rows()}
    assert rows["lame"]["status"] == status
    assert reason in rows["lame"]["reason"]
    assert rows["lame"]["value"] is None
    assert rows["offset"]["status"] == "ok"
    assert [cell["status"] for cell in store.cells()] == ["ok"]


def test_of_a_flood_of_words_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    faults = Path(own("Walk").rpartition(":")[0]).with_name("faults.py")
    store = run(cells([f"{faults}:Harm:how='flood of words'"]), tmp_path, jobs=1)
    (log,) = store.logs_folder.iterdir()
    text = log.read_text(encoding="utf-8")
    assert len(text) < 1.1 * LOG
    assert text.startswith("begin")
    assert "8,951,433 bytes left out" in text
    assert text.rstrip().endswith("end")


def test_a_method_that_cannot_be_run_here_is_skipped_with_its_sentence(tmp_path: Path) -> None:
    store = run(cells([own("Elsewhere"), own("Walk:steps=2")]), tmp_path, jobs=1)
    ended = {cell["method"]: (cell["status"], cell["reason"]) for cell in store.cells()}
    reason = "It needs a Gaussian prior; <b>normal</b> has none."
    assert ended["trouble.py:Elsewhere"] == ("skipped", reason)
    assert ended["trouble.py:Walk"] == ("ok", "")
    assert list(store.logs_folder.iterdir()) == []  # no traceback: nothing went wrong
    table = tables.skipped(summarise(store))
    assert table is not None
    assert [[line.label, *(entry.text for entry in line.entries)] for line in table.lines] == [
        ["trouble.py:Elsewhere", "trouble.py:Normal", reason]
    ]
    assert tables.failures(summarise(store)) is None
    for short in (False, True):
        lines = {line.label: line.entries for line in overview(summarise(store), short=short).lines}
        assert [entry.text for entry in lines["trouble.py:Elsewhere"]] == ["skipped"]
    assert f"{escaped(reason)}" in markdown(store, tmp_path / "figures")


def test_set_up_is_a_row_of_its_own(tmp_path: Path) -> None:
    store = run(cells([own("Compiled:setup=0.2"), own("Walk:steps=2")]), tmp_path)
    costs = {(row["key"], row["metric"]): row["value"] for row in store.rows()}
    compiled, walk = (cell["key"] for cell in store.cells())
    assert 0.2 <= costs[compiled, "setup_seconds"] < 0.4
    assert costs[compiled, "fit_seconds"] < 0.1
    assert (walk, "setup_seconds") not in costs
    text = markdown(store, tmp_path / "figures")
    assert "| Fitting | Set-up |" in text
