"""The noise floor stands in every table and picture, and inside it no method is put above
another.
"""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.store import CellRecord, Row, Store
from reports import page, tables
from reports.entries import entry
from reports.intervals import BRACKET, Figure, combine, deviation, floor, loss
from reports.overview import overview
from reports.pictures.costs import BAND, NO_BAND, costs
from reports.pictures.figures import pictures
from reports.pictures.style import looks
from reports.ranking import NoiseFloor, Verdict, rank
from reports.readings import FLOOR
from reports.results import Results, ordered, summarise
from reports.sheet import Table
from reports.verdict import verdict
from tests.helpers.figures import WORDS, figure
from tests.helpers.synthetic_store import build

KINDS = ("exact", "estimate", "lower bound", "upper bound", BRACKET)


def anything(rng: np.random.Generator, kind: str) -> Figure:
    """Figures near and far, with narrow and wide intervals, of one seed and of more."""
    seeds = int(rng.integers(1, 4))
    value = rng.choice([0.0, 0.01, 0.1, 1.0]) * rng.normal()
    half = rng.choice([1e-4, 1e-2, 0.1, 1.0]) * rng.random()
    values = (value + half * rng.choice([0.0, 1.0, 5.0]) * rng.normal(size=seeds)).tolist()
    tops = [v + rng.choice([0.0, 1e-3, 1.0]) * rng.random() for v in values]
    return combine(values, [half] * seeds, [kind] * seeds, [(top, half) for top in tops])


def inside(found: Figure, noise: Figure | None, astray: bool) -> bool:
    """What docs/metrics.md calls inside the floor, in words of this test's own."""
    same = noise is not None and noise.kind == found.kind
    if found.kind == "estimate":
        below = noise is not None and astray and found.high < noise.low
        return noise is not None and found.low <= noise.high and not below
    if found.kind == "exact":
        return found.low <= (max(noise.high, 0.0) if noise is not None and same else 0.0)
    if found.kind == BRACKET:
        return found.low <= 0 and found.above is not None and found.above.low <= 0
    return found.kind == "upper bound" and noise is not None and found.high <= noise.high


@pytest.mark.parametrize("noise_kind", [None, "estimate", "exact", "lower bound"])
@pytest.mark.parametrize("astray", [False, True])
def test_no_two_methods_inside_the_floor_are_ever_ordered(
    noise_kind: str | None, astray: bool
) -> None:
    rng, met = np.random.default_rng(len(noise_kind or "") + 100 * astray), 0
    for _ in range(1500):
        figures = {
            f"m{i}": anything(rng, str(rng.choice(KINDS))) for i in range(int(rng.integers(2, 6)))
        }
        noise = anything(rng, noise_kind) if noise_kind else None
        ranking = rank(figures, NoiseFloor(noise, astray))
        verdicts = ranking.verdicts
        near = [name for name, found in figures.items() if inside(found, noise, astray)]
        met += len(near) > 1
        assert [verdict.at_floor for verdict in verdicts.values()] == [
            name in near for name in figures
        ]
        assert len({verdicts[name].rank for name in near if figures[name].seeds > 1}) <= 1
        assert "" not in {verdicts[name].rank for name in near} or len(figures) < 2
        assert not {worse for _, worse in ranking.shown} & set(near)
        for name, found in verdicts.items():
            if found.rank == "best":
                assert name in {better for better, _ in ranking.shown}
                assert name not in {worse for _, worse in ranking.shown}
                assert figures[name].seeds > 1
                assert figures[name].kind != "lower bound"
                assert noise is not None or figures[name].kind != "estimate"
    assert met > 50  # the property was tried


@pytest.mark.parametrize("kind", ["estimate", "exact"])
def test_methods_that_are_the_truth_are_hardly_ever_told_apart(kind: str) -> None:
    rng, repeats, seeds, best = np.random.default_rng(3), 600, 3, 0
    for _ in range(repeats):
        draws = rng.normal(0.05, 0.01, (4, seeds)).tolist()
        figures = {
            f"m{i}": combine(row, [0.01] * seeds, [kind] * seeds) for i, row in enumerate(draws[1:])
        }
        best += any(
            v.rank != "tied"
            for v in rank(
                figures, NoiseFloor(floor(draws[0], [0.01] * seeds, [kind] * seeds))
            ).verdicts.values()
        )
    assert best <= 0.02 * repeats


