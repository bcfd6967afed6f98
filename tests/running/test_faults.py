"""The table of injected faults: whatever a plugin does, its cell says so, and the run goes on.

Each row is a fault, how its cell ends and what its reason says; the comment of a group says what is
at stake.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.plugins import spec
from bench.store import Store
from tests.helpers.cells import NORMAL, cells, run

FAULTS = Path(__file__).parents[1] / "helpers" / "plugins" / "faults.py"
WALL = 6.0


def fault(name: str) -> str:
    """The name of a class in ``faults.py``, fields and all."""
    return f"{FAULTS}:{name}"


@dataclass(frozen=True)
class Case:
    """A fault and what becomes of its cell.

    Args:
        method: class and fields of the plugin.
        status, reason: of the cell; the reason is a pattern.
        measured: whether what was yielded before has its figures.
        problem: that it is run on.
    """

    method: str
    status: str
    reason: str = "^$"
    measured: bool = True
    problem: str = NORMAL


def harm(how: str, status: str, reason: str = "^$", *, measured: bool = True) -> Case:
    return Case(f"Harm:how='{how}'", status, reason, measured)


def diagnosed(how: str, reason: str = "^$") -> Case:
    return Case(f"Diagnosed:how={how}", "ok", reason)


CASES = {
    # What is handed back is made plain, or left out with the reason; it never ends the run.
    "diagnostics with a text value": diagnosed("text", "sampler: 'nuts' .*is not a number"),
    "diagnostics with mixed keys": diagnosed("mixed keys"),
    "diagnostics with keys that are tuples": diagnosed("tuple keys"),
    "diagnostics with keys of one text": diagnosed("keys that become one", "'1' stands twice"),
    "diagnostics with a lone surrogate": diagnosed("surrogate key"),
    "diagnostics that raise": diagnosed("unreadable", "LookupError: no figures today"),
    "diagnostics that are a list": diagnosed("list", "is not a mapping"),
    "diagnostics of float32": diagnosed("float32"),
    "diagnostics past all floats": diagnosed("past floats", "big: .*is not a number"),
    "an approximation that is none": Case(
        "Other", "failed", "yielded a Tensor; expected", measured=False
    ),
    # What is not finite is said, with its share, and the rest is measured.
    "one infinite draw of ten thousand": Case("Spoilt", "partial", "1 of 10,000 draws"),
    "a tenth of draws lost": Case("Spoilt:bad=1000", "partial", "1,000 of 10,000 draws"),
    "all draws but nine lost": Case(
        "Spoilt:bad=991,n=1000", "diverged", "not finite", measured=False
    ),
    "every draw lost": Case("Spoilt:bad=10000", "diverged", "not finite", measured=False),
    "a sampler of which a tenth is lost": Case(
        "Spoilt:bad=1000,chains=false", "partial", r"of 100 draws are not finite"
    ),
    # Shapes are looked at where the harness asks.
    "a density of one column": Case(
        "Harm", "failed", r"returned shape \[2, 1\]", measured=False, problem=fault("Column")
    ),
    "a truth that is not finite": Case(
        "Harm", "failed", "draws of the truth are not", measured=False, problem=fault("LostTruth")
    ),
    # Errors are rows with their text, whatever it is made of, and what was yielded is measured.
    "an error after a yield": harm("raise", "failed", "RuntimeError: late"),
    "a lone surrogate in an error": harm("surrogate in the error", "failed", r"a\\udc80b"),
    "an error without words": harm("error without words", "failed", "MuteError"),
    "an error of five million letters": harm(
        "error of five million letters", "failed", r"x\.\.\. \(5,000,\d+ letters in all\)"
    ),
    "sys.exit": harm("sys.exit", "failed", "SystemExit: bye"),
    "KeyboardInterrupt": harm("keyboard interrupt", "crashed", "KeyboardInterrupt", measured=False),
    "endless recursion": harm("recursion", "failed", "RecursionError"),
    # A process may end in any way.
    "os._exit(0)": harm("os._exit(0)", "crashed", "exit status 0, while fitting", measured=False),
    "SIGKILL": harm("kill", "crashed", "SIGKILL, while fitting", measured=False),
    "abort": harm("abort", "crashed", "SIGABRT", measured=False),
    "the group killed": harm("kill the group", "crashed", "SIGKILL", measured=False),
    "fork, then exit": harm("fork and die", "crashed", "exit status 7", measured=False),
    # Hangs end at the guard where Python can, and at the wall where the interpreter is held.
    "a hang in Python": harm("hang in Python", "cut-short", "guard of 2 s"),
    "a hang in C": harm("hang in C", "timed-out", "wall time.*while fitting", measured=False),
    "a hang without alarms": harm("deaf to alarms", "timed-out", "wall time", measured=False),
    "deaf to refusals": Case("Deaf", "ok", "went on after it was told to stop"),
    "deaf to its end": Case("Deaf:how=end", "ok"),
    "deaf to interruptions": Case("Deaf:how=clock", "cut-short", "guard of 2 s"),
    # What is written into the pipe is data, never code, and is never waited for.
    "descriptors closed": harm("close descriptors", "crashed", "descriptor", measured=False),
    "junk in the pipe": harm("junk", "crashed", "no message", measured=False),
    "a pickle in the pipe": harm("pickle", "crashed", "no message", measured=False),
    "half a message, then an end": harm(
        "half a message and exit", "crashed", "middle of a report", measured=False
    ),
    "half a message, then a hang": harm(
        "half a message and hang", "timed-out", "wall time", measured=False
    ),
    # What stays behind is ended with the cell.
    "Popen": harm("Popen", "ok"),
    "a daemon": harm("daemon", "ok"),
    "a thread that goes on": harm("thread", "ok"),
    # What a method does to its surroundings harms neither its own figures nor others'.
    "dtype, seeds, directory, environment, warnings": harm("everything", "ok"),
    "a directory that is gone": harm("lost directory", "ok"),
    "a clock that jumps ahead": harm("clock to the future", "ok"),
    "a clock that jumps back": harm("clock to the past", "ok"),
    "no descriptors left": harm("no descriptors", "ok", "draws could not be kept in"),
    "no output": harm("no output", "ok"),
    "a lone surrogate printed": harm("surrogate printed", "ok"),
    # The server may be killed: what ran beside starts anew, and the one who did it is named.
    "the server killed": harm("kill the server", "crashed", "fork server ended", measured=False),
    "a million yields": Case("Yielding", "ok"),
    "nothing at all": harm("nothing", "ok"),
}


def _method(case: Case) -> str:
    if case.method == "Yielding":
        return f"{FAULTS.with_name('trouble.py')}:Yielding"
    return fault(case.method)


@pytest.fixture(scope="module")
def naps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("naps") / "processes"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, naps: Path) -> Store:
    """One run of every fault, two cells side by side."""
    budget = {"gradients": 1000, "guard": 2, "wall": WALL, "memory": 1024, "checkpoints": 1}
    metrics = [fault("First"), fault("Tidy")]
    chosen = [
        cell
        for case in CASES.values()
        for cell in cells([_method(case)], problems=[case.problem], metrics=metrics, budget=budget)
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("POSTBENCH_TEST_NAPS", str(naps))
        before = dict(os.environ)
        store = run(chosen, tmp_path_factory.mktemp("faulty"), jobs=2)
        assert dict(os.environ) == before
    return store


def cell_of(store: Store, case: Case) -> dict[str, object]:
    budget = {"gradients": 1000, "guard": 2, "wall": WALL, "memory": 1024, "checkpoints": 1}
    metrics = [fault("First"), fault("Tidy")]
    (cell,) = cells([_method(case)], problems=[case.problem], metrics=metrics, budget=budget)
    (found,) = (each for each in store.cells() if each["key"] == cell.key)
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_fault_ends_as_it_should(faulty: Store, name: str) -> None:
    case, cell = CASES[name], cell_of(faulty, CASES[name])
    assert (cell["status"], bool(re.search(case.reason, str(cell["reason"]), re.DOTALL))) == (
        case.status,
        True,
    ), cell["reason"]
    rows = {row["metric"]: row for row in faulty.rows() if row["key"] == cell["key"]}
    assert ("first" in rows) == case.measured
    if case.measured:
        assert rows["first"]["status"] == "ok"
        assert rows["tidy"]["value"] == 0
        assert faulty.draws(str(cell["key"])) is not None or "draws" in str(cell["reason"])


def test_nothing_that_a_cell_started_outlives_it(faulty: Store, naps: Path) -> None:
    processes = [int(line) for line in naps.read_text().split()]
    assert len(processes) >= 3
    assert [process for process in processes if Path(f"/proc/{process}").exists()] == []


def test_nothing_is_left_half_written(faulty: Store) -> None:
    assert list(faulty.draws_folder.glob(".*")) == []


def test_a_million_yields_spend_no_budget_on_overhead(faulty: Store) -> None:
    assert float(str(cell_of(faulty, CASES["a million yields"])["seconds"])) < 20e-6 * 10**6


def test_the_rest_is_measured_on_as_many_draws_as_are_finite(faulty: Store) -> None:
    key = cell_of(faulty, CASES["all draws but nine lost"])["key"]
    assert [row for row in faulty.rows() if row["key"] == key] == []
    key = cell_of(faulty, CASES["a sampler of which a tenth is lost"])["key"]
    (row,) = (r for r in faulty.rows() if r["key"] == key and r["metric"] == "first")
    assert 80 <= row["draws"] < 100


MEASURES = {
    "Float32": ("float32", "ok", "", 1.5),
    "Torch": ("torch", "ok", "", 1.5),
    "Large": ("large", "ok", "", 1e30),
    "Infinite": ("infinite", "ok", "", float("inf")),
    "Surrogate": ("surrogate", "ok", r"a\\udc80b", 1.0),
    "TooLarge": ("too_large", "failed", "is not a number", None),
    "None": ("none", "failed", "None .*is not a number", None),
    "NoError": ("no_error", "failed", "None .*is not a number", None),
    "Array": ("array", "failed", "is not a number", None),
    "Text": ("text", "failed", "'1.0' .*is not a number", None),
    "Guess": ("guess", "failed", "kind is 'guess'; expected exact", None),
    "Nan": ("nan", "failed", "NaN", None),
    "Nothing": ("nothing", "failed", "gave a NoneType; expected Estimate or Skipped", None),
    "Bare": ("bare", "failed", "gave a float", None),
    "Exit": ("exit", "failed", "SystemExit: 3", None),
    "SurrogateError": ("surrogate_error", "failed", r"a\\udc80b", None),
    "Overwrite": ("overwrite", "failed", "overwrote draws and truth", None),
    "Everything": ("everything", "ok", "", 0.0),
    "Hang": ("hang", "failed", "no figure within 5 seconds", None),
    "Gradients": ("gradients (2)", "failed", "another row .*'gradients'", None),
    "Twin": ("float32 (2)", "failed", "another row .*'float32'", None),
    "Tidy": ("tidy", "ok", "", 0.0),
    "First": ("first", "ok", "", None),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One cell that is measured by every broken metric, and by two sound ones after them."""
    budget = {"guard": 20, "wall": 20, "checkpoints": 1}
    (cell,) = cells([fault("Harm")], metrics=[fault("First")], budget=budget)
    # past the matrix, which refuses a name that stands twice
    metrics = tuple(spec.parse("metrics", fault(name)) for name in MEASURES)
    chosen = dataclasses.replace(cell, metrics=metrics)
    return run([chosen], tmp_path_factory.mktemp("measured"), jobs=1)


