"""A quantity known between two bounds is reported as one, from the store to the page."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.store import CellRecord, Row, Store
from reports import numbers, page, tables
from reports.entries import entry, shown
from reports.intervals import BRACKET, Figure, combine
from reports.overview import overview
from reports.pictures.costs import MARKERS, costs
from reports.pictures.figures import pictures
from reports.pictures.style import looks
from reports.ranking import NoiseFloor, Verdict, rank
from reports.results import Results, summarise
from reports.verdict import verdict
from tests.helpers.figures import WORDS, bracket, figure

NORMAL = 1.959964


@dataclass(frozen=True)
class Reading:
    """One seed's lower end (or whole figure) and upper end."""

    lower: float
    stderr: float
    kind: str = "lower bound"
    upper: float | None = None
    upper_stderr: float = 0.0


def store_of(folder: Path, methods: dict[str, Sequence[Reading]], checkpoints: int = 1) -> Store:
    store = Store(folder)
    store.note({"metrics": WORDS})
    for method, seeds in methods.items():
        for seed, reading in enumerate(seeds):
            rows = [row for step in range(checkpoints) for row in _rows(reading, step, checkpoints)]
            store.append(CellRecord(f"{method}{seed}", "p", {}, method, {}, seed, {}, "ok"), rows)
    return store


def _rows(reading: Reading, step: int, checkpoints: int) -> list[Row]:
    def row(metric: str, value: float, stderr: float, kind: str) -> Row:
        return Row(
            step,
            step == checkpoints - 1,
            1.0 + step,
            10 * (step + 1),
            10,
            100,
            metric,
            value,
            stderr,
            kind,
        )

    rows = [
        row(metric, reading.lower, reading.stderr, reading.kind) for metric in ("kl_qp", "elbo_gap")
    ]
    if reading.upper is not None:
        rows.append(row("kl_upper", reading.upper, reading.upper_stderr, "upper bound"))
    return rows


@pytest.mark.parametrize(
    ("ends", "half_width", "expected"),
    [
        ((0.2964, 0.2969), 0.0074, "0.2964 to 0.2969 ± 0.0074"),
        ((1.203, 1.246), 0.045, "1.203 to 1.246 ± 0.045"),
        ((0.30, 0.3004), 0.07, "0.300 ± 0.070"),
        ((0.3005, 0.2964), 0.0074, "0.2964 to 0.3005 ± 0.0074"),
        ((-0.004, 0.002), 0.0051, "−0.0040 to 0.0020 ± 0.0051"),
        ((3.2e-6, 3.4e-6), 4e-7, "(3.20 to 3.40 ± 0.40) × 10⁻⁶"),
        ((0.5, 0.6), 0.0, "0.5000 to 0.6000"),
        ((0.5, math.inf), 0.1, "0.5000 to ∞"),
    ],
)
def test_both_ends_are_written_once_each(
    ends: tuple[float, float], half_width: float, expected: str
) -> None:
    assert numbers.between(*ends, half_width) == expected


def test_the_uncertainty_written_holds_for_both_ends() -> None:
    figure = combine([1.2], [0.01], [BRACKET], [(1.25, 0.02)])
    assert shown(figure) == "1.200 to 1.250 ± 0.039"
    assert (figure.low, figure.high) == pytest.approx(
        (1.2 - NORMAL * 0.01, 1.25 + NORMAL * 0.02), rel=1e-5
    )


def test_seeds_are_combined_end_by_end() -> None:
    lower, upper = [0.1, 0.2, 0.4], [0.15, 0.3, 0.42]
    figure = combine(lower, [0.01] * 3, [BRACKET] * 3, [(value, 0.01) for value in upper])
    ends = combine(lower, [0.01] * 3, ["exact"] * 3), combine(upper, [0.01] * 3, ["exact"] * 3)
    assert figure.above is not None
    assert (figure.value, figure.low) == (ends[0].value, ends[0].low)
    assert (figure.above.value, figure.high) == (ends[1].value, ends[1].high)


@pytest.mark.parametrize(
    ("kinds", "above", "expected"),
    [
        ([BRACKET, BRACKET], [(0.2, 0.01), (0.3, 0.01)], BRACKET),
        ([BRACKET, "exact"], [(0.2, 0.01), None], BRACKET),
        ([BRACKET, "lower bound"], [(0.2, 0.01), None], "lower bound"),
        ([BRACKET, "estimate"], [(0.2, 0.01), None], "estimate"),
        ([BRACKET, BRACKET], [(0.2, 0.01), (math.inf, 0.01)], "lower bound"),
    ],
)
def test_one_seed_open_from_above_opens_the_mean(
    kinds: list[str], above: list[tuple[float, float] | None], expected: str
) -> None:
    figure = combine([0.1, 0.15], [0.01, 0.01], kinds, above)
    assert figure.kind == expected
    assert (figure.above is not None) is (expected == BRACKET)


def test_an_exact_seed_is_both_of_its_ends() -> None:
    figure = combine([0.1, 0.2], [0.01] * 2, [BRACKET, "exact"], [(0.14, 0.01), None])
    assert figure.above is not None
    assert figure.above.value == pytest.approx((0.14 + 0.2) / 2)


BEST, TIED, NONE = Verdict("best"), Verdict("tied"), Verdict()
FLOOR = Verdict("tied", at_floor=True)
NOISE = figure(-0.02, 0.02, "estimate")


