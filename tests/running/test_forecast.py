"""What is said to be left is what is left, as far as anyone can know."""

import re
import time
from pathlib import Path

import pytest

from bench.running import costs
from bench.running.executors import Isolated
from bench.running.forecast import Forecast, worded
from bench.running.matrix import Cell
from tests.helpers.cells import NORMAL, cells, own, run


def two_methods(seeds: int = 3) -> list[Cell]:
    return cells([own("Walk"), "exact"], seeds=seeds)


def test_nothing_is_said_of_what_nobody_knows() -> None:
    told = Forecast(two_methods(), jobs=2)
    assert told.seconds(0.0) is None
    assert told.left(0.0) == ""
    assert len(told.unknown()) == 6


def play(told: Forecast, chosen: list[Cell], takes: dict[str, float], jobs: int) -> list[float]:
    """Run cells on a clock of our own; by how much each forecast was off, at every end."""
    clock, running, waiting = 0.0, list[tuple[float, int, Cell]](), list(chosen)
    off: list[tuple[float, float | None]] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            cell = waiting.pop(0)
            told.started(cell, clock)
            running.append((clock + takes[cell.method.name], len(waiting), cell))
        running.sort(key=lambda each: each[:2])
        clock, _, cell = running.pop(0)
        told.ended(cell, clock)
        off.append((clock, told.seconds(clock)))
    return [seconds - (clock - at) for at, seconds in off if seconds is not None]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_once_each_method_has_ended_the_forecast_is_right(jobs: int) -> None:
    chosen = two_methods(seeds=8)
    takes = {"trouble.py:Walk": 30.0, "exact": 2.0}
    told = Forecast(chosen, jobs)
    errors = play(told, chosen, takes, jobs)
    assert len(errors) == len(chosen)  # from the first end on something is said
    assert max(map(abs, errors[3:])) < 16.0  # of some 270 seconds; a cell in flight is a guess


def test_what_was_expected_is_corrected_by_what_the_method_takes() -> None:
    chosen = two_methods(seeds=4)
    told = Forecast(chosen, 1, {cell.key: 10.0 for cell in chosen}, page=5.0)
    assert told.seconds(0.0) == 85.0
    first = chosen[0]
    told.started(first, 0.0)
    told.ended(first, 20.0)
    assert told.seconds(20.0) == 3 * 20.0 + 4 * 20.0 + 5.0


def test_a_budget_of_gradients_that_one_method_leaves_unspent_says_nothing_of_the_next() -> None:
    chosen = two_methods(seeds=2)
    keys = [cell.key for cell in chosen]
    told = Forecast(chosen, 1, dict.fromkeys(keys, 10.0), planned=keys)
    told.started(chosen[0], 0.0)
    told.ended(chosen[0], 1.0)  # a tenth
    assert told.seconds(1.0) == 1.0 + 2 * 10.0


def test_a_method_that_has_not_ended_once_may_take_longer() -> None:
    chosen = two_methods(seeds=1)
    told = Forecast(chosen, 1)
    told.started(chosen[0], 0.0)
    told.ended(chosen[0], 20.0)
    assert told.left(20.0) == "about 20 s left or more"
    told.started(chosen[1], 20.0)
    told.ended(chosen[1], 40.0)
    assert told.left(40.0) == "a few seconds left"


def test_a_cell_past_its_expectation_is_not_about_to_end() -> None:
    chosen = cells([own("Walk")])
    told = Forecast(chosen, 1, {chosen[0].key: 10.0})
    told.started(chosen[0], 0.0)
    assert told.seconds(4.0) == 6.0
    assert told.seconds(40.0) == 10.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "a few seconds"),
        (12.0, "about 10 s"),
        (88.0, "about 90 s"),
        (200.0, "about 3 min"),
        (7200.0, "about 2.0 hours"),
    ],
)
def test_a_guess_is_worded_as_one(seconds: float, text: str) -> None:
    assert worded(seconds) == text


def test_what_cells_took_is_known_the_next_time(tmp_path: Path) -> None:
    chosen = two_methods(seeds=1)
    told = costs.forecast(chosen, tmp_path, 1, 1)
    assert told.seconds(0.0) is None
    for i, cell in enumerate(chosen):
        told.started(cell, 10.0 * i)
        told.ended(cell, 10.0 * i + 4.0)
    costs.learn(tmp_path, chosen, told)
    again = costs.forecast(two_methods(seeds=2), tmp_path, 1, 1)
    page = costs.FIRST_PAGE[0] + costs.FIRST_PAGE[1]
    assert again.seconds(0.0) == pytest.approx(4 * 4.0 + page)
    assert costs.forecast(two_methods(seeds=2), tmp_path, 2, 1).seconds(0.0) == pytest.approx(
        2 * 4.0 + page
    )


def test_the_probe_is_short_and_takes_some_time() -> None:
    assert 0.0 < costs.probe() < 5.0


def test_the_table_is_of_cells_that_exist() -> None:
    """A cell of the default preset is expected before any has run, wherever it is named so."""
    table = costs._shipped()
    if not table:
        pytest.skip("no table ships yet")
    assert table["probe"] > 0
    assert all(seconds > 0 for seconds in table["cells"].values())
    assert all(re.search(r" draws \| ", name) for name in table["cells"])


def test_a_run_without_a_word_of_times_still_runs(tmp_path: Path) -> None:
    assert run(cells(["exact"], problems=[NORMAL]), tmp_path).done()


def test_gradients_that_are_planned_are_timed_in_a_process_of_their_own(tmp_path: Path) -> None:
    chosen = cells([own("Walk")], budget={"gradients": 10**6}, seeds=2)
    with Isolated(tmp_path, 1) as isolated:
        told = costs.forecast(chosen, tmp_path, 1, 1, isolated.ask)
    half = costs.forecast(chosen[:1], tmp_path, 1, 1, lambda *_: answers(chosen, 3e-6))
    assert (told.seconds(0.0) or 0.0) > costs.FIRST_PAGE[0] + costs.FIRST_PAGE[1]
    assert half.seconds(0.0) == pytest.approx(3.0 + costs.FIRST_PAGE[0] + costs.FIRST_PAGE[1])


def answers(chosen: list[Cell], seconds: float) -> list[dict[str, object]]:
    return [{"problem": cell.problem.content, "seconds": seconds} for cell in chosen]


HANGS = """
import time
from dataclasses import dataclass
from typing import ClassVar

from problems.base import Exact, Problem


@dataclass(frozen=True)
class Hangs(Problem):
    name: ClassVar[str] = "hangs"
    dim: ClassVar[int] = 1
    truth: ClassVar[Exact] = Exact(lambda n, generator: None, 0.0)

    def log_density(self, z):
        time.sleep(60)
"""


def test_a_problem_that_hangs_when_it_is_timed_is_not_known_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    problems = [f"{tmp_path / 'hangs.py'}:Hangs"]
    chosen = cells([own("Walk")], budget={"gradients": 10**6}, problems=problems)
    with Isolated(tmp_path, 1) as isolated:
        since = time.monotonic()
        told = costs.forecast(chosen, tmp_path, 1, 1, isolated.ask)
    assert told.seconds(0.0) is None
    assert told.unknown() == chosen
    assert time.monotonic() - since < 45