def test_one_seed_that_is_sure_of_itself_is_never_the_best() -> None:
    lone = {"a": figure(0.6924, 0.6926, seeds=1), "b": figure(0.6930, 0.6932, seeds=1)}
    assert set(rank(lone, NoiseFloor()).verdicts.values()) == {Verdict("tied")}
    far = {"a": figure(0.0199, 0.0201, seeds=1), "b": figure(0.6930, 0.6932, seeds=1)}
    assert list(rank(far, NoiseFloor()).verdicts.values()) == [Verdict("tied"), Verdict()]
    several = {"a": figure(0.0199, 0.0201, seeds=2), "b": figure(0.6930, 0.6932, seeds=1)}
    assert list(rank(several, NoiseFloor()).verdicts.values()) == [Verdict("best"), Verdict()]


def test_two_seeds_that_differ_are_not_at_the_floor() -> None:
    found = combine([1.33, 1.80], [0.028, 0.031], ["exact"] * 2)
    assert found.low > 1
    assert not NoiseFloor().at_floor(found)


def test_without_a_floor_no_estimate_is_best_and_none_is_worst() -> None:
    figures = {"a": figure(0.1, 0.12, "estimate"), "b": figure(5.0, 5.1, "estimate")}
    assert set(rank(figures, NoiseFloor()).verdicts.values()) == {Verdict("tied")}
    beside = {"a": figure(0.1, 0.12, "estimate"), "b": figure(5.0, 5.1)}
    assert rank(beside, NoiseFloor()).verdicts["a"].rank == "tied"
    assert rank(beside, NoiseFloor(figure(-0.02, 0.02, "estimate"))).verdicts["a"].rank == "best"


def test_exact_values_need_no_floor_but_their_own() -> None:
    here = {"a": figure(-0.02, -0.01), "b": figure(-0.005, 0.01), "c": figure(0.3, 0.4)}
    verdicts = rank(here, NoiseFloor()).verdicts
    assert list(verdicts.values()) == [Verdict("best", at_floor=True)] * 2 + [Verdict()]


def test_an_unbiased_mmd_is_held_against_the_floor_of_mmd() -> None:
    noise = figure(-0.0005, 0.0005)
    here = {"a": figure(-3e-4, 1e-4), "b": figure(2e-4, 4e-4), "c": figure(0.03, 0.04)}
    found = rank(here, NoiseFloor(noise)).verdicts
    assert list(found.values()) == [Verdict("best", at_floor=True)] * 2 + [Verdict()]


def test_neighbours_below_the_floor_are_misled_not_good() -> None:
    figures = {"wide": figure(-0.23, -0.19, "estimate"), "fair": figure(0.1, 0.12)}
    noise = figure(-0.02, 0.02, "estimate")
    verdicts = rank(figures, NoiseFloor(noise, astray=True)).verdicts
    assert list(verdicts.values()) == [Verdict(fault="below"), Verdict("tied")]


@pytest.mark.parametrize(
    ("ideal", "worse", "near", "far"),
    [
        (0.5, "above", figure(0.5, 0.52), figure(0.9, 0.95)),
        (1.0, "below", figure(0.97, 0.99), figure(0.2, 0.3)),
        (0.0, "both", figure(-0.02, 0.03), figure(-0.9, -0.8)),
        (0.0, "both", figure(0.1, 0.2), figure(-0.9, -0.8)),
    ],
)
def test_an_ideal_other_than_0_is_what_counts(
    ideal: float, worse: str, near: Figure, far: Figure
) -> None:
    ranked = {name: loss(found, ideal, worse) for name, found in (("near", near), ("far", far))}  # type: ignore[arg-type]
    assert {
        name: verdict.rank for name, verdict in rank(ranked, NoiseFloor()).verdicts.items()
    } == {
        "near": "best",
        "far": "",
    }


@pytest.mark.parametrize(
    ("kind", "mirrored"), [("lower bound", "upper bound"), ("upper bound", "lower bound")]
)
def test_a_bound_on_a_figure_is_the_other_bound_on_what_it_lacks(kind: str, mirrored: str) -> None:
    assert loss(figure(0.2, 0.3, kind), 1.0, "below").kind == mirrored
    assert loss(figure(-0.3, -0.2, "upper bound"), 0.0, "both") == replace(
        figure(0.2, 0.3, "lower bound")
    )


