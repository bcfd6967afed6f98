"""A cell is written whole or not at all, and read back as it was."""

from pathlib import Path

import numpy as np
import pytest

from bench.running.collect import missing
from bench.store import CellRecord, Row, Store, StoreError, label
from tests.helpers.cells import cells, own, run

CELL = CellRecord(
    "k1",
    "normal",
    {"dimension": 3},
    "walk",
    {},
    0,
    {"seconds": 1.0},
    "ok",
    diagnostics={"r_hat": 1.01},
)
ROW = Row(0, True, 0.5, 10, 12, 100, "kl_qp", 0.1, 0.01, "exact")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(CELL, [ROW])
    assert store.done() == {"k1": "ok"}
    assert store.cells()[0]["problem_settings"] == {"dimension": 3}
    assert store.cells()[0]["diagnostics"] == {"r_hat": 1.01}
    (row,) = store.rows()
    assert (row["key"], row["metric"], row["value"], row["final"]) == ("k1", "kl_qp", 0.1, True)


def test_a_cell_is_written_in_one_transaction(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(Exception, match="UNIQUE"):
        store.append(CELL, [ROW, ROW])
    assert store.done() == {}
    assert store.rows() == []


def test_a_cell_run_again_replaces_its_rows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(CELL, [ROW])
    store.append(CELL, [])
    assert store.rows() == []
    assert len(store.cells()) == 1


def test_draws_under_any_label(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = "truth-" + label("my/odd problem.py:Class", {"a": (1, 2)})
    draws = np.arange(6.0).reshape(3, 2)
    store.save_draws(name, draws, ["a", "b"])
    found = store.draws(name)
    assert found is not None
    assert (found[0] == draws).all()
    assert found[1] == ["a", "b"]
    assert store.draws("absent") is None


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no results"):
        Store(tmp_path / "absent", create=False)
    assert not (tmp_path / "absent").exists()


def test_what_is_done_is_not_missing_and_what_failed_can_be_retried(tmp_path: Path) -> None:
    chosen = cells([own("Walk"), own("Trouble")])
    store = run(chosen, tmp_path)
    assert missing(chosen, store) == []
    assert [cell.method.name for cell in missing(chosen, store, retry=True)] == [
        "trouble.py:Trouble"
    ]
