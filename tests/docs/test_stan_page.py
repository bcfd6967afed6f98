"""The example of the page on Stan: from the files that it shows to a report, with its own commands,
against the posterior in closed form.
"""

from __future__ import annotations

import functools
import json
import math
import shlex
import sys
from pathlib import Path

import pytest
import torch

from bench.checks.check import check
from bench.cli import main
from bench.plugins import spec
from bench.reference import bridge
from bench.reference.routes import Plan
from bench.store import Store
from problems.models.stan_model import StanModel
from tests.helpers.pages import ROOT, blocks
from tests.helpers.reference_parts import building, shorten

pytest.importorskip("stanli")

PAGE = ROOT / "docs" / "stan.md"
EXAMPLES = ROOT / "docs" / "examples" / "stan"
ERRORS = 4.5  # standard errors that a figure may be off
SHORT = functools.partial(Plan, chains=50, target_accept=0.8, nuts_warmup=300, nuts_draws=1500)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page, in which references are built in seconds."""
    (program,), (data,) = blocks(PAGE, "stan"), blocks(PAGE, "json")
    (tmp_path / "trial.stan").write_text(program, encoding="utf-8")
    (tmp_path / "trial.json").write_text(data, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTBENCH_REFERENCES", raising=False)
    monkeypatch.setattr(building, "Plan", SHORT)
    monkeypatch.setattr(bridge, "MOST", 5_000)
    shorten(monkeypatch, 5)
    return tmp_path


def commands() -> list[str]:
    """The three lines of the page."""
    (found,) = (block for block in blocks(PAGE, "sh") if "reference build trial.stan" in block)
    return found.splitlines()


def postbench(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """A line of the page, in this process: its exit status."""
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_the_three_commands_go_from_the_files_to_a_report(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, build, run = commands()
    program, words, name = shlex.split(first)
    assert (program, words) == ("postbench", "check")
    found = list(check(spec.parse("problems", name)))  # here: a process of its own takes longer
    assert [finding for finding in found if finding.outcome == "fail"] == []
    assert postbench(build, monkeypatch) == 0
    must_be_the_posterior(StanModel("trial.stan", "trial.json"))
    more = " --seeds 1 --draws 1000 --jobs 0 --metric kl_qp --metric mean_error"
    assert postbench(run + more, monkeypatch) == 0
    cells = Store(Path("results/custom"), create=False).cells()
    assert {cell["status"] for cell in cells} == {"ok"}
    assert {cell["method"] for cell in cells} == {"gaussian-vb", "stan-nuts", "exact"}
    assert "trial.stan" in Path("results/custom/report.md").read_text(encoding="utf-8")


def must_be_the_posterior(problem: StanModel) -> None:
    """Beta priors and binomial counts give Beta posteriors; Stan drops the binomial coefficient and
    the normaliser of the prior.
    """
    data = json.loads(Path("trial.json").read_text(encoding="utf-8"))
    shown, bought = (torch.tensor(data[name]).double() for name in ("shown", "bought"))
    a, b = 1 + bought, 9 + shown - bought
    truth = problem.truth
    values = problem.constrain(truth.draws)
    spread = torch.sqrt(a * b / (a + b) ** 2 / (a + b + 1))
    away = (values["rate"].mean(0) - a / (a + b)) / spread * math.sqrt(len(truth.draws))
    assert float(away.abs().max()) < ERRORS
    torch.testing.assert_close(values["lift"], values["rate"][:, 1] - values["rate"][:, 0])
    log_z = float((torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)).sum())
    assert truth.log_z is not None
    assert truth.log_z_stderr is not None
    assert abs(truth.log_z - log_z) < ERRORS * truth.log_z_stderr
    assert truth.certificate["second"]["route"] == "stan-nuts"
    assert truth.certificate["problem"]["source"] == "trial.stan:data=trial.json"


def test_the_data_of_the_larger_example_are_what_its_script_makes() -> None:
    sys.path.insert(0, str(EXAMPLES))
    try:
        import make_data  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(EXAMPLES))
    stored = json.loads((EXAMPLES / "radon.json").read_text(encoding="utf-8"))
    assert stored == make_data.make()
    problem = StanModel(str(EXAMPLES / "radon.stan"), str(EXAMPLES / "radon.json"))
    assert problem.dim == 5 + 85
    z = torch.zeros(problem.dim, dtype=torch.float64)
    levels = problem.constrain(z)["county_level"]
    assert levels.tolist() == [0.0] * 85