def test_errors_of_opposite_sign_do_not_cancel() -> None:
    far, near = [0.5, -0.5, 0.5, -0.5], [0.01, -0.02, 0.01, 0.0]
    here = {
        name: deviation(values, [0.02] * 4, ["exact"] * 4, 0.0)
        for name, values in (("far", far), ("near", near))
    }
    verdicts = rank(here, NoiseFloor()).verdicts
    assert verdicts == {"far": Verdict(), "near": Verdict("best", at_floor=True)}


@pytest.mark.parametrize(
    ("values", "at_floor"),
    [
        ([-0.045, -0.044, -0.046], False),
        ([0.3, -0.3, 0.0], False),
        ([0.02, -0.02, 0.03], True),
        ([0.045, -0.045, 0.0], True),
    ],
)
def test_a_signed_error_is_at_the_floor_by_its_mean_and_by_each_seed(
    values: list[float], at_floor: bool
) -> None:
    assert NoiseFloor().at_floor(deviation(values, [0.02] * 3, ["exact"] * 3, 0.0)) is at_floor


def measured(folder: Path, rows: dict[str, list[tuple[str, float, float, str]]]) -> Store:
    """Three seeds of each method, alike."""
    store = Store(folder)
    store.note({"metrics": WORDS})
    for method, figures in rows.items():
        for seed in range(3):
            found = [Row(0, True, 1.0, 10, 10, 100, *figure) for figure in figures]
            store.append(CellRecord(f"{method}{seed}", "p", {}, method, {}, seed, {}, "ok"), found)
    return store


NETS = {
    "gauss": [
        ("kl_qp", 0.5, 0.01, "exact"),
        ("kl_classifier", 0.4, 0.02, "lower bound"),
        ("importance_ess", 0.6, 0.01, "estimate"),
    ],
    "net": [("kl_qp", 0.01, 0.01, "estimate"), ("kl_classifier", 0.3, 0.02, "lower bound")],
    "nuts": [("kl_qp", 0.012, 0.01, "estimate"), ("kl_classifier", 0.005, 0.02, "lower bound")],
    FLOOR: [("kl_qp", 0.0, 0.01, "estimate"), ("kl_classifier", -0.01, 0.02, "lower bound")],
}


def test_each_floor_is_told_by_its_ruler(tmp_path: Path) -> None:
    results = summarise(measured(tmp_path, NETS))
    assert entry(results, "p", "kl_qp", FLOOR).detail == "estimate; 0 by densities"
    found = entry(results, "p", "importance_ess", FLOOR)
    assert (found.text, found.detail) == ("1", "by densities")


def test_bounds_from_draws_stand_beside_their_null_reading(tmp_path: Path) -> None:
    results = summarise(measured(tmp_path, NETS))
    table = next(
        table
        for table in tables.more_tables(results, "p")
        if any("classifier" in c for c in table.columns)
    )
    column = next(i for i, heading in enumerate(table.columns) if "classifier" in heading) - 1
    found = {line.label: line.entries[column] for line in table.lines}
    assert found[FLOOR].text == "≥ −0.010 ± 0.023"
    assert found["nuts"].detail == "lower bound, inside the floor"
    assert found["gauss"].detail == "lower bound"


def test_what_a_bound_denies_is_not_called_near_the_truth(tmp_path: Path) -> None:
    results = summarise(measured(tmp_path, NETS))
    assert results.verdicts["p", "kl_qp", "nuts"] == Verdict("best", at_floor=True)
    assert results.verdicts["p", "kl_qp", "net"] == Verdict(fault="denied")
    assert "misled: at least 0.28" in entry(results, "p", "kl_qp", "net").detail
    said = verdict(results, "p")
    assert said.sentence.startswith("nuts cannot be told from the truth")
    assert any("net is misled" in claim.text and "0.28" in claim.text for claim in said.claims)


def test_an_estimate_that_a_density_denies_is_not_best(tmp_path: Path) -> None:
    rows = {
        "net": [("kl_qp", 3.7, 0.1, "exact"), ("kl_knn", 0.26, 0.02, "estimate")],
        "gauss": [("kl_qp", 1.5, 0.02, "exact"), ("kl_knn", 1.4, 0.1, "estimate")],
        FLOOR: [("kl_qp", 0.0, 0.01, "estimate"), ("kl_knn", 0.0, 0.01, "estimate")],
    }
    results = summarise(measured(tmp_path, rows))
    assert results.verdicts["p", "kl_qp", "gauss"].rank == "best"
    assert results.verdicts["p", "kl_knn", "net"] == Verdict(fault="denied")
    assert entry(results, "p", "kl_knn", "net").detail == "misled: at least 3.6"
    assert entry(results, "p", "kl_knn", "gauss").detail == ""