@pytest.mark.parametrize(
    ("case", "found", "rival", "expected"),
    [
        ("below an exact value", bracket((0.1, 0.14), (0.12, 0.2)), (0.3, 0.4), [BEST, NONE]),
        (
            "its upper end reaches the rival",
            bracket((0.1, 0.14), (0.12, 0.32)),
            (0.3, 0.4),
            [TIED, TIED],
        ),
        ("above an exact value", bracket((0.5, 0.6), (0.55, 0.7)), (0.3, 0.4), [NONE, BEST]),
        ("both ends hold 0", bracket((-0.01, 0.01), (-0.008, 0.012)), (0.005, 0.01), [FLOOR, TIED]),
        (
            "only the lower end holds 0",
            bracket((-0.01, 0.01), (5.0, 6.0)),
            (7.0, 8.0),
            [BEST, NONE],
        ),
    ],
)
def test_a_bracket_is_ranked_by_all_of_it(
    case: str, found: Figure, rival: tuple[float, float], expected: list[Verdict]
) -> None:
    here = {"a": found, "b": figure(*rival)}
    assert list(rank(here, NoiseFloor(NOISE)).verdicts.values()) == expected, case


GOOD = [
    Reading(0.2964, 0.0038, upper=0.2969, upper_stderr=0.0038),
    Reading(0.2962, 0.0038, upper=0.2969, upper_stderr=0.0038),
]
BARE = [Reading(0.1, 0.002), Reading(0.1, 0.002)]
POOR = [Reading(0.9, 0.002, "exact"), Reading(0.91, 0.002, "exact")]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return summarise(store_of(tmp_path, {"net": GOOD, "gauss": POOR}, checkpoints=3))


@pytest.mark.parametrize("metric", ["kl_qp", "elbo_gap"])
def test_a_lower_bound_and_the_upper_one_are_one_entry(results: Results, metric: str) -> None:
    found = entry(results, "p", metric, "net")
    assert found.text.startswith("0.2963 to 0.2969 ± 0.00")
    assert found.detail.startswith(BRACKET)
    assert found.verdict.rank == "best"


def test_the_upper_bound_is_not_told_twice(results: Results) -> None:
    columns = [column for table in tables.more_tables(results, "p") for column in table.columns]
    assert "ELBO gap, nats" in columns
    assert not any("at most" in column for column in columns)


def test_the_words_praise_a_bracket_and_no_bare_bound(tmp_path: Path) -> None:
    closed = summarise(store_of(tmp_path / "a", {"net": GOOD, "gauss": POOR}))
    bare = summarise(store_of(tmp_path / "b", {"net": BARE, "gauss": POOR}))
    assert verdict(closed, "p").sentence.startswith("net is closer to the truth than gauss")
    assert any("known from below only" in claim.text for claim in verdict(bare, "p").claims)
    assert "best" not in {verdict.rank for verdict in bare.verdicts.values()}


def test_every_page_and_the_terminal_show_the_same_bracket(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"net": GOOD, "gauss": POOR})
    results, console = summarise(store), Console(width=120, record=True, file=io.StringIO())
    text = entry(results, "p", "kl_qp", "net").text
    console.print(tables.terminal(store))
    assert text in console.export_text()
    assert text in page.html(store)
    assert text in page.markdown(store, tmp_path / "pictures")
    assert any(text == found.text for line in overview(results).lines for found in line.entries)


def test_a_larger_lower_bound_by_another_route_stays(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"net": GOOD, "nuts": [Reading(0.02, 0.01, "estimate")] * 2})
    for method, value in (("net", 0.2965), ("nuts", 0.3)):
        row = Row(0, True, 1.0, 10, 10, 100, "kl_lower", value, 0.01, "lower bound")
        cell = next(found for found in store.cells() if found["key"] == f"{method}0")
        rows = [
            Row(**{k: v for k, v in r.items() if k != "key"})
            for r in store.rows()
            if r["key"] == f"{method}0"
        ]
        record = CellRecord(**cell)
        store.append(record, [*rows, row])
    results = summarise(store)
    assert entry(results, "p", "kl_lower", "nuts").text.startswith("≥ 0.3")
    assert entry(results, "p", "kl_lower", "net").text == "as KL(q‖p)"


@pytest.mark.parametrize("checkpoints", [1, 4])
def test_the_cost_picture_draws_the_bracket_as_a_bar(tmp_path: Path, checkpoints: int) -> None:
    wide = [Reading(0.2, 0.01, upper=0.4, upper_stderr=0.01)] * 2
    store = store_of(tmp_path, {"net": wide, "gauss": POOR}, checkpoints)
    results = summarise(store)
    found = costs(results, "p", looks(results.methods))
    assert found is not None
    for axes in found.figure.axes:
        bars = [
            np.asarray(path.vertices)[:, 1]
            for c in axes.collections
            if c.get_gid() == "bracket"
            for path in c.get_paths()
        ]
        assert [tuple(bar) for bar in bars if len(bar)] == [(0.2, 0.4)] * checkpoints
        assert axes.get_ylim()[1] > 0.4
        own = [
            line for line in axes.lines if line.get_color() == looks(results.methods)["net"].colour
        ]
        assert MARKERS[BRACKET] in {line.get_marker() for line in own}
    assert "■ with a bar: between bounds" in pictures(store, results, "p")[-1].caption
