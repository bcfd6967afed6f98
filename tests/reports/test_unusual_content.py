"""Runs of many problems, terminals of few columns, and metrics that the report has never
heard of.
"""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import pytest
from rich.console import Console

from bench.plugins import registry
from bench.store import CellRecord, Row, Store
from reports import content, glossary, numbers, page, tables
from reports.entries import entry
from reports.overview import overview
from reports.readings import FLOOR
from reports.results import Results, summarise
from tests.helpers.figures import WORDS
from tests.helpers.synthetic_store import build, wide

PROBLEMS = 12


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return wide(tmp_path_factory.mktemp("wide"), problems=PROBLEMS)


@pytest.fixture(scope="module")
def results(many: Store) -> Results:
    return summarise(many)


def printed(store: Store, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(tables.terminal(store))
    return console.export_text()


def test_many_problems_stand_in_rows_with_the_floor_beside_them(results: Results) -> None:
    table = overview(results)
    assert [line.label for line in table.lines] == results.problems
    assert table.columns == ("Problem", "gaussian-vb", "avb", "pyro-nuts", "exact (noise floor)")
    assert table.floor_column
    for problem, line in zip(results.problems, table.lines, strict=True):
        assert line.entries[0].text == entry(results, problem, "kl_qp", "gaussian-vb").text
        assert "by densities" in line.entries[-1].detail


def test_few_problems_stand_in_columns(tmp_path: Path) -> None:
    table = overview(summarise(wide(tmp_path, problems=2)))
    assert table.columns[0] == "Method"
    assert table.lines[-1].floor


def test_many_problems_without_a_floor_say_so_once(tmp_path: Path) -> None:
    table = overview(summarise(wide(tmp_path, problems=5, exact=False)))
    assert table.columns[-1] == "exact (noise floor)"
    assert len([note for note in table.notes if "-m exact" in note]) == 1
    assert all("no exact draws" in line.entries[-1].detail for line in table.lines)


def test_a_problem_whose_floor_failed_is_named(tmp_path: Path) -> None:
    store = wide(tmp_path, problems=6)
    for method, status in (("gaussian-vb", "ok"), (FLOOR, "failed")):
        rows = (
            [Row(0, True, 1.0, 10, 10, 100, "kl_qp", 0.1, 0.01, "exact")] if status == "ok" else []
        )
        store.append(CellRecord(f"late-{method}", "late", {}, method, {}, 0, {}, status), rows)  # type: ignore[arg-type]
    assert [
        note
        for note in overview(summarise(store)).notes
        if note.startswith("late: No noise floor: no cell of")
    ]


@pytest.mark.parametrize("width", [80, 110])
def test_the_closing_table_of_many_problems_is_one(many: Store, width: int) -> None:
    text = printed(many, width)
    assert max(map(len, text.splitlines())) <= width
    assert len(re.findall(r"^ ?a-posterior-of[^:\n]*$", text, re.MULTILINE)) == PROBLEMS
    assert "…" not in text
    assert all(name in text for name in ("gaussian-vb", "avb", "pyro-nuts", "exact"))


def test_the_closing_table_of_many_methods_is_one_with_two_digits_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = build(tmp_path)
    results = summarise(store)
    lines = len(results.methods) * len(results.problems)
    monkeypatch.setattr(tables, "LINES", lines - 1)
    text = printed(store, 140)
    assert "KL(q‖p), nats, without intervals, which the page has" in text
    assert len(re.findall(r"^ ?eight-schools *$", text, re.MULTILINE)) == 0  # no table of its own
    row = next(line for line in text.splitlines() if line.startswith(" avb "))
    for problem in results.problems:
        figure = results.figures[problem, "kl_qp", "avb"]
        assert numbers.plain(figure.value, 2) in row
    monkeypatch.setattr(tables, "LINES", lines)
    assert "without intervals" not in printed(store, 140)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("few"), names=("mixture-2d", "eight-schools-signed"))


