"""Whatever the terminal, the pipe and the words of others are like: what is printed is text, and no
output ends a run.
"""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.commands import plainly, terminal
from bench.commands.progress import Board
from bench.store import CellRecord, Row
from tests.helpers.cells import NORMAL, OFFSET, cells, own

COMMAND = [sys.executable, "-m", "bench"]
SMALL = ["run", "-p", NORMAL, "-m", "exact", "--metric", OFFSET, "--draws", "50", "--seeds", "1"]


def said(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> tuple[int, str]:
    """Exit status and all that a command prints, in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["postbench", *words])
    status = 0
    handler = signal.getsignal(signal.SIGINT)
    try:
        main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    finally:
        signal.signal(signal.SIGINT, handler)
    captured = capsys.readouterr()
    return status, captured.out + captured.err


ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "the C locale, as it is": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "Western European": {"PYTHONIOENCODING": "latin-1"},
}


@pytest.mark.parametrize("case", ENCODINGS)
def test_an_output_that_lacks_letters_gets_others(case: str, tmp_path: Path) -> None:
    words = ["show", "horseshoe"]  # its log Z has a plus-minus sign
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=tmp_path,
        env={**os.environ, **ENCODINGS[case]},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"log Z = " in done.stdout
    assert b"+-" in done.stdout or b"\xb1" in done.stdout


def test_every_sign_of_ours_has_a_form_in_ascii() -> None:
    plainly.take_any_text()
    for letter in plainly.ASCII:
        assert letter.encode("ascii", plainly.HANDLER).isascii()
    assert "\udc80☃".encode("ascii", plainly.HANDLER) == b"\\udc80\\u2603"
    assert "±".encode("utf-8", plainly.HANDLER) == "±".encode()


def test_a_pipe_that_is_closed_costs_no_cell(tmp_path: Path) -> None:
    line = " ".join([*COMMAND, *SMALL, "--out", "here", "--jobs", "0", "| head -c 1"])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "here" / "report.html").is_file()


@pytest.mark.parametrize("words", [["list"], ["show", "avb"], ["--version"], ["--help"]])
def test_a_full_output_is_no_traceback(words: list[str], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
    assert "Traceback" not in done.stderr


class Broken(io.StringIO):
    """An output that fails in one way."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error(text)

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError, OSError, ConnectionResetError])
def test_what_cannot_be_written_is_dropped(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(error))
    console = terminal.console()
    console.print("words")
    with Board(cells([own("Walk")]), console):
        pass


# Words of others that rich would read as styles, or a terminal as commands.
MARKUP = {
    "a closing tag": "[/b] x",
    "a style": "[bold red]x[/]",
    "an emoji": ":smile: x",
    "a link": "[link=x]x[/link]",
    "many brackets": "[" * 2_000,
}


@pytest.mark.parametrize("case", MARKUP)
@pytest.mark.parametrize("place", ["preset", "out", "plugin", "show", "check", "report", "export"])
def test_brackets_in_words_of_the_users_are_brackets(
    case: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    word = MARKUP[case].replace("/", "") if place == "out" else MARKUP[case]
    words = {
        "preset": ["run", word],
        "out": ["report", word],
        "plugin": ["run", "-m", f"{word}.py:Class"],
        "show": ["show", f"{word}.py:Class"],
        "check": ["check", word],
        "report": ["report", word],
        "export": ["export", word, "--to", "x.csv"],
    }
    status, text = said(words[place], tmp_path, monkeypatch, capsys)
    assert status == 2
    assert text.startswith("postbench: ")
    assert len(text) < 20_000


@pytest.mark.parametrize("case", MARKUP)
def test_brackets_in_the_name_of_a_folder_are_brackets(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out = MARKUP[case][:100]
    status, text = said([*SMALL, "--jobs", "0", "--out", out], tmp_path, monkeypatch, capsys)
    assert status == 0, text
    assert f"Report: {out}" in text


TEXTS = {
    "escape": ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    "NUL": ("a\0b", r"a\x00b"),
    "bell and backspace": ("a\x07\x08b", r"a\x07\x08b"),
    "a carriage return that hides": ("bad\rgood", "bad good"),
    "letters that turn the line around": ("a\u202eb", r"a\u202eb"),
    "a lone surrogate": ("a\udc80b", r"a\udc80b"),
    "lines": ("a\n\nb", "a b"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_control_characters_are_made_visible(case: str) -> None:
    given, seen = TEXTS[case]
    assert terminal.words(given) == seen


def test_long_texts_are_cut_and_said_to_be() -> None:
    found = terminal.words("x" * 5_000_000)
    assert len(found) < 700
    assert "letters more" in found


def record(reason: str) -> CellRecord:
    return CellRecord("k", "normal", {}, "walk", {}, 0, {}, "failed", reason)


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 120, 200])
@pytest.mark.parametrize("live", [True, False])
def test_a_reason_is_readable_in_a_terminal_of_any_width(width: int, live: bool) -> None:
    from rich.console import Console

    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=live, color_system=None)
    (cell,) = cells([own("Walk")])
    with Board([cell], console) as board:
        board.listen(cell, record("RuntimeError: " + "word " * 30 + "\x1b[31m"), [])
    lines = file.getvalue().splitlines()
    assert any("word word" in line for line in lines)
    assert sum(len(line.strip()) == 1 for line in lines) < 3
    assert "\x1b[31m" not in file.getvalue()


def row(value: float, stderr: float) -> Row:
    return Row(0, True, 0.0, 0, 0, 10, "kl_qp", value, stderr, "exact")


def test_a_figure_without_an_error_is_no_end_of_the_run() -> None:
    from rich.console import Console

    (cell,) = cells([own("Walk")])
    ended = CellRecord("k", "normal", {}, "walk", {}, 0, {}, "ok")
    none = Row(0, True, 0.0, 0, 0, 10, "kl_qp", 0.1, None, None)
    with Board([cell], Console(file=io.StringIO())) as board:
        board.listen(cell, ended, [none])


def interrupted(words: list[str], folder: Path, after: Callable[[str], bool]) -> tuple[int, str]:
    """Exit status and output of a command that Ctrl-C stops, twice, once ``after`` sees its
    output.
    """
    with subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        deadline = time.monotonic() + 60
        while not after(str(folder)) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=60)[0]
    return process.returncode, text


def begun(folder: str) -> bool:
    return (Path(folder) / "here" / "results.sqlite").is_file()


def test_ctrl_c_ends_in_one_sentence_however_often_it_is_pressed(tmp_path: Path) -> None:
    words = [*SMALL, "-m", own("Walk:nap=1"), "--out", "here", "--jobs", "1"]
    status, text = interrupted(words, tmp_path, begun)
    assert status == 130
    assert "Traceback" not in text
    assert text.count("Stopped.") == 1


def test_the_folder_of_sockets_has_a_short_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    long = tmp_path / ("a" * 92)
    long.mkdir()  # one that is not there would not be used anyway
    monkeypatch.setenv("TMPDIR", str(long))
    plainly.shorten_temporary_folder()
    assert len(tempfile.gettempdir()) <= plainly.LONGEST_FOLDER
