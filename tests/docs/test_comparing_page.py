"""The commands of the page on comparing, run as they stand there."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.commands import run as runs
from tests.helpers.pages import ROOT, blocks
from tests.helpers.two_runs import Law, on_disk

PAGE = ROOT / "docs" / "comparing.md"


def postbench(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """A line of the page, in this process: its exit status."""
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_the_example_runs_and_says_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "conclude", lambda *_: True)  # without pages
    first, second, comparison = blocks(PAGE, "sh")[0].splitlines()
    for line in (first, second):
        assert postbench(f"{line} --jobs 0 --draws 200", monkeypatch) == 0
    assert postbench(comparison, monkeypatch) == 0
    assert "none of 2 is worse by more than 5%" in capsys.readouterr().out
    assert Path("results/compared.md").read_text("utf-8").count("same to the last digit") >= 2


@pytest.mark.parametrize(
    ("law", "status"), [(Law(), 0), (Law({"avb": 2.0}), 1), (Law({"avb": 1.02}, seeds=2), 3)]
)
def test_the_gate_ends_as_its_table_says(
    law: Law, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    on_disk(Path("old"), Law(seeds=law.seeds), seed=1)
    on_disk(Path("new"), law, seed=1 if law == Law() else 2)
    line = "postbench compare old new --fail-if-worse 5% --html a/c.html --json c.json"
    assert postbench(line, monkeypatch) == status
    assert Path("a/c.html").is_file()
    assert postbench("postbench compare old new", monkeypatch) == 0


@pytest.mark.parametrize(
    "words",
    ["--fail-if-worse much", "--fail-if-worse -1%", "--map avb", "--map x=avb", "--metric nothing"],
)
def test_what_cannot_be_understood_ends_with_2(
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    on_disk(Path("old"), Law(seeds=1), seed=1)
    assert postbench(f"postbench compare old old {words}", monkeypatch) == 2
    assert words.split()[0] in capsys.readouterr().err
    assert postbench("postbench compare old nowhere", monkeypatch) == 2
