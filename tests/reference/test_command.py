"""`postbench reference`: what is printed says where, what is wrong and what to do, and fits the
terminal.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.commands.reference import list_references, verify_references
from bench.errors import UserError
from bench.reference.table import stems
from problems.parts import stored
from problems.parts.stored import SHIPPED, files


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's own with one reference, harmed, and none of the others."""
    for path in files("horseshoe", SHIPPED):
        shutil.copy(path, tmp_path)
    certificate = files("horseshoe", tmp_path)[1]
    certificate.write_text(certificate.read_text().replace('"seed": 0', '"seed": 1'))
    monkeypatch.setenv(stored.VARIABLE, str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def test_each_place_is_named_above_what_was_found_there(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not verify_references([], None)
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0] == f"{own}:"
    assert lines.index(f"{SHIPPED}:") == 8
    (fault,) = [line for line in lines if "fail " in line]
    assert fault.startswith(
        "  fail    horseshoe: certificate: the certificate was changed after it was sealed; put"
        " both"
    )
    assert lines[-1] == f"{7 * len(stems(SHIPPED)) + 1} passed, 1 failed"


def test_a_name_is_looked_for_where_it_is(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_references(["logistic-regression"], None)
    assert str(own) not in capsys.readouterr().out
    assert not verify_references(["logistic-regression:prior_scale=1.0"], None)
    assert (
        "`postbench reference build logistic-regression:prior_scale=1.0` makes one"
        in capsys.readouterr().out
    )


def test_a_folder_without_references_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no references there"):
        verify_references([], tmp_path)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(80, "made by, draws, on, E-FMI, D, tail ESS"), (100, "made by, draws, on"), (130, "")],
)
def test_the_table_fits_the_terminal_and_says_what_it_leaves_out(
    width: int,
    left_out: str,
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    list_references(None)
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[:2] == [f"{own}:", "horseshoe was harmed; `postbench reference verify` says how."]
    table = lines[4:]
    assert [line.split()[0] for line in table[: len(stems(SHIPPED))]] == stems(SHIPPED)
    assert max(map(len, lines[3:])) <= width
    assert "…" not in printed
    said = " ".join(printed.split()).partition("Left out for want of room: ")[2]
    assert said == (f"{left_out}." if left_out else "")
