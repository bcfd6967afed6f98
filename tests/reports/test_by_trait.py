"""The table by trait: on how many problems of each kind a method is among the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.store import TRAITS, Store
from reports.by_trait import by_trait
from reports.content import content
from reports.page import write
from reports.results import Results, summarise
from tests.helpers.synthetic_store import wide


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six problems, on all of which AVB is closest to the truth: three curved, all planar."""
    made = wide(tmp_path_factory.mktemp("wide"), problems=6)
    names = list(dict.fromkeys(cell["problem"] for cell in made.cells()))
    of = {name: ["planar", *(["curved"] if i < 3 else [])] for i, name in enumerate(names)}
    of[names[5]].append("funnel")
    made.note({TRAITS: of})
    return made


@pytest.fixture(scope="module")
def results(store: Store) -> Results:
    return summarise(store)


def test_a_trait_that_tells_problems_apart_has_a_line(results: Results) -> None:
    table = by_trait(results)
    assert table is not None
    assert [line.label for line in table.lines] == ["curved"]  # all are planar, and one a funnel
    assert table.columns == ("Trait", *(m for m in results.methods if m != "exact"))
    assert table.lines[0].detail == "3 problems"


def test_it_counts_the_problems_on_which_no_method_is_better(results: Results) -> None:
    table = by_trait(results)
    assert table is not None
    said = dict(zip(table.columns[1:], table.lines[0].entries, strict=True))
    for method, entry in said.items():
        verdicts = [
            results.verdict((problem, results.divergence(problem) or "", method))
            for problem in results.problems[:3]
        ]
        good = sum(bool(v.rank) or v.at_floor for v in verdicts if not v.fault)
        assert entry.text == f"{good} of 3"
    counts = [entry.text for entry in said.values()]
    assert "3 of 3" in counts
    assert len(set(counts)) > 1, "one of the methods is not among the best everywhere"


def test_the_distances_are_the_least_and_the_greatest(results: Results) -> None:
    table = by_trait(results)
    assert table is not None
    metric = results.divergence(results.problems[0]) or ""
    values = [results.figures[p, metric, "gaussian-vb"].value for p in results.problems[:3]]
    low, high = table.lines[0].entries[table.columns.index("gaussian-vb") - 1].detail.split(" to ")
    assert float(low) == pytest.approx(min(values), rel=0.1)
    assert float(high) == pytest.approx(max(values), rel=0.1)


def test_words_say_where_a_method_is_good_and_where_not(results: Results) -> None:
    table = by_trait(results)
    assert table is not None
    said = dict(zip(table.columns[1:], table.lines[0].entries, strict=True))
    for method, entry in said.items():
        words = {"3 of 3": "all known as curved", "0 of 3": "none known as curved"}
        some = f"some known as curved ({entry.text})"
        assert f"{method}: among the best on {words.get(entry.text, some)}." in table.notes
    assert "among the best" in table.notes[0]
    assert len(table.notes) == 1 + len(said)


def test_without_shared_traits_or_rivals_there_is_no_table(results: Results) -> None:
    assert by_trait(replace(results, traits={})) is None
    alone = {key: figure for key, figure in results.figures.items() if key[2] == "avb"}
    frame = results.frame[results.frame["method"] == "avb"]
    assert by_trait(replace(results, frame=frame, figures=alone)) is None


def test_both_pages_show_it(store: Store, tmp_path: Path) -> None:
    assert content(store).by_trait is not None
    html, markdown = tmp_path / "page.html", tmp_path / "page.md"
    write(store, html, markdown)
    assert "## By trait" in markdown.read_text(encoding="utf-8")
    assert 'id="traits"' in html.read_text(encoding="utf-8")
