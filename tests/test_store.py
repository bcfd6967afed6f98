"""A cell is written whole or not at all, and read back as it was."""

import contextlib
import dataclasses
import errno
import io
import json
import os
import re
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import bench
from bench.running.collect import missing
from bench.store import FILE, CellRecord, Lock, Row, Store, StoreError, label
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


# What metrics of plugins return in place of a Python float, and what is kept of it.
NUMBERS = {
    "numpy's single precision": (np.float32(1.5), 1.5),
    "numpy's half precision": (np.float16(1.5), 1.5),
    "numpy's integer": (np.int64(3), 3.0),
    "an array without axes": (np.array(1.5), 1.5),
    "a torch scalar": (torch.tensor(1.5), 1.5),
    "a large integer": (10**30, 1e30),
    "NaN, which is no figure": (float("nan"), None),
    "infinity": (float("inf"), float("inf")),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_a_figure_is_kept_as_a_float(case: str, tmp_path: Path) -> None:
    given, kept = NUMBERS[case]
    store = Store(tmp_path)
    store.append(CELL, [dataclasses.replace(ROW, value=given)])
    (row,) = store.rows()
    assert row["value"] == kept
    assert row["value"] is None or type(row["value"]) is float


NO_NUMBERS = {
    "a text": ("1.5", TypeError),
    "bytes": (b"\0\0\0\0", TypeError),
    "a list": ([1.5], TypeError),
    "an array with an axis": (np.ones(1), TypeError),
    "a complex number": (1j, TypeError),
    "an integer beyond all floats": (10**400, OverflowError),
}


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_what_is_no_number_is_refused_and_nothing_of_the_cell_is_kept(
    case: str, tmp_path: Path
) -> None:
    given, error = NO_NUMBERS[case]
    store = Store(tmp_path)
    with pytest.raises(error, match="value"):
        store.append(CELL, [ROW, dataclasses.replace(ROW, metric="other", value=given)])
    assert store.done() == {}


# Bytes that older versions kept in place of a figure, and how they read.
BYTES = {
    "single precision": (struct.pack("<f", 0.25), 0.25),
    "half precision": (struct.pack("<e", 0.25), 0.25),
    "an integer of 64 bits": (struct.pack("<q", 7), 7.0),
    "an integer of 32 bits": (struct.pack("<i", 7), 7.0),
    "double precision": (struct.pack("<d", -1e-3), -1e-3),
    "zero": (struct.pack("<f", 0.0), 0.0),
    "three bytes": (b"\0\0\1", None),
    "words": ("much", None),
}


@pytest.mark.parametrize("case", BYTES)
def test_a_run_that_holds_bytes_in_place_of_a_figure_is_read(case: str, tmp_path: Path) -> None:
    stored, value = BYTES[case]
    store = Store(tmp_path)
    store.append(CELL, [ROW, dataclasses.replace(ROW, metric="other")])
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE rows SET value = ? WHERE metric = 'kl_qp'", (stored,))
    harmed, sound = Store(tmp_path, create=False).rows()
    assert harmed["value"] == value
    assert (harmed["status"] == "ok") == (value is not None)
    assert value is not None or "no number" in harmed["reason"] or "number" in harmed["reason"]
    assert sound["value"] == 0.1


# Texts that no file in UTF-8 holds, each at a place that is filled by strangers.
SURROGATES = {
    "reason of a cell": ({"reason": "a\udc80b"}, {}),
    "name of a diagnostic": ({"diagnostics": {"a\udc80b": 1.0}}, {}),
    "setting": ({"settings": {"x": "a\udc80b"}}, {}),
    "note of a row": ({}, {"reason": "a\udc80b"}),
    "name of a metric": ({}, {"metric": "a\udc80b"}),
    "keys of mixed types": ({"diagnostics": {1: 1.0, ("a", 2): 2.0, "x": 3.0}}, {}),
    "a value that JSON does not know": ({"settings": {"x": Path("a")}}, {}),
}


@pytest.mark.parametrize("case", SURROGATES)
def test_odd_texts_are_kept_as_plain_ones(case: str, tmp_path: Path) -> None:
    cell, row = SURROGATES[case]
    store = Store(tmp_path)
    store.append(dataclasses.replace(CELL, **cell), [dataclasses.replace(ROW, **row)])
    json.dumps([store.cells(), store.rows()], ensure_ascii=False).encode("utf-8")


def test_surrogates_that_an_older_version_kept_are_read_as_plain_texts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(CELL, [ROW])
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE cells SET diagnostics = ?", (json.dumps({"a\udc80": 1.0}),))
    str(store.cells()).encode("utf-8")


def garbage(file: Path) -> None:
    file.write_bytes(b"\x93 no database at all " * 400)


def torn(file: Path) -> None:
    store = Store(file.parent)
    for i in range(40):
        store.append(dataclasses.replace(CELL, key=f"k{i}", reason="x" * 2000), [ROW])
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 3])


