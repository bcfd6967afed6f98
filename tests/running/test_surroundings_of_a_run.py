"""Where a run is started, and how it is stopped, decides nothing but that it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.processes import pool
from tests.helpers.cells import OFFSET, cells, own, run

ROOT = Path(__file__).parents[2]
FAULTS = ROOT / "tests" / "helpers" / "plugins" / "faults.py"
# Names of a user's own files that must not stand in for ours, Python's or torch.
NAMES = ("bench", "methods", "problems", "reports", "torch", "random", "glob", "json", "socket")
RUNNER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.helpers.cells import cells, run
run(cells([{method!r}], budget={{"guard": 600, "wall": 600}}), Path({folder!r}), jobs=1)
"""


def test_a_users_own_modules_beside_the_run_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')", encoding="utf-8")
        (tmp_path / name).mkdir()
        text = "raise SystemExit('the wrong one')"
        (tmp_path / name / "__init__.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    # neither room on a disk nor a short path for sockets is needed
    monkeypatch.setenv("TMPDIR", f"/nowhere/{'x' * 92}")
    monkeypatch.setattr(tempfile, "tempdir", None)
    store = run(cells([own("Walk:steps=2")], metrics=[OFFSET]), tmp_path / "results", jobs=1)
    assert [(cell["status"], cell["reason"]) for cell in store.cells()] == [("ok", "")]


def test_a_suite_that_is_not_the_runners_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {name: f"/elsewhere/{name}/__init__.py" for name in pool.PACKAGES}
    monkeypatch.setattr(pool, "homes", lambda _: elsewhere)
    with pytest.raises(UserError, match=r"would import .bench. from .*elsewhere"):
        run(cells([own("Walk")]), tmp_path, jobs=1)


def test_a_server_that_cannot_start_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="cannot start: the fork server ended without a word"):
        run(cells([own("Walk")]), tmp_path, jobs=1)


def started(method: str, folder: Path) -> subprocess.Popen[str]:
    """A runner in a process group of its own, as a terminal starts it."""
    code = RUNNER.format(root=str(ROOT), method=method, folder=str(folder))
    return subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, process_group=0
    )


def descendants(process: int) -> set[int]:
    """Every process below one."""
    found: set[int] = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == process:
                found |= {int(folder.name)} | descendants(int(folder.name))
    return found


def awaited(condition: object, seconds: float = 60.0) -> bool:
    """Whether it comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def gone(processes: set[int]) -> bool:
    return not any(Path(f"/proc/{process}").exists() for process in processes)


def test_nothing_outlives_a_runner_that_is_killed_while_a_cell_holds_the_interpreter(
    tmp_path: Path,
) -> None:
    runner = started(f"{FAULTS}:Harm:how='hang in C'", tmp_path / "results")
    assert awaited(lambda: len(descendants(runner.pid)) == 2)  # the server and the cell
    time.sleep(1)
    below = descendants(runner.pid)
    runner.kill()
    runner.communicate()
    assert awaited(lambda: gone(below), 10)


@pytest.mark.parametrize("after", [0.0, 1.0], ids=["while the server starts", "a moment later"])
def test_ctrl_c_and_a_second_one_end_everything_without_a_word_of_the_servers(
    tmp_path: Path, after: float
) -> None:
    runner = started(f"{FAULTS}:Harm:how='hang in C'", tmp_path / "results")
    assert awaited(lambda: len(descendants(runner.pid)) >= 1)
    time.sleep(after)
    below = descendants(runner.pid)
    os.killpg(runner.pid, signal.SIGINT)
    os.killpg(runner.pid, signal.SIGINT)
    _, said = runner.communicate(timeout=60)
    assert awaited(lambda: gone(below), 10)
    assert runner.returncode in (-signal.SIGINT, 130, 1)
    assert said.count("Traceback") <= 2  # the script's own KeyboardInterrupt, which it lets pass
    assert "server.py" not in said
    assert "forkserver" not in said


def test_a_plugin_that_leaves_for_another_directory_when_imported_goes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(own("Walk").rpartition(":")[0]).read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(f"{text}\nos.chdir('/')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    chosen = cells([f"{tmp_path / 'mine.py'}:Walk:steps=2"], metrics=[OFFSET])
    assert Path.cwd() == tmp_path
    store = run(chosen, Path("results"))
    assert [cell["status"] for cell in store.cells()] == ["ok"]
    assert store.draws(chosen[0].key) is not None
    assert Path.cwd() == tmp_path
