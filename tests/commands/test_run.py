"""What a run does beside its cells: nothing where there is nothing to do, and one sentence where
something is wrong with its folder.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.commands import pages, report
from bench.store import Lock, Store
from tests.commands.test_output import said
from tests.helpers.cells import NORMAL, OFFSET, own
from tests.test_store import without_rights

RUN = ["run", "-p", NORMAL, "-m", "exact", "--metric", OFFSET, "--draws", "50", "--jobs", "0"]
ONE = [*RUN, "--seeds", "1", "--out", "here"]
Said = Callable[..., tuple[int, str]]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Said:
    return lambda *words: said(list(words), tmp_path, monkeypatch, capsys)


def traces(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_second_run_writes_nothing_and_says_the_same_table(say: Said, tmp_path: Path) -> None:
    status, first = say(*ONE)
    before = traces(tmp_path)
    again, second = say(*ONE)
    assert (status, again) == (0, 0)
    assert traces(tmp_path) == before
    assert "All 1 cells are done already" in second
    assert first.partition("trouble.py:Normal")[2].splitlines()[2:] != []
    table = [line for line in first.splitlines() if "noise floor" in line]
    assert table
    assert set(table) <= set(second.splitlines())


WITHOUT_TORCH = {
    "a run with nothing to do": ONE,
    "the list": ["list"],
    "a problem": ["show", "eight-schools"],
    "a problem with a reference": ["show", "horseshoe"],
    "a method": ["show", "avb"],
    "a metric": ["show", "kl_qp"],
    "a preset": ["show", "quick"],
}


@pytest.mark.parametrize("case", WITHOUT_TORCH)
def test_what_needs_no_torch_does_not_wait_for_it(case: str, say: Said, tmp_path: Path) -> None:
    if case.startswith("a run"):
        say(*ONE)
    code = (
        "import sys, bench.cli\n"
        f"sys.argv = ['postbench', *{WITHOUT_TORCH[case]!r}]\n"
        "try: bench.cli.main()\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "found = {'torch', 'pandas', 'scipy', 'matplotlib', 'pyro'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def change_matrix(folder: Path) -> list[str]:
    return [*ONE, "--seeds", "2"]


def change_draws(folder: Path) -> list[str]:
    return [*ONE, "--draws", "60"]


def remove_page(folder: Path) -> list[str]:
    (folder / "here" / "report.html").unlink()
    return ONE


def remove_memory(folder: Path) -> list[str]:
    (folder / "here" / ".matrix.json").write_text("{")
    return ONE


def remove_cell(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "here" / "results.sqlite") as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("DELETE FROM cells")
    return ONE


def odd_memory(folder: Path) -> list[str]:
    (folder / "here" / ".matrix.json").write_text('{"request": 3, "keys": {}, "table": [1]}')
    return ONE


# What may change between two runs, and whether cells run again for it.
CHANGES = {
    "another number of seeds": (change_matrix, True),
    "other draws": (change_draws, True),
    "the page is gone": (remove_page, False),
    "what was remembered is gone": (remove_memory, False),
    "what was remembered is another thing": (odd_memory, False),
    "a cell is gone": (remove_cell, True),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_has_changed_is_done_again(case: str, say: Said, tmp_path: Path) -> None:
    change, runs = CHANGES[case]
    say(*ONE)
    status, text = say(*change(tmp_path))
    assert status == 0, text
    assert ("[1/1]" in text) == runs
    assert (tmp_path / "here" / "report.html").is_file()


def test_a_plugin_that_was_changed_back_shows_its_own_cell(say: Said, tmp_path: Path) -> None:
    plugin, source = tmp_path / "mine.py", Path(own("Walk").rpartition(":")[0]).read_text()
    words = ["run", "-p", NORMAL, "-m", "mine.py:Walk:steps=1", "--metric", OFFSET]
    words += ["--draws", "50", "--seeds", "1", "--out", "here", "--jobs", "1"]
    found = []
    for text in (source, source.replace("2.0 ** (-step)", "7.0"), source):
        plugin.write_text(text)
        subprocess.run(
            [sys.executable, "-m", "bench", *words], cwd=tmp_path, check=True, capture_output=True
        )
        current = Store(tmp_path / "here", create=False).current()
        assert current is not None
        found.append(current)
    assert len(found[0]) == 1
    assert found[0] == found[2] != found[1]


def test_a_second_run_on_a_folder_is_told_of_the_first(say: Said, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with Lock(tmp_path / "here"):
        status, text = say(*ONE)
    assert status == 2
    assert "Another run is at work in" in text


def folder_in_place(folder: Path) -> None:
    (folder / "here").write_text("a file")


def garbage(folder: Path) -> None:
    (folder / "here").mkdir()
    (folder / "here" / "results.sqlite").write_bytes(b"garbage" * 999)


FOLDERS: dict[str, tuple[Callable[[Path], None] | None, list[str], str]] = {
    "a file in its place": (folder_in_place, ONE, "cannot be written"),
    "a file of another kind": (garbage, ONE, "no file of results"),
    "report of a file of another kind": (garbage, ["report", "here"], "no file of results"),
    "a name too long": (None, [*RUN, "--out", "a" * 5000], "cannot be written"),
    "duplicate metrics": (None, [*ONE, "--metric", OFFSET], "Two metrics are named"),
    "endless seconds": (None, [*ONE, "--seconds", "inf"], "budget.seconds"),
    "seconds beyond timers": (None, [*ONE, "--seconds", "2000000"], "budget.seconds"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_what_cannot_be_run_is_one_sentence(case: str, say: Said, tmp_path: Path) -> None:
    harm, words, message = FOLDERS[case]
    if harm is not None:
        harm(tmp_path)
    status, text = say(*words)
    assert (status, message in text) == (2, True), text
    assert len(text.strip().splitlines()) == 1


def test_a_run_of_failures_alone_fails(say: Said) -> None:
    words = ["run", "-p", NORMAL, "--metric", OFFSET, "--draws", "50", "--seeds", "1"]
    words += ["--jobs", "0", "--out", "here", "-m", own("Trouble:how=nan")]
    status, text = say(*words)
    assert status == 1, text
    status, text = say(*words)  # nothing to do, and still nothing to show
    assert status == 1, text
    status, _ = say(*words, "-m", "exact")
    assert status == 0


def test_a_page_that_fails_costs_no_cell(
    say: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("Too many [/b] bins for data range")

    monkeypatch.setattr(pages, "write_pages", fails)
    status, text = say(*ONE)
    assert status == 1
    assert "No report: ValueError: Too many [/b] bins" in text
    assert len(Store(tmp_path / "here", create=False).done()) == 1
    assert "Traceback" in (tmp_path / "here" / "logs" / "report.txt").read_text()
    monkeypatch.undo()


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_page_for_which_there_is_no_room_is_one_sentence(
    say: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.page.write", full)
    status, text = say(*ONE)
    assert status == 1
    assert "No space left on device" in text
    assert "Traceback" not in text
    assert not list((tmp_path / "here").glob(".report-*"))
    status, text = say("report", "here")
    assert (status, len(text.strip().splitlines())) == (2, 1)


def test_a_full_disk_in_mid_run_is_one_sentence_and_the_same_command_continues(
    say: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, calls = sys.modules["bench.store.store"]._insert, []  # type: ignore[attr-defined]

    def fills(*args: Any) -> None:
        calls.append(args)
        if len(calls) > 2:
            raise sqlite3.OperationalError("database or disk is full")
        insert(*args)

    monkeypatch.setattr("bench.store.store._insert", fills)
    words = [*RUN, "--seeds", "3", "--out", "here"]
    status, text = say(*words)
    assert status == 2
    assert "no room left" in text
    assert "Traceback" not in text
    monkeypatch.setattr("bench.store.store._insert", insert)
    status, text = say(*words)
    assert status == 0, text
    assert "1 of 3 cells are done already" in text


def test_a_link_in_place_of_a_page_is_replaced_and_not_followed(say: Said, tmp_path: Path) -> None:
    say(*ONE)
    here, outside = tmp_path / "here", tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("mine")
    for name in ("report.html", "report.md"):
        (here / name).unlink()
        (here / name).symlink_to(outside / "victim")
    shutil.rmtree(here / "report_figures", ignore_errors=True)
    (here / "report_figures").symlink_to(outside)
    assert say("report", "here")[0] == 0
    assert (outside / "victim").read_text() == "mine"
    assert [path.name for path in outside.iterdir()] == ["victim"]
    for name in ("report.html", "report.md", "report_figures"):
        assert not (here / name).is_symlink()
    target = tmp_path / "rows.csv"
    target.symlink_to(outside / "victim")
    assert say("export", "here", "--to", "rows.csv")[0] == 0
    assert (outside / "victim").read_text() == "mine"


PLACES = {
    "html to a folder": (["report", "here", "--html", "."], "name a file"),
    "markdown to a folder": (["report", "here", "--markdown", "."], "name a file"),
    "export to a folder": (["export", "here", "--to", "."], "name a file"),
    "export to another format": (["export", "here", "--to", "x.xls"], "'x.xls'"),
    "html below a file": (["report", "here", "--html", "file/x.html"], "cannot be written"),
    "export below a file": (["export", "here", "--to", "file/x.csv"], "cannot be written"),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_place_that_cannot_be_written_is_one_sentence(
    case: str, say: Said, tmp_path: Path
) -> None:
    Store(tmp_path / "here")
    (tmp_path / "file").write_text("")
    words, message = PLACES[case]
    status, text = say(*words)
    assert (status, message in text) == (2, True), text
    assert len(text.strip().splitlines()) == 1


def test_an_archive_can_be_reported_exported_and_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def say(*words: str) -> tuple[int, str]:
        return said(list(words), Path("/"), monkeypatch, capsys)

    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as other:
        Path(name).chmod(0o755)
        Path(other).chmod(0o777)
        again = [*RUN, "--seeds", "1", "--out", name]
        status, text = say(*again)
        assert status == 0, text
        with without_rights(Path(name)):
            assert say("export", name, "--to", f"{other}/rows.csv")[0] == 0
            status, text = say("report", name, "--html", f"{other}/report.html")
            assert status == 0, text
            status, text = say("report", name)
            assert (status, "cannot be written" in text) == (2, True), text
            status, text = say(*again)
            assert (status, "All 1 cells are done" in text) == (0, True), text


def test_pages_are_as_readable_as_any_file(say: Said, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        say(*ONE)
    finally:
        os.umask(before)
    for name in ("report.html", "report.md", "report_figures"):
        assert (tmp_path / "here" / name).stat().st_mode & 0o044 == 0o044


def test_ctrl_c_before_anything_runs_is_one_sentence(
    say: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("bench.running.matrix.expand", stopped)
    status, text = say(*ONE)
    assert status == 130
    assert text.strip().splitlines() == [
        "Stopped. What had finished is kept; the same command again continues."
    ]


def test_the_report_module_leaves_the_mask_alone() -> None:
    before = os.umask(0o027)
    try:
        assert report._mask() == 0o027
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
