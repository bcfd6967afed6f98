"""Whose settings a method has is kept with the run and shown, and a matrix can want all tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.commands.run import run_matrix
from bench.errors import UserError
from bench.plugins import tuned
from bench.running.collect import origins_of
from bench.running.matrix import Cell, expand, validated
from bench.running.remembered import remember, remembered
from bench.store import ORIGINS, Store
from reports import tables
from reports.page import markdown
from reports.results import summarise
from tests.helpers.cells import NORMAL, OFFSET, own

TUNABLE, WALK = own("Tunable"), own("Walk")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(tuned.PLACE[0], raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str = "trouble.py_Tunable.toml", **fields: Any) -> None:
    top = {"method": "trouble.py:Tunable", "problems": ["a", "b"], "gradients": 5000}
    tuned.write(Path("tuned") / name, "by hand", top, {"fields": fields})


def cells(methods: list[Any], **more: Any) -> list[Cell]:
    content = {"problems": [NORMAL], "methods": methods, "metrics": [OFFSET], "seeds": 1}
    return expand(validated({**content, **more}, where="test"))


def origins(methods: list[Any], **more: Any) -> list[str]:
    return [cell.origin.words for cell in cells(methods, **more)]


def test_defaults_are_told_from_what_a_matrix_sets_and_from_what_it_says_is_the_authors() -> None:
    paper = {"name": WALK, "fields": {"steps": 3}, "settings": "authors"}
    found = origins([WALK, f"{WALK}:steps=2", paper])
    assert found == ["defaults", "set in the matrix", "its authors'"]


def test_tuned_settings_are_taken_from_their_file_and_are_part_of_the_key_as_any_others() -> None:
    write(rate=0.2)
    (found,) = cells([{"name": TUNABLE, "tuned": True}])
    assert found.method.settings == {"rate": 0.2}
    assert found.origin.words == (
        "tuned on a, b at 5,000 gradients (tuned/trouble.py_Tunable.toml)"
    )
    (same,) = cells([f"{TUNABLE}:rate=0.2"])
    assert same.key == found.key
    assert same.origin.words == "set in the matrix"


def test_fields_that_are_given_have_a_file_of_their_own() -> None:
    write(rate=0.2)
    write("trouble.py_Tunable batch=4.toml", rate=0.3, batch=4)
    found = cells([TUNABLE, f"{TUNABLE}:batch=4"], tuned=True)
    assert [dict(cell.method.settings) for cell in found] == [
        {"rate": 0.2},
        {"rate": 0.3, "batch": 4},
    ]


def test_a_file_can_be_named() -> None:
    write("other.toml", rate=0.7)
    (found,) = cells([{"name": TUNABLE, "tuned": "tuned/other.toml"}])
    assert found.method.settings == {"rate": 0.7}


def test_where_all_are_to_be_tuned_those_without_a_file_are_named_and_exact_is_not() -> None:
    write(rate=0.2)
    with pytest.raises(
        UserError, match=r"none in tuned for trouble.py:Walk, trouble.py:Walk nap=0.1\. `"
    ) as e:
        cells([TUNABLE, WALK, f"{WALK}:nap=0.1", "exact"], tuned=True)
    assert "postbench tune trouble.py:Walk -p PROBLEM" in str(e.value)
    left = {"name": WALK, "tuned": False}
    found = origins([TUNABLE, left, "exact"], tuned=True)
    assert [words.partition(" on ")[0] for words in found] == [
        "tuned",
        "defaults",
        "defaults: nothing to tune",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("= no toml", "is no file of tuned settings"),
        ('method = "x"', "KeyError"),
        ('method = "avb"\nproblems = []\ngradients = 1', "holds settings of avb, not of"),
        (
            'method = "trouble.py:Tunable"\nproblems = []\ngradients = 1\n[fields]\nrat = 1',
            r"tuned/trouble.py_Tunable.toml: .*Did you mean 'rate'",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text: str, words: str) -> None:
    Path("tuned").mkdir()
    (Path("tuned") / "trouble.py_Tunable.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        cells([TUNABLE], tuned=True)


def test_a_problem_has_no_settings_of_authors() -> None:
    with pytest.raises(UserError, match="keys of a method, not of a problem"):
        cells([WALK], problems=[{"name": NORMAL, "settings": "authors"}])


def test_whatever_a_field_holds_comes_back_from_the_file() -> None:
    fields = {"a": 1, "b": 0.1, "c": True, "d": 'sa"y\n', "e": [1, 2], "f g": 1e-30, "h": -0.0}
    write(**fields)
    found = tuned.read(Path("tuned/trouble.py_Tunable.toml"), "trouble.py:Tunable")
    assert dict(found.fields) == fields


def test_a_changed_file_of_settings_is_noticed_where_nothing_else_has_changed() -> None:
    matrix = validated(
        {"problems": [NORMAL], "methods": [TUNABLE], "metrics": [OFFSET], "tuned": True}, "test"
    )
    write(rate=0.2)
    found = expand(matrix)
    remember(Path(), matrix, found, [])
    known = remembered(Path(), matrix)
    assert known is not None
    assert known[0] == [cell.key for cell in found]
    write(rate=0.3)
    assert remembered(Path(), matrix) is None


def test_the_run_keeps_whose_settings_they_are_and_the_page_says_so(home: Path) -> None:
    write(rate=0.2)
    methods = f'{{ name = "{TUNABLE}", tuned = true }}, {{ name = "{WALK}", settings = "authors" }}'
    top = f'problems = ["{NORMAL}"]\nmetrics = ["{OFFSET}"]\nseeds = 1\ndraws = 100'
    Path("a.toml").write_text(f'{top}\nmethods = [{methods}, "exact"]', encoding="utf-8")
    Path("b.toml").write_text(f'{top}\nmethods = ["{WALK}", "exact"]', encoding="utf-8")
    run_matrix("a.toml", {}, 0, home / "out", False)
    store = Store(home / "out", create=False)
    assert store.info()[ORIGINS] == {
        "trouble.py:Tunable rate=0.2": (
            "tuned on a, b at 5,000 gradients (tuned/trouble.py_Tunable.toml)"
        ),
        "trouble.py:Walk": "its authors'",
    }
    assert "## Settings of the methods" in markdown(store, home / "figures")
    assert tables.settings_in_words(summarise(store)) == (
        "Settings: trouble.py:Tunable rate=0.2: tuned on a, b at 5,000 gradients"
        " (tuned/trouble.py_Tunable.toml); trouble.py:Walk: its authors'."
    )
    # what is said of the same cells changes with what the matrix says, and runs nothing
    before = store.cells()
    run_matrix("b.toml", {}, 0, home / "out", False)
    assert store.info()[ORIGINS] == {"trouble.py:Walk": "defaults"}
    assert store.cells() == before


def test_origins_leave_out_the_noise_floor() -> None:
    assert origins_of(cells([WALK, "exact"])) == {"trouble.py:Walk": "defaults"}