def test_methods_at_the_floor_stand_in_the_order_they_were_met(tmp_path: Path) -> None:
    rows = {
        "far": [("kl_qp", 0.5, 0.01, "estimate")],
        "second": [("kl_qp", 0.02, 0.01, "estimate")],
        "first": [("kl_qp", 0.01, 0.01, "estimate")],
        FLOOR: [("kl_qp", 0.0, 0.01, "estimate")],
    }
    assert ordered(summarise(measured(tmp_path, rows)), "p", rows) == [
        "second",
        "first",
        "far",
        FLOOR,
    ]


@pytest.fixture(scope="module", params=[True, False], ids=["floor", "no floor"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, Results, bool]:
    store = build(
        tmp_path_factory.mktemp("run"), names=("mixture-2d", "eight-schools"), exact=request.param
    )
    return store, summarise(store), request.param


def every_table(results: Results, problem: str) -> list[Table]:
    return [
        tables.problem_table(results, problem),
        *tables.more_tables(results, problem),
        overview(results),
    ]


def test_every_table_has_the_floor_or_says_that_there_is_none(
    run: tuple[Store, Results, bool],
) -> None:
    _, results, exact = run
    for problem in results.problems:
        found = every_table(results, problem)
        assert len(found) == 5
        for table in found:
            assert [line.floor for line in table.lines] == [False] * (len(table.lines) - 1) + [True]
            assert any("-m exact" in note for note in table.notes) is not exact
        assert any(
            "no noise floor applies" in note
            for note in tables.diagnostics_table(results, problem).notes
        )  # type: ignore[union-attr]


def test_every_picture_has_the_floor_or_says_that_there_is_none(
    run: tuple[Store, Results, bool],
) -> None:
    store, results, exact = run
    for problem in results.problems[1:]:
        found = pictures(store, results, problem)
        assert len(found) == 3
        for picture in found:
            assert ("-m exact" in picture.caption) is not exact
            named = [
                text.get_text() for legend in picture.figure.legends for text in legend.get_texts()
            ]
            named += [
                axes.get_title(where)
                for axes in picture.figure.axes
                for where in ("left", "center")
            ]
            words = ("noise floor",) if exact else (NO_BAND,)
            assert any(word in name for name in named for word in words) or (
                not exact and "costs" not in picture.name
            )


@pytest.mark.parametrize("exact", [True, False])
def test_the_page_and_the_terminal_say_it_too(tmp_path: Path, exact: bool) -> None:
    store = measured(
        tmp_path, {method: rows for method, rows in NETS.items() if exact or method != FLOOR}
    )
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(tables.terminal(store))
    for text in (console.export_text(), page.html(store), page.markdown(store, tmp_path)):
        assert ("-m exact" in text) is not exact
        assert "exact (noise floor)" in text
        assert "Estimates are held against it" in text


def test_nothing_measured_by_an_estimate_is_best_without_a_floor(
    run: tuple[Store, Results, bool],
) -> None:
    _, results, exact = run
    best = [key for key, verdict in results.verdicts.items() if verdict.rank == "best"]
    blurred = [
        key
        for key in best
        if results.figures[key].kind == "estimate" and not results.measure(key[1]).density
    ]
    assert bool(blurred) is exact


def test_a_floor_below_the_picture_is_told_in_words(tmp_path: Path) -> None:
    rows = {"m": [("kl_qp", 0.5, 0.01, "exact")], FLOOR: [("kl_qp", -0.1, 0.01, "estimate")]}
    results = summarise(measured(tmp_path, rows))
    found = costs(results, "p", looks(results.methods))
    assert found is not None
    assert "lower edge" in found.floor
    assert "−0.100" in found.floor
    assert BAND not in [
        text.get_text() for legend in found.figure.legends for text in legend.get_texts()
    ]


def test_infinity_is_not_at_the_floor() -> None:
    assert not NoiseFloor(figure(-1, 1, "estimate")).at_floor(
        Figure(math.inf, math.inf, math.inf, "estimate", 1)
    )
