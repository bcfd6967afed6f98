"""No value makes a page fail: each case is a store that holds something odd, and what the page must
say of it. What cannot be drawn says so in its place, and all the rest is there.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench.store import CellRecord, Row, Store
from reports import page, tables
from reports.guarded import guarded
from reports.pictures.figures import NOT_DRAWN, pictures
from reports.readings import FLOOR
from reports.results import summarise
from tests.helpers.figures import WORDS

Array = np.ndarray[Any, Any]
LABELS = ("x", "y", "w")
RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(400, 2))
DRAWS = RNG.normal(size=(300, 2))


def with_column(column: float | Array) -> Array:
    found = DRAWS.copy()
    found[:, 1] = column
    return found


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def other_key(path: Path) -> None:
    np.savez(path, other=DRAWS)


@dataclass(frozen=True)
class Case:
    """What is odd, and what is said.

    Args:
        why: it is a case.
        draws, truth: kept draws; None for none.
        harm: done to the file of the method's draws; harm_truth: to the truth's.
        said: what the page must hold; pictures: how many are drawn, of three.
    """

    why: str
    draws: Array | None = field(default_factory=lambda: DRAWS)
    truth: Array | None = field(default_factory=lambda: TRUTH)
    harm: Callable[[Path], None] | None = None
    harm_truth: Callable[[Path], None] | None = None
    said: str = ""
    pictures: int = 3


NEAR = 1e8 + 1e-9 * RNG.normal(size=400)
CASES = {
    "draws at 1e39": Case("beyond single precision", 1e39 * DRAWS, said="100% outside"),
    "draws at 1e300": Case("a difference may overflow", 1e300 * DRAWS, said="100% outside"),
    "one draw at 1.7e308": Case("its square is infinite", np.vstack([DRAWS, [1.7e308, 0]])),
    "truth at 1e300": Case("a runaway truth", DRAWS, 1e300 * TRUTH),
    "truth at 1.7e308 both ways": Case(
        "its width is infinite", DRAWS, np.sign(TRUTH) * 1.7e308, said=NOT_DRAWN, pictures=1
    ),
    "constant draws": Case("no spread", with_column(1.0)),
    "a coordinate constant to rounding": Case(
        "N(1e8, 1e-9) beside N(0, 1): too many bins",
        with_column(1e8),
        np.column_stack([TRUTH[:, 0], NEAR]),
        said="Constant to rounding, and so without a density: y",
        pictures=2,
    ),
    "draws that differ in the last digits only": Case(
        "a histogram has no room for bins", with_column(NEAR[:300]), TRUTH
    ),
    "every coordinate constant": Case(
        "nothing to draw", DRAWS, np.ones((400, 2)), said="constant to rounding", pictures=1
    ),
    "some draws infinite": Case(
        "an old run kept them in single precision",
        with_column(np.where(np.arange(300) < 3, np.inf, 0.5)),
        said="1% of its draws are not finite",
    ),
    "all draws NaN": Case(
        "nothing to show",
        np.full((300, 2), np.nan),
        said="m: none of its draws is finite",
        pictures=1,
    ),
    "truth partly infinite": Case(
        "drawn without", DRAWS, np.vstack([TRUTH, [[np.inf, 0]] * 4]), said="the truth: 1%"
    ),
    "truth all NaN": Case(
        "no truth to draw over",
        DRAWS,
        np.full((9, 2), np.nan),
        said="of the truth, none of its draws is finite",
        pictures=1,
    ),
    "truth of another width": Case(
        "a problem whose dimension changed",
        DRAWS,
        np.ones((9, 3)) * np.arange(9)[:, None],
        said="its draws have 2 coordinates, not 3",
        pictures=1,
    ),
    "one dimension": Case("no pairs", DRAWS[:, :1], TRUTH[:, :1], pictures=2),
    "one draw": Case("no spread at all", DRAWS[:1]),
    "two draws": Case("hardly any", DRAWS[:2]),
    "no draws kept": Case("deleted to save room", None, pictures=1),
    "no truth kept": Case("deleted to save room", DRAWS, None, pictures=1),
    "draws torn": Case("a full disk", harm=torn, said="m: its draws cannot be read", pictures=1),
    "draws garbage": Case(
        "overwritten",
        harm=lambda path: path.write_text("garbage") and None,
        said="m: its draws cannot be read",
        pictures=1,
    ),
    "draws empty": Case(
        "a full disk",
        harm=lambda path: path.write_bytes(b"") and None,
        said="m: its draws",
        pictures=1,
    ),
    "draws without their key": Case("foreign", harm=other_key, said="m: its draws", pictures=1),
    "truth torn": Case("a full disk", harm_truth=torn, said="of the truth, its draws", pictures=1),
}


def kept(store: Store, name: str, draws: Array | None) -> Path:
    """Draws on disk as an older or a foreign run may have left them, whatever the store thinks."""
    if draws is None:
        return store.draws_folder / "none"
    store.save_draws(name, DRAWS, LABELS[:2])
    (path,) = (p for p in store.draws_folder.glob("*.npz") if p.stem == name)
    np.savez(path, draws=draws, coordinates=np.array(LABELS[: draws.shape[1]]))
    return path


def run(folder: Path, figures: Mapping[str, tuple[float, float]], **cell: Any) -> Store:
    store = Store(folder)
    store.note({"metrics": WORDS})
    for method, (value, stderr) in {"m": (0.1, 0.01), "n": (0.3, 0.01), FLOOR: (0, 0.01)}.items():
        found = {"kl_qp": (value, stderr), **(figures if method == "m" else {})}
        rows = [
            Row(0, True, 1.0, 10, 10, 300, metric, *figure, "exact")
            for metric, figure in found.items()
        ]
        own = cell if method == "m" else {}
        store.append(CellRecord(method, "p", {}, method, {}, 0, {}, "ok", **own), rows)
    return store


def whole(store: Store, folder: Path) -> str:
    """The page and all else that is made of a run."""
    results = summarise(store)
    Console(width=100, file=io.StringIO()).print(tables.terminal(store, results))
    page.write(store, folder / "report.html", folder / "report.md", results=results)
    assert (folder / "report.md").stat().st_size > 1000
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_whatever_the_draws_are_the_page_is_whole(tmp_path: Path, case: Case) -> None:
    store = run(tmp_path, {})
    for name, draws, harm in (
        ("m", case.draws, case.harm),
        ("truth-p", case.truth, case.harm_truth),
    ):
        path = kept(store, name, draws)
        if harm is not None:
            harm(path)
    text = whole(store, tmp_path)
    assert case.said.replace("'", "&#39;") in text or case.said in _drawn(store), case.why
    assert text.count("<img ") == case.pictures, case.why


def _drawn(store: Store) -> str:
    """All that is written in the pictures."""
    found = [found.figure for found in pictures(store, summarise(store), "p")]
    return " ".join(
        text.get_text()
        for figure in found
        if not isinstance(figure, str)
        for axes in figure.axes
        for text in axes.texts
    )


FIGURES = {
    "infinite": (math.inf, 0.1),
    "minus infinite": (-math.inf, 0.1),
    "huge": (1e300, 1e299),
    "as large as can be": (1.7e308, 1.7e308),
    "as small as can be": (5e-324, 5e-324),
    "an error as large as can be": (0.1, 1.7e308),
    "an infinite error": (0.1, math.inf),
    "below zero": (-3.0, 0.1),
    "nothing at all": (0.0, 0.0),
    "an error of rounding": (-1.193e-15, 1.5e-17),
}


@pytest.mark.parametrize("metric", ["kl_qp", "kl_knn", "mmd", "log_z_error", "c2st", "own"])
@pytest.mark.parametrize("kind", ["exact", "estimate", "upper bound"])
def test_whatever_figures_are_the_page_is_whole(tmp_path: Path, metric: str, kind: str) -> None:
    """Every odd figure beside every other and beside a sound one, on two seeds."""
    store = Store(tmp_path)
    store.note({"metrics": WORDS | {"own": {"unit": "", "ideal": 0.5}}})
    for method, figure in {**FIGURES, "sound": (0.1, 0.01), FLOOR: (0.0, 0.01)}.items():
        for seed in range(2):
            row = Row(0, True, 1.0, 10, 10, 300, metric, *figure, kind)
            record = CellRecord(f"{method}{seed}", "p", {}, method, {}, seed, {}, "ok")
            store.append(record, [row])
    text = whole(store, tmp_path)
    assert "could not be made" not in text
    assert "No verdict could" not in text
    assert NOT_DRAWN not in text
    assert all(f"</span>{method}" in text for method in FIGURES)


@pytest.mark.parametrize("value", [math.inf, math.nan, 5e-324])
def test_whatever_a_method_says_of_itself_the_page_is_whole(tmp_path: Path, value: float) -> None:
    store = run(tmp_path, {}, diagnostics={"r_hat": value, "own": value, "ess_bulk": value})
    text = whole(store, tmp_path)
    assert "What methods say of themselves" in text


def test_rounding_is_not_shown_as_measurement(tmp_path: Path) -> None:
    store = run(tmp_path, {"kl_qp": (-1.193e-15, 1.5e-17), "log_z_error": (1.2e-15, 1e-17)})
    results = summarise(store)
    text = whole(store, tmp_path)
    assert "10⁻¹⁵" not in text
    assert text.count("0 to rounding") >= 2
    assert results.verdict(("p", "log_z_error", "m")).rank == ""


@pytest.mark.parametrize(
    ("value", "stderr", "kind", "fault"),
    [
        (-0.05, 1e-5, "exact", "impossible"),
        (-2.0, 0.0, "exact", "impossible"),
        (-0.05, 1e-3, "upper bound", "impossible"),
        (-0.03, 0.01, "exact", ""),
        (-0.05, 1e-5, "lower bound", ""),
        (-1e-14, 1e-17, "exact", ""),
    ],
)
def test_a_divergence_surely_below_zero_is_a_fault_and_earns_no_mark(
    tmp_path: Path, value: float, stderr: float, kind: str, fault: str
) -> None:
    """log_prob off by -0.05 on the truth itself read -0.05000 +- 0.00001, "cannot be told from the
    truth".
    """
    store = Store(tmp_path)
    store.note({"metrics": WORDS})
    for method, of in (("off", (value, stderr, kind)), ("sound", (0.2, 0.01, "exact"))):
        for seed in range(3):
            rows = [Row(0, True, 1.0, 10, 10, 300, "kl_qp", *of)]
            record = CellRecord(f"{method}{seed}", "p", {}, method, {}, seed, {}, "ok")
            store.append(record, rows)
    results = summarise(store)
    found = results.verdict(("p", "kl_qp", "off"))
    assert found.fault == fault
    if fault:
        assert (found.rank, found.at_floor) == ("", False)
        assert results.verdict(("p", "kl_qp", "sound")).rank != "best"
        text = whole(store, tmp_path)
        assert "off has a divergence below zero, which cannot be" in text
        assert "cannot be: never below 0" in text
        assert "the figure of off is not to be believed" in text


def test_the_guard_says_what_failed_and_keeps_it_short() -> None:
    def broken() -> str:
        raise ValueError("x\ny" + "z" * 1000)

    found = guarded(broken, lambda why: why)
    assert found.startswith("ValueError: x yzz")
    assert len(found) < 250
    assert guarded(lambda: "whole", lambda why: why) == "whole"