@pytest.mark.parametrize("width", [80, 90, 100, 110, 140])
def test_a_narrow_terminal_drops_columns_and_names_them(few: Store, width: int) -> None:
    text, results = printed(few, width), summarise(few)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    blocks = re.split(r"^ ?(?=(?:mixture-2d|eight-schools-signed) *$)", text, flags=re.MULTILINE)[
        1:
    ]
    for problem, block in zip(results.problems, blocks, strict=True):
        left = re.search(r"Left out in a terminal this narrow: ([^.]*)\.", block)
        dropped = left[1].split(", ") if left else []
        assert bool(dropped) is (width < 110)
        block = block.partition("Left out")[0]
        measured = set(results.metrics(problem))
        for metric in ("kl_qp", *(name for name in glossary.BRIEF if name in measured)):
            assert (results.measure(metric).short in dropped) is (
                results.measure(metric).heading not in block
            )
            if results.measure(metric).short not in dropped:
                assert all(
                    entry(results, problem, metric, m).text in block
                    for m in ("avb", "pyro-nuts", FLOOR)
                )


def test_a_wide_page_has_one_link_for_each_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "pictures", lambda *_: [])
    text = page.html(wide(tmp_path, problems=tables.MANY + 1))
    nav = text[text.index("<nav") : text.index("</nav>")]
    assert "#problem-" not in nav
    table = text[text.index('id="overview"') : text.index('id="reading"')]
    assert len(set(re.findall(r'href="#(problem-\d+)"', table))) == tables.MANY + 1
    assert ' floored"' in table


def test_every_metric_of_the_suite_has_its_place_in_the_tables() -> None:
    names = [*registry.BUILT_IN["metrics"], *registry.BUILT_IN["figures"]]
    placed = [*itertools.chain(*glossary.more(names)), *(set(names) & set(glossary.MAIN))]
    assert sorted(placed) == sorted(names)
    groups = (
        *glossary.MAIN,
        *glossary.PARAMETERS,
        *glossary.ROUTES,
        *glossary.WEIGHTS,
        *glossary.CODES,
        *glossary.FURTHER,
    )
    assert set(names) <= set(groups), "reports/glossary.py has no place for a metric of the suite"
    assert set(groups) <= {*names, *glossary.COSTS}, "reports/glossary.py names what does not exist"


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN["metrics"]))
def test_the_page_says_of_a_metric_what_the_metric_says(name: str) -> None:
    kept, words = WORDS[name], glossary.measure(name, WORDS)
    assert (words.heading, words.meaning, words.ideal) == (
        kept["heading"],
        kept["meaning"],
        kept["ideal"],
    )
    assert (words.worse, words.density, words.astray) == (
        kept["worse"],
        kept["density"],
        kept["astray"],
    )
    assert words.unit == kept["unit"].replace("^-2", "⁻²").replace("^2", "²")


@pytest.mark.parametrize(
    ("kept", "heading", "ideal"),
    [
        ({"own": {"unit": "nats", "ideal": 1.0}}, "own, nats", 1.0),
        ({"own": {"unit": "", "ideal": 0}}, "own", 0.0),
        ({"own": {"unit": "nats", "ideal": None}}, "own, nats", None),
        ({"other": {"unit": "nats", "ideal": 0.0}}, "own", None),
        (None, "own", None),
        ({"own": "broken"}, "own", None),
    ],
)
def test_a_metric_of_a_plugin_goes_by_what_the_run_kept(
    tmp_path: Path, kept: dict[str, object] | None, heading: str, ideal: float | None
) -> None:
    store = Store(tmp_path)
    if kept is not None:
        store.note({"metrics": kept})
    for method, value in (("near", 1.01), ("below", 0.2), ("above", 1.9), (FLOOR, 1.0)):
        for seed in range(2):
            rows = [Row(0, True, 1.0, 10, 10, 100, "own", value, 0.01, "estimate")]
            store.append(CellRecord(f"{method}{seed}", "p", {}, method, {}, seed, {}, "ok"), rows)
    results = summarise(store)
    assert (results.measure("own").heading, results.measure("own").ideal) == (heading, ideal)
    ranks = (
        {method: results.verdicts["p", "own", method].rank for method in ("near", "below", "above")}
        if ideal is not None
        else {}
    )
    assert ranks == {1.0: {"near": "best", "below": "", "above": ""}, None: {}}.get(ideal, ranks)
    assert ideal is not None or not results.verdicts
