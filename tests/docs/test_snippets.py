"""The code and the commands that the pages show are run as they stand there."""

from __future__ import annotations

import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.checks import method, metric, problem
from bench.checks.check import check
from bench.checks.finding import Check
from bench.cli import main
from bench.plugins import spec
from bench.running.matrix import validated
from bench.store import Store
from problems.eight_schools import EightSchools
from tests.helpers.pages import ROOT, blocks

README = ROOT / "README.md"
CONTRACT = ROOT / "docs" / "contract.md"
REFERENCES = ROOT / "docs" / "references.md"
Command = Callable[..., int]


@pytest.fixture
def postbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in a folder of its own and in this process: its exit status."""
    monkeypatch.chdir(tmp_path)

    def run(line: str, *more: str) -> int:
        words = shlex.split(line, comments=True)
        assert words[0] == "postbench"
        monkeypatch.setattr(sys, "argv", [*words, *more])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return run


def shown(page: Path, language: str, word: str) -> str:
    """The one block of code of a page that has a word in it."""
    found = [block for block in blocks(page, language) if word in block]
    assert len(found) == 1, f"{page.name} has {len(found)} blocks with {word!r}"
    return found[0]


def line_of(page: Path, start: str) -> str:
    """The one line of shell on a page that begins so."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    found = [line for line in lines if line.startswith(start)]
    assert len(found) == 1, f"{page.name} has {len(found)} lines that begin with {start!r}"
    return found[0]


def test_the_ten_lines_of_the_readme_run_as_the_readme_runs_them(
    postbench: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.py").write_text(shown(README, "python", "class Mine"), encoding="utf-8")
    assert postbench(line_of(README, "postbench check mine.py:Mine")) == 0
    assert "0 failed" in capsys.readouterr().out
    line = line_of(README, "postbench run -p eight-schools -m mine.py:Mine")
    assert postbench(line, "--metric", "kl_qp", "--draws", "500", "--jobs", "0") == 0
    cells = Store(Path("results/custom"), create=False).cells()
    assert {cell["status"] for cell in cells} == {"ok"}
    assert len(cells) == 8
    assert max(cell["gradients"] for cell in cells) <= 110_000, "a first run must be cheap"


def test_the_ten_lines_of_the_contract_keep_to_it(tmp_path: Path) -> None:
    path = tmp_path / "langevin.py"
    path.write_text(shown(CONTRACT, "python", "class Langevin"), encoding="utf-8")
    findings = list(check(spec.parse("methods", f"{path}:Langevin")))
    assert [finding for finding in findings if finding.outcome == "fail"] == []
    assert sum(finding.outcome == "pass" for finding in findings) > 10


def test_the_pyro_model_of_the_page_on_references_is_the_posterior_it_says(tmp_path: Path) -> None:
    path = tmp_path / "schools.py"
    path.write_text(shown(REFERENCES, "python", "PyroModel("), encoding="utf-8")
    made = spec.parse("problems", f"{path}:make").build()
    z = torch.randn(20, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(made.log_density(z), EightSchools().log_density(z))


def test_the_matrix_of_the_page_on_matrices_is_valid(tmp_path: Path) -> None:
    text = shown(ROOT / "docs" / "matrix.md", "toml", "[budget]")
    matrix = validated(tomllib.loads(text), where="docs/matrix.md")
    assert matrix.title == "study"
    assert matrix.budget.wall == 2 * matrix.budget.guard + 120, "the page calls it the default"


@pytest.mark.parametrize(
    ("module", "heading"),
    [
        (method, "## What `postbench check` holds a method to"),
        (problem, "## What it holds a problem to"),
        (metric, "## What it holds a metric to"),
    ],
    ids=["method", "problem", "metric"],
)
def test_the_contract_lists_the_checks_that_are_made(module: object, heading: str) -> None:
    section = CONTRACT.read_text(encoding="utf-8").partition(heading)[2].partition("\n## ")[0]
    listed = [
        tuple(part.strip().strip("`") for part in line.strip("|").split("|"))
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    made = {
        (item.name, item.why)
        for value in vars(module).values()
        if isinstance(value, tuple)
        for item in value
        if isinstance(item, Check)
    }
    assert set(listed) == made
    assert len(listed) == len(made)


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {project['version']}" in lines
    assert f"license: {project['license']}" in lines
    assert "cff-version: 1.2.0" in lines


def test_the_commands_of_contributing_name_files_that_exist() -> None:
    """The files they take; the commands themselves need a network, or hours."""
    page = ROOT / "CONTRIBUTING.md"
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        for word in words:
            if "/" in word and not word.startswith((".venv", "results")):
                assert (ROOT / word).exists(), f"{line}: {word} is not there"
