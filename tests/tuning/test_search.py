"""The search finds what is there, takes the same way every time, and is judged on fresh seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.commands import tune
from bench.errors import StoppedError, UserError
from bench.plugins import spec, tuned
from bench.store import Store
from bench.tuning import evidence
from bench.tuning.plan import LEAST, MOST, Losses, Plan, losses, score
from bench.tuning.search import Tried, search
from tests.commands.test_output import said
from tests.helpers.cells import NORMAL, own, run

TUNABLE = own("Tunable")


def plan(**more: Any) -> Plan:
    return Plan(spec.parse("methods", TUNABLE), (NORMAL,), **{"trials": 25, **more})


def bowl(settings: Mapping[str, Any]) -> Losses:
    """Nearest at a rate of 0.1; an odd kind does not go with a large batch."""
    if settings["kind"] == "odd" and settings["batch"] > 8:
        raise UserError("no large batches where odd")
    return {("p", 0): 10 ** (2 * abs(math.log10(settings["rate"] / 0.1)) - 1)}


def tried(found: list[Tried]) -> list[Mapping[str, Any]]:
    return [each.settings for each in found]


def test_the_defaults_come_first_and_the_best_is_near_the_least() -> None:
    found = search(plan(), bowl, lambda _: None)
    assert found[0].settings == {"rate": 0.01, "batch": 8, "kind": "even"}
    assert len(found) == 25
    best = min(found, key=lambda each: each.score)
    assert abs(math.log10(best.settings["rate"] / 0.1)) < 0.15


def test_a_search_takes_the_same_way_every_time_and_another_by_another_seed() -> None:
    found = search(plan(trials=12), bowl, lambda _: None)
    assert tried(found) == tried(search(plan(trials=12), bowl, lambda _: None))
    assert tried(found) != tried(search(plan(trials=12, seed=1), bowl, lambda _: None))


def test_settings_that_the_method_refuses_are_no_trials() -> None:
    for each in search(plan(trials=20), bowl, lambda _: None):
        assert each.settings["kind"] == "even" or each.settings["batch"] <= 8


def test_a_method_that_refuses_everything_is_named() -> None:
    def refusing(settings: Mapping[str, Any]) -> Losses:
        if settings["rate"] != 0.01:
            raise UserError("only 0.01")
        return {("p", 0): 1.0}

    with pytest.raises(UserError, match=r"Tunable refuses what is proposed.*only 0\.01"):
        search(plan(trials=3), refusing, lambda _: None)


def test_only_named_fields_are_searched_and_unknown_ones_are_named() -> None:
    assert list(plan(fields=("rate",)).axes()) == ["rate"]
    with pytest.raises(UserError, match=r"'label' cannot be searched; those that can are rate,"):
        plan(fields=("label",)).axes()


def test_without_optuna_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'postbench\[tune\]'"):
        search(plan(), bowl, lambda _: None)


def test_a_cell_without_a_figure_counts_as_the_worst(tmp_path: Path) -> None:
    good, bad = plan(seeds=1), Plan(spec.parse("methods", own("Elsewhere")), (NORMAL,), seeds=1)
    store = Store(tmp_path)
    (value,) = losses(good.cells({}), store, lambda cells: run(cells, tmp_path) and None).values()
    assert value == pytest.approx(0.9**2, rel=0.1)  # a shift of 0.9 in two coordinates
    (value,) = losses(bad.cells({}), store, lambda cells: run(cells, tmp_path) and None).values()
    assert value == MOST


def test_the_score_is_the_mean_of_logarithms_within_bounds() -> None:
    found = {("a", 0): LEAST / 100, ("a", 1): -1.0, ("b", 0): 10.0, ("b", 1): 1e9}
    assert score(found) == pytest.approx((2 * math.log10(LEAST) + 1 + math.log10(MOST)) / 4)


def test_the_interval_of_a_mean_is_students() -> None:
    found = evidence.mean([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_the_change_is_taken_seed_by_seed() -> None:
    default = {("p", 0): 1.0, ("p", 1): 0.1, ("q", 0): 1.0, ("q", 1): 0.1}
    better = {key: value / 2 for key, value in default.items()}
    found = evidence.compare(default, better)
    assert found.change.value == pytest.approx(-math.log10(2))
    assert found.change.half_width == pytest.approx(0.0, abs=1e-12)  # though seeds differ tenfold
    assert found.better
    assert found.shown
    assert not evidence.compare(default, default).better


ARGUMENTS = [
    *("tune", TUNABLE, "-p", NORMAL, "--jobs", "0", "--gradients", "100"),
    *("--trials", "8", "--seeds", "1", "--fresh", "3", "-f", "rate"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(tuned.PLACE[0], raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trials(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("[")]


def ended(home: Path) -> int:
    (folder,) = (home / "results" / "tune").iterdir()
    return len(Store(folder, create=False).done())


def test_a_search_writes_its_settings_with_the_evidence_and_runs_nothing_twice(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    status, text = said(ARGUMENTS, home, monkeypatch, capsys)
    assert status == 0, text
    assert "On 3 fresh seeds: the defaults, and trial" in text
    assert "times nearer to the truth than the defaults (95%:" in text
    (file,) = (home / "tuned").iterdir()
    found = tuned.read(file, "trouble.py:Tunable")
    assert abs(math.log10(found.fields["rate"] / 0.1)) < 0.5
    assert found.gradients == 100
    cells = ended(home)
    assert cells == 8 + 6
    again = said(ARGUMENTS, home, monkeypatch, capsys)[1]
    assert trials(again) == trials(text)
    assert ended(home) == cells


def test_a_search_that_was_stopped_goes_on_where_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    whole, run_cells, left = tune.collect, [], 3

    def stopping(events: Any, store: Any, listener: Any) -> None:
        if len(run_cells) == left:
            raise KeyboardInterrupt
        run_cells.append(1)
        whole(events, store, listener)

    monkeypatch.setattr(tune, "collect", stopping)
    with pytest.raises(StoppedError, match="the same command again continues"):
        tune.tune(
            TUNABLE,
            [NORMAL],
            {"gradients": 100, "trials": 8, "seeds": 1, "fresh": 3, "fields": ("rate",)},
            0,
        )
    assert ended(home) == left
    monkeypatch.setattr(tune, "collect", whole)
    before = trials(capsys.readouterr().out)
    text = said(ARGUMENTS, home, monkeypatch, capsys)[1]
    assert trials(text)[:left] == before
    assert ended(home) == 8 + 6


@pytest.mark.parametrize(
    ("change", "words", "kept"),
    [
        (0.1, "are kept", {"batch": 4}),
        (-0.1, "1 lies inside", {"batch": 4, "kind": "odd"}),
    ],
)
def test_what_is_no_better_on_fresh_seeds_is_not_kept(
    change: float,
    words: str,
    kept: Mapping[str, Any],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    """The figures are given: whether a field that changes nothing looks better is chance."""
    trials = [
        Tried(0, {"kind": "even"}, {(NORMAL, 0): 1.0}),
        Tried(1, {"kind": "odd"}, {(NORMAL, 0): 0.5}),
    ]
    found = evidence.Evidence((), evidence.Mean(change, 0.2))
    monkeypatch.setattr(tune, "search", lambda *_: trials)
    monkeypatch.setattr(tune, "compare", lambda *_: found)
    at_best = [*ARGUMENTS]
    at_best[1] = f"{TUNABLE}:batch=4"
    at_best[-1] = "kind"
    text = said(at_best, home, monkeypatch, capsys)[1]
    (file,) = (home / "tuned").iterdir()
    assert file.name == "trouble.py_Tunable batch=4.toml"
    assert words in " ".join(text.split())
    assert tuned.read(file, "trouble.py:Tunable").fields == kept


def test_without_problems_it_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    status, text = said(["tune", "avb"], home, monkeypatch, capsys)
    assert status == 2
    assert "Name the problems to tune on" in text
