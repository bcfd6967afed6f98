from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from bench.store import CellRecord, Row, Store
from reports import frame, tables
from reports.ranking import Verdict
from reports.results import Results, summarise
from reports.sheet import Entry, Line, Table, as_markdown
from reports.verdict import verdict
from tests.helpers.synthetic_store import NASTY, build

EXPORTED = ["problem", "method", "settings", "seed", "status", "reason", "checkpoint"]
EXPORTED += ["seconds", "gradients", "metric", "value", "stderr", "kind"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def results(store: Store) -> Results:
    return summarise(store)


def test_every_cell_checkpoint_and_metric_is_one_row(store: Store) -> None:
    loaded = frame.load(store)
    measured = loaded[loaded["metric"].notna()]
    assert len(measured) == len(store.rows())
    assert set(loaded["key"]) == {cell["key"] for cell in store.cells()}
    assert not measured.duplicated(["key", "checkpoint", "metric"]).any()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_export_round_trip(store: Store, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"rows{suffix}"
    frame.export(store, path)
    read = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert list(read.columns) == EXPORTED
    loaded = frame.load(store)
    np.testing.assert_array_equal(read["value"].astype(float), loaded["value"])
    np.testing.assert_array_equal(read["seed"], loaded["seed"])
    full = read[(read["method"] == "gaussian-vb") & (read["settings"] == "covariance=full")]
    assert len(full) == (loaded["method"] == "gaussian-vb covariance=full").sum()


def test_export_keeps_failures_and_their_reasons(store: Store, tmp_path: Path) -> None:
    frame.export(store, tmp_path / "rows.csv")
    read = pd.read_csv(tmp_path / "rows.csv")
    crashed = read[read["status"] == "crashed"]
    assert len(crashed) == 1
    assert crashed["metric"].isna().all()
    assert "SIGSEGV" in crashed["reason"].item()
    late = read[(read["status"] == "timed-out") & (read["metric"] == "mmd")]
    assert late["reason"].str.contains("wall limit.*; mmd: The kernel", regex=True).all()
    skipped = read[(read["status"] == "skipped")]
    assert set(skipped["metric"]) == {"mmd"}
    assert set(skipped["reason"]) == {"The kernel's bandwidth needs more than 5,000 draws."}


def test_export_refuses_what_it_cannot_write(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.csv, \.parquet for rows .* got .*rows\.xlsx"):
        frame.export(store, tmp_path / "rows.xlsx")


def test_a_cell_run_again_replaces_the_older_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key, value in (("old", 1.0), ("new", 2.0)):
        row = Row(0, True, 1.0, 10, 10, 100, "kl_qp", value, 0.1, "exact")
        store.append(CellRecord(key, "p", {}, "m", {}, 0, {"seconds": value}, "ok"), [row])
    assert summarise(store).figures["p", "kl_qp", "m"].value == 2.0


def test_the_floor_stands_apart_at_the_bottom(results: Results) -> None:
    for problem in results.problems:
        lines = tables.problem_table(results, problem).lines
        assert [line.floor for line in lines] == [False] * (len(lines) - 1) + [True]
        values = [
            results.figures[problem, "kl_qp", line.label].value
            for line in lines[:-1]
            if line.entries[0].text != "—"
        ]
        assert values == sorted(values)


def test_figures_come_from_whole_cells_only(results: Results) -> None:
    line = next(
        x for x in tables.problem_table(results, "eight-schools-signed").lines if x.label == "avb"
    )
    assert line.detail == "2 of 3 seeds; timed-out"
    assert line.entries[0].text.startswith("≥ ")
    assert line.entries[0].detail == "lower bound"
    assert results.figures["eight-schools-signed", "kl_qp", "avb"].seeds == 2


def test_a_method_without_figures_keeps_its_row(results: Results) -> None:
    line = next(x for x in tables.problem_table(results, "mixture-2d").lines if NASTY in x.label)
    assert line.detail == "0 of 1 seed; failed"
    assert {entry.text for entry in line.entries} == {"—"}


def test_every_failure_is_listed(store: Store, results: Results) -> None:
    failed = [cell for cell in store.cells() if cell["status"] != "ok"]
    table = tables.failures(results)
    assert table is not None
    assert len(table.lines) == len(failed) == 4
    assert {line.entries[-1].text for line in table.lines} == {cell["reason"] for cell in failed}


def test_a_skipped_metric_says_why(results: Results) -> None:
    assert any(
        "MMD²" in note and "avb" in note and "5,000 draws" in note
        for note in tables.problem_table(results, "mixture-2d").notes
    )


def test_summary_names_the_bound_and_does_not_praise_it(results: Results) -> None:
    said = verdict(results, "eight-schools-signed")
    assert any(claim.text.startswith("avb is known from below only") for claim in said.claims)
    assert "avb is closer" not in said.sentence


def test_diagnostics_are_shown(results: Results) -> None:
    table = tables.diagnostics_table(results, "mixture-2d")
    assert table is not None
    assert "Split R-hat" in table.columns
    assert [line.label for line in table.lines] == ["pyro-nuts"]


def test_markdown_tables_keep_their_shape() -> None:
    entry = Entry("a|b `c` <i>", "x\ny", Verdict("best"))
    text = as_markdown(
        Table("t", ("Method", "A|B"), ("", ""), (Line("*m* [x](http://y)", "", (entry,)),))
    )
    rows = [row for row in text.splitlines() if row]
    assert [row.count("|") for row in rows] == [3, 3, 3]
    assert not re.search(r"[<`\[]", text)


def test_terminal_shows_names_and_obeys_none(store: Store, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(
        CellRecord("k", "p", {}, "[bold]m[/nonsense]", {}, 0, {}, "failed", "[red]why"), []
    )
    console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
    console.print(tables.terminal(store))
    console.file.close()
    text = console.export_text()
    assert "[bold]m[/nonsense]" in text
    assert "[red]why" in text


def test_a_figure_without_a_standard_error_has_no_interval(tmp_path: Path) -> None:
    store = Store(tmp_path)
    row = Row(0, True, 1.0, 10, 10, 100, "plugin", 2.0, None, None)
    store.append(
        CellRecord("k", "p", {}, "m", {}, 0, {}, "ok"),
        [row, replace(row, metric="kl_qp", kind="exact", stderr=0.1)],
    )
    results = summarise(store)
    assert math.isnan(results.figures["p", "plugin", "m"].half_width)
    text = [
        entry.text for line in tables.more_tables(results, "p")[0].lines for entry in line.entries
    ]
    assert "2.00, no interval" in text
    assert [table.columns for table in tables.more_tables(results, "p")] == [("Method", "plugin")]
