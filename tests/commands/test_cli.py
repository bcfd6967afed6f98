"""The command as a person types it: in a process of its own, for its output, exit status
and files.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from bench.cli import main
from tests.helpers.cells import NORMAL, OFFSET, own

WALK = (
    "run",
    "-p",
    NORMAL,
    "-m",
    own("Walk:steps=3"),
    "-m",
    "exact",
    "--metric",
    OFFSET,
    "--draws",
    "50",
)


def postbench(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder; fail with its output unless it succeeds."""
    command = [sys.executable, "-m", "bench", *map(str, words)]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_help_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, bench.cli; sys.argv = ['postbench', '--help']\ntry: bench.cli.main()\nexcept"
        " SystemExit: pass\n"
    )
    code += (
        "assert not {'torch', 'pandas', 'scipy', 'numpy', 'pydantic'} & set(sys.modules),"
        " sorted(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in (
        "run",
        "list",
        "calibrate",
        "reference",
        "show",
        "report",
        "export",
        "check",
        "new",
    ):
        assert command in done.stdout


def test_a_run_writes_its_table_its_report_and_a_third_time_does_nothing(tmp_path: Path) -> None:
    first = postbench(*WALK, "--seeds", "2", folder=tmp_path)
    assert "[4/4]" in first.stdout
    assert "trouble.py:Walk" in first.stdout
    for name in ("report.html", "report.md"):
        assert (tmp_path / "results" / "custom" / name).stat().st_size > 1000
    more = postbench(*WALK, "--seeds", "3", folder=tmp_path)
    assert "4 of 6 cells are done already" in more.stdout
    assert "[2/2]" in more.stdout
    third = postbench(*WALK, "--seeds", "3", folder=tmp_path)
    assert "All 6 cells are done already; nothing to run" in third.stdout


def test_export_has_the_promised_columns(tmp_path: Path) -> None:
    postbench(*WALK, "--seeds", "1", "--out", "here", folder=tmp_path)
    postbench("export", "here", "--to", "rows.csv", folder=tmp_path)
    postbench("export", "here", "--to", "rows.parquet", folder=tmp_path)
    promised = (
        "problem, method, settings, seed, status, reason, checkpoint, seconds, gradients, metric,"
        " value, stderr, kind"
    )
    frame = pd.read_csv(tmp_path / "rows.csv")
    assert list(frame.columns) == promised.split(", ")
    assert len(pd.read_parquet(tmp_path / "rows.parquet")) == len(frame)
    assert set(frame[frame.metric == "offset"].method) == {"trouble.py:Walk", "exact"}


MISTAKES = {
    "method": (["run", "-m", "gausian-vb"], "Did you mean 'gaussian-vb'"),
    "preset": (["run", "quik"], "Did you mean 'quick'"),
    "field": (["run", "-p", NORMAL, "-m", own("Walk:stps=2")], "'steps'"),
    "budget": (["run", "-p", NORMAL, "-m", own("Walk"), "--seconds", "-1"], "budget.seconds"),
    "draws": (
        ["run", "-p", NORMAL, "-m", own("Walk"), "--draws", "0"],
        "draws: input should be greater",
    ),
    "truth": (
        ["run", "-p", NORMAL, "-m", own("Walk"), "--truth", "reference"],
        "no certified reference",
    ),
    "folder": (["report", "absent"], "holds no results"),
    "export": (["export", "absent", "--to", "x.csv"], "holds no results"),
    "show": (["show", "eigth-schools"], "'eight-schools'"),
    "list": (["list", "method"], "'methods'"),
    "kind": (["new", "methd", "mine"], "expected one of method, problem, metric"),
    "check": (["check", "absent.py:Class"], "no file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_no_traceback(
    mistake: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, message = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["postbench", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_cut_short_continues_to_the_same_rows(tmp_path: Path, how: signal.Signals) -> None:
    words = [
        "run",
        "-p",
        NORMAL,
        "-m",
        own("Walk:steps=4,nap=0.1"),
        "-m",
        "exact",
        "--metric",
        OFFSET,
        "--draws",
        "50",
        "--seeds",
        "8",
    ]
    command = [sys.executable, "-m", "bench", *words, "--jobs", "2"]
    with subprocess.Popen(
        [*command, "--out", "cut"], cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while cells(tmp_path / "cut") < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(how)
        assert process.wait(timeout=30) == (-9 if how is signal.SIGKILL else 130)
    kept = cells(tmp_path / "cut")
    assert 3 <= kept < 16
    again = postbench(*words, "--out", "cut", folder=tmp_path)
    assert f"{kept} of 16 cells are done already" in again.stdout
    postbench(*words, "--out", "whole", folder=tmp_path)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def cells(folder: Path) -> int:
    """How many cells have ended."""
    try:
        with sqlite3.connect(f"file:{folder / 'results.sqlite'}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM cells").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def rows(folder: Path) -> list[tuple[object, ...]]:
    """What must not depend on how often a run was interrupted: every figure, costs in seconds left
    out.
    """
    query = (
        "SELECT key, checkpoint, metric, status, CASE WHEN metric = 'offset' THEN value END FROM"
        " rows ORDER BY 1, 2, 3"
    )
    with sqlite3.connect(folder / "results.sqlite") as db:
        return db.execute(query).fetchall()
