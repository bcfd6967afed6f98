"""Runs merged: nothing is lost, nothing averaged, and a second time nothing changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bench.store import FILE, Store, StoreError
from bench.store.merging import merge
from tests.helpers.two_runs import Law, drawn, on_disk


def content(store: Store) -> tuple[list[str], list[str]]:
    """Cells and rows in an order of their own."""
    return sorted(map(repr, store.cells())), sorted(map(repr, store.rows()))


def test_runs_of_two_machines_are_one_with_their_draws_and_logs(tmp_path: Path) -> None:
    first = on_disk(tmp_path / "a", Law(problems=["hill"]), seed=1)
    second = on_disk(tmp_path / "b", Law(problems=["ridge"]), seed=2)
    key = second.cells()[0]["key"]
    draws = np.random.default_rng(3).standard_normal((50, 2))
    second.save_draws(key, draws, ["x", "y"])
    second.save_draws("truth-ridge", draws, ["x", "y"])
    (second.logs_folder / f"{key}.log").write_text("said")
    second.keep_current({key: ("ridge", "avb")})
    count = len(first.cells()) + len(second.cells())
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all") == (count, count)
    whole = Store(tmp_path / "all", create=False)
    together = tuple(sorted(a + b) for a, b in zip(content(first), content(second), strict=True))
    assert content(whole) == together
    assert whole.current() == {cell["key"] for cell in first.cells()} | {key}
    for name in (key, "truth-ridge"):
        kept = whole.draws(name)
        assert kept is not None
        np.testing.assert_allclose(kept[0], draws, rtol=1e-6, atol=1e-6)
    assert (whole.logs_folder / f"{key}.log").read_text() == "said"
    before = (tmp_path / "all" / FILE).read_bytes()
    assert merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all") == (0, count)
    assert (tmp_path / "all" / FILE).read_bytes() == before


def test_a_cell_with_two_figures_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    on_disk(tmp_path / "a", Law(seeds=1), seed=1)
    on_disk(tmp_path / "b", Law(seeds=1), seed=2)
    with pytest.raises(StoreError, match=r"avb on hill, seed 0 .*kl_qp.* and \d more"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_merge_refused_by_what_the_folder_holds_leaves_it_as_it_was(tmp_path: Path) -> None:
    held = on_disk(tmp_path / "all", Law(seeds=1), seed=1)
    on_disk(tmp_path / "b", Law(seeds=1), seed=2)
    before = content(held)
    with pytest.raises(StoreError, match="Nothing was merged"):
        merge([tmp_path / "b"], tmp_path / "all")
    assert content(held) == before


def test_a_cell_that_ended_well_takes_the_place_of_one_that_did_not(tmp_path: Path) -> None:
    well = on_disk(tmp_path / "a", Law(seeds=1, methods=["avb"]), seed=1)
    on_disk(tmp_path / "b", Law(seeds=1, methods=["avb"], failing=["avb"]), seed=1)
    for order in (["a", "b"], ["b", "a"]):
        into = tmp_path / "".join(order)
        merge([tmp_path / name for name in order], into)
        found = Store(into, create=False).cells()
        assert {cell["status"] for cell in found} == {"ok"}
        assert len(found) == len(well.cells())


def test_costs_may_differ_between_machines(tmp_path: Path) -> None:
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        store = Store(tmp_path / name)
        for cell, rows in drawn(Law(seeds=1), np.random.default_rng(1)):
            cost = dataclasses.replace(rows[0], metric="fit_seconds", value=seconds)
            store.append(cell, [*rows, cost])
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    costs = [r["value"] for r in Store(tmp_path / "all").rows() if r["metric"] == "fit_seconds"]
    assert set(costs) == {1.0}


def test_a_folder_without_results_is_named_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no results"):
        merge([tmp_path / "nowhere"], tmp_path / "all")
    assert not (tmp_path / "all").exists()