def foreign(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE cells (x REAL)")


def later(file: Path) -> None:
    Store(file.parent)
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")


def folder(file: Path) -> None:
    file.mkdir()


FILES = {
    "garbage": (garbage, "no file of results"),
    "cut off in the middle": (torn, "no file of results"),
    "of another program": (foreign, "no file of results"),
    "of a later version": (later, "later version of postbench"),
}


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(
    case: str, create: bool, tmp_path: Path
) -> None:
    harm, message = FILES[case]
    harm(tmp_path / FILE)
    with pytest.raises(StoreError, match=message) as caught:
        read_all(tmp_path, create)
    assert str(tmp_path / FILE) in str(caught.value)
    assert "\n" not in str(caught.value)


def read_all(place: Path, create: bool) -> None:
    store = Store(place, create=create)
    store.cells()
    store.rows()


def test_a_store_of_an_older_version_is_read_and_gets_todays_number(tmp_path: Path) -> None:
    Store(tmp_path).append(CELL, [ROW])
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 0")
    assert Store(tmp_path, create=False).done() == {"k1": "ok"}
    assert version(tmp_path) == 0
    assert Store(tmp_path).done() == {"k1": "ok"}
    assert version(tmp_path) > 0


def version(place: Path) -> int:
    with sqlite3.connect(place / FILE) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_opening_to_read_writes_nothing(tmp_path: Path) -> None:
    Store(tmp_path).append(CELL, [ROW])
    for left in ("draws", "logs"):
        (tmp_path / left).rmdir()
    before = snapshot(tmp_path)
    store = Store(tmp_path, create=False)
    assert (len(store.cells()), len(store.rows()), store.info(), store.current()) == (
        1,
        1,
        {},
        None,
    )
    assert store.draws("k1") is None
    with pytest.raises(StoreError, match="opened to be read"):
        store.append(CELL, [])
    assert snapshot(tmp_path) == before


def snapshot(place: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in place.rglob("*")
    } | {"": (place.stat().st_mtime_ns, 0)}


def test_a_folder_of_another_owner_can_be_read(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        Store(place).append(CELL, [ROW])
        with without_rights(place):
            assert Store(place, create=False).done() == {"k1": "ok"}
            with pytest.raises(StoreError, match=r"cannot be (opened or )?written"):
                Store(place).append(CELL, [])


@contextlib.contextmanager
def without_rights(place: Path) -> Iterator[None]:
    """The folder and all in it may be read and not written; root becomes someone else for it."""
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    someone = os.geteuid()
    if someone == 0:
        os.seteuid(65534)
    try:
        if not readable(Path(bench.__file__).parent):
            pytest.skip("the suite's own files can be read by root alone here")
        yield
    finally:
        if someone == 0:
            os.seteuid(0)
        for path in (place, *place.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def readable(folder: Path) -> bool:
    """Whether this user may look into a folder; ``os.access`` asks for the real one."""
    try:
        return any(folder.iterdir())
    except PermissionError:
        return False


def test_a_file_removed_while_it_is_written_to_is_said(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(CELL, [ROW])
    (tmp_path / FILE).unlink()
    with pytest.raises(StoreError, match="removed or replaced"):
        store.append(CELL, [ROW])
    Store(tmp_path)  # a cell's process makes a file anew: still not the one that was opened
    with pytest.raises(StoreError, match="removed or replaced"):
        store.append(CELL, [ROW])


def test_a_folder_removed_while_it_is_written_to_is_said(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(StoreError, match="removed or replaced"):
        store.append(CELL, [ROW])


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.OperationalError("disk I/O error"),
    ],
)
def test_a_full_disk_is_one_sentence(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("bench.store.store._insert", fails)
    with pytest.raises(StoreError, match=r"kept"):
        store.append(CELL, [ROW])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_folder_on_a_full_disk_is_one_sentence(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fails)
    with pytest.raises(StoreError, match=r"no room left.*make room"):
        Store(tmp_path / "run")
    monkeypatch.setattr(Path, "open", fails)
    with pytest.raises(StoreError, match=r"no room left.*make room"), Lock(tmp_path):
        pass


def test_a_database_at_its_limit_keeps_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.append(CELL, [ROW])
    connect = sqlite3.connect

    def small(*args: Any, **more: Any) -> sqlite3.Connection:
        db = connect(*args, **more)
        db.execute("PRAGMA max_page_count = 12")
        return db

    monkeypatch.setattr(sqlite3, "connect", small)
    large = dataclasses.replace(CELL, key="k2", reason="x" * 100_000)
    with pytest.raises(StoreError, match="no room left"):
        store.append(large, [ROW])
    monkeypatch.undo()
    assert store.done() == {"k1": "ok"}
    store.append(large, [ROW])
    assert set(store.done()) == {"k1", "k2"}


# Draws that must come back as they were, to the digits that their spread needs.
DRAWS = {
    "over the whole range of doubles": np.array([[-1.5e308, 0.0], [1.5e308, 1.0]] * 4),
    "beyond single precision": np.array([[1e39, 0.0], [-1e300, 1.0], [2e39, 3.0]]),
    "far from zero": 1e8 + 1e-3 * np.random.default_rng(1).normal(size=(50, 2)),
    "constant to rounding": np.column_stack([np.full(50, 1e8), np.arange(50.0)]),
    "ordinary": np.random.default_rng(1).normal(size=(50, 2)),
    "some not finite": np.array([[1.0, np.inf], [np.nan, 2.0], [3.0, 4.0]]),
}


@pytest.mark.parametrize("case", DRAWS)
def test_draws_come_back(case: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.save_draws("k1", DRAWS[case], ["a", "b"]) == ""
    found = store.draws("k1")
    assert found is not None
    spread = np.nanmax(np.where(np.isfinite(DRAWS[case]), np.abs(DRAWS[case]), 0.0), axis=0)
    if case in ("far from zero", "constant to rounding", "ordinary"):
        spread = DRAWS[case].std(axis=0)
    with np.errstate(invalid="ignore"):
        moved = np.where(found[0] == DRAWS[case], 0.0, np.abs(found[0] - DRAWS[case]))
    assert (np.isfinite(found[0]) == np.isfinite(DRAWS[case])).all()
    assert (np.nan_to_num(moved, nan=0.0) <= 1e-4 * spread).all()


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def alone(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


LABELS = np.array(["a", "b"])
# Files in place of draws, and what is said of them.
HARMED = {
    "empty": (b"", "cannot be read"),
    "garbage": (b"\x01\x02 no archive" * 99, "cannot be read"),
    "cut off": (archive(draws=np.ones((99, 2)), coordinates=LABELS)[:700], "cannot be read"),
    "without draws": (archive(coordinates=LABELS), "cannot be read"),
    "without labels": (archive(draws=np.ones((9, 2))), "cannot be read"),
    "one axis": (archive(draws=np.ones(9), coordinates=LABELS), r"shape \[9\]"),
    "texts": (archive(draws=np.array([["a", "b"]]), coordinates=LABELS), "numbers"),
    "no rows": (archive(draws=np.ones((0, 2)), coordinates=LABELS), r"shape \[0, 2\]"),
    "more labels than columns": (archive(draws=np.ones((9, 3)), coordinates=LABELS), "2 coord"),
    "objects, which may run code": (
        archive(draws=np.array([[{}, 1]], dtype=object), coordinates=LABELS),
        "cannot be read",
    ),
    "an array alone": (alone(np.ones((9, 2))), "cannot be read"),
}


@pytest.mark.parametrize("case", HARMED)
def test_draws_that_cannot_be_read_are_none_and_a_reason(case: str, tmp_path: Path) -> None:
    content, message = HARMED[case]
    store = Store(tmp_path)
    (store.draws_folder / "k1.npz").write_bytes(content)
    assert store.draws("k1") is None
    assert re.search(message, store.unreadable("k1"))
    assert store.unreadable("absent") == ""


NAMES = ["a" * 400, "x/../../etc", ".", "..", "ö" * 300, "a\udc80b", "-rf", "a\0b", "truth-" + "é"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_any_kind_is_a_file_in_the_folder(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.save_draws(name, np.ones((3, 1)), ["a\udc80"]) == ""
    (file,) = store.draws_folder.iterdir()
    assert len(file.name.encode()) <= 150
    assert store.draws(name) is not None


def test_labels_that_differ_have_files_that_differ(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = ["a b", "a-b", "a/b", "a" * 400, "a" * 401]
    for i, name in enumerate(names):
        store.save_draws(name, np.full((3, 1), float(i)), ["a"])
    for i, name in enumerate(names):
        found = store.draws(name)
        assert found is not None
        assert found[0][0, 0] == i


def test_draws_that_cannot_be_saved_are_a_reason_and_leave_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    def full(file: Any, **_: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    assert "No space left" in store.save_draws("k1", np.ones((3, 1)), ["a"])
    assert list(store.draws_folder.iterdir()) == []
    shutil.rmtree(store.draws_folder)
    store.draws_folder.write_text("a file in place of the folder")
    assert store.save_draws("k1", np.ones((3, 1)), ["a"]) != ""


def test_a_second_run_in_one_folder_is_told_of_the_first(tmp_path: Path) -> None:
    refused = pytest.raises(StoreError, match=rf"Another run .*process {os.getpid()} on")
    with Lock(tmp_path), refused:
        Lock(tmp_path).__enter__()
    with Lock(tmp_path):
        pass


def test_the_cells_of_the_last_matrix_are_known_and_called_as_it_calls_them(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    assert store.current() is None
    store.append(CELL, [ROW])
    store.keep_current({"k1": ("normal", "old/mine.py:Walk"), "k2": ("normal", "walk")})
    assert store.current() == {"k1", "k2"}
    assert [cell["method"] for cell in store.cells()] == ["old/mine.py:Walk"]
    assert len(store.rows()) == 1
