"""`postbench new` writes plugins that pass the checks as they are, and refuses what would
not work.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.checks.check import check
from bench.commands.new import GROUP, Kind, new
from bench.errors import UserError
from bench.plugins import spec

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
KINDS: tuple[Kind, ...] = ("method", "problem", "metric", "learner", "model")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_its_checks(kind: Kind, tmp_path: Path) -> None:
    path = new(kind, "my-Own_idea2", tmp_path / "made" / "here")
    assert path == tmp_path / "made" / "here" / "my_own_idea2.py"
    chosen = spec.parse(GROUP[kind], f"{path}:MyOwnIdea2")
    assert chosen.build().name == "my-Own_idea2"
    assert [finding for finding in check(chosen) if finding.outcome == "fail"] == []
    text = path.read_text(encoding="utf-8")
    for line in (
        "postbench check my_own_idea2.py:MyOwnIdea2",
        "postbench run",
        f'[project.entry-points."postbench.{GROUP[kind]}"]',
        'my-Own_idea2 = "my_own_idea2:MyOwnIdea2"',
    ):
        assert line in text
    assert "$" not in text


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_what_is_written_is_clean(command: list[str], tmp_path: Path) -> None:
    ruff = shutil.which("ruff", path=Path(sys.executable).parent)
    if ruff is None:
        pytest.skip("ruff is not installed")
    shutil.copy(PYPROJECT, tmp_path)
    for kind in KINDS:
        new(kind, f"a-{kind}-of-a-name-as-long-as-it-may"[:30].rstrip("-"), tmp_path)
    done = subprocess.run(
        [ruff, *command, "--no-cache", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = new("method", "mine", tmp_path)
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.py exists and is left as it is"):
        new("method", "mine", tmp_path)
    assert path.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is no name for a method"),
        ("2fast", "expected a letter first"),
        ("my method", "words joined by single hyphens"),
        ("../mine", "is no name"),
        ("mine-", "is no name"),
        ("m" * 31, "30 characters at most"),
        ("avb", "The suite has a method named 'avb'"),
        ("torch", "stands in the way of Python's 'torch'"),
        ("random", "stands in the way"),
        ("lambda", "stands in the way"),
        ("Method", "would make a class Method"),
        ("tensor", "would make a class Tensor"),
    ],
)
def test_names_that_would_not_work_are_refused(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        new("method", name, tmp_path)
    assert words in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"mine\.py cannot be written"):
        new("method", "mine", tmp_path / "file")


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'methods'.*Did you mean 'method'"):
        new("methods", "mine", tmp_path)  # type: ignore[arg-type]