@pytest.mark.parametrize("name", MEASURES)
def test_a_broken_metric_is_a_row_with_its_reason(measured: Store, name: str) -> None:
    metric, status, reason, value = MEASURES[name]
    (row,) = (row for row in measured.rows() if row["metric"] == metric)
    assert row["status"] == status, row["reason"]
    assert re.search(reason, row["reason"]), row["reason"]
    assert value is None or row["value"] == value


def test_a_metric_sees_the_draws_that_another_one_overwrote(
    measured: Store, tmp_path: Path
) -> None:
    alone = run(cells([fault("Harm")], metrics=[fault("First")], budget={"guard": 20}), tmp_path)
    figures = [
        (row["value"], row["stderr"])
        for store in (alone, measured)
        for row in store.rows()
        if row["metric"] == "first"
    ]
    assert figures[0] == figures[1]


ENDS = {
    "Die": ("crashed", "exit status 0, while measuring die"),
    "HangInC": ("timed-out", "wall time.*while measuring hang_in_C"),
}


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Store, str]]:
    """Cells whose second metric ends them, and the key of each."""
    chosen = {
        name: cells(
            [fault("Harm")],
            metrics=[fault("First"), fault(name), fault("Tidy")],
            budget={"guard": 8, "wall": 8},
        )[0]
        for name in ENDS
    }
    store = run(list(chosen.values()), tmp_path_factory.mktemp("cut-off"), jobs=2)
    return {name: (store, cell.key) for name, cell in chosen.items()}


@pytest.mark.parametrize("name", ENDS)
def test_figures_that_were_made_before_a_metric_ends_the_cell_are_kept(
    cut_off: dict[str, tuple[Store, str]], name: str
) -> None:
    (store, key), (status, reason) = cut_off[name], ENDS[name]
    (cell,) = (cell for cell in store.cells() if cell["key"] == key)
    assert cell["status"] == status
    assert re.search(reason, cell["reason"]), cell["reason"]
    found = {row["metric"]: row for row in store.rows() if row["key"] == key}
    assert found["first"]["status"] == "ok"
    assert "tidy" not in found
    assert all(row["final"] for row in found.values())
