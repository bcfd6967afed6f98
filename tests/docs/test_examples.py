"""The examples run, and what they show is right: held against closed forms where there are such."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from bench.checks.check import check
from bench.commands.reference import verify_references
from bench.metrics import Estimate
from bench.plugins import spec
from tests.helpers.pages import ROOT

EXAMPLES = ROOT / "docs" / "examples"
ERRORS = 4.0  # standard errors that a figure may be off


def example(name: str) -> Any:
    """The module of an example, loaded as Python loads a file by its path."""
    place = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert place is not None
    assert place.loader is not None
    module: ModuleType = importlib.util.module_from_spec(place)
    sys.modules[name] = module  # where dataclasses look up the names of their annotations
    place.loader.exec_module(module)
    return module


@pytest.fixture
def references(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the example's reference, where the suite looks for one."""
    folder = EXAMPLES / "references"
    monkeypatch.setenv("POSTBENCH_REFERENCES", str(folder))
    return folder


def test_every_example_is_tested_here() -> None:
    tested = {"own_method", "own_metric", "own_pyro_model", "read_results"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_the_example_of_a_method_gets_nearer_to_the_truth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    few, many = (example("own_method").main(count, draws=500) for count in (5_000, 200_000))
    assert isinstance(many["mmd"], Estimate)
    assert many["mmd"].value < few["mmd"].value - ERRORS * few["mmd"].stderr
    assert "after 200,000 gradients" in capsys.readouterr().out


def test_the_example_of_a_metric_reads_what_it_should() -> None:
    """E|x - y| of standard normals in the plane, a shift s apart: a Rice mean of scale sqrt(2)."""
    found = example("own_metric").main(draws=4000)
    shifted, itself = found["shifted by 0.5"], found["the truth itself"]
    distance = 2 * (_rice_mean(0.5, math.sqrt(2)) - _rice_mean(0.0, math.sqrt(2)))
    assert abs(shifted.value - distance) < ERRORS * shifted.stderr
    assert abs(itself.value) < ERRORS * itself.stderr
    assert shifted.value > 10 * shifted.stderr


def _rice_mean(shift: float, scale: float) -> float:
    """E|x| where x is normal in the plane with mean at distance ``shift`` and sd ``scale``."""
    radius = torch.linspace(0, 20, 200_001, dtype=torch.float64)
    weight = radius / scale**2 * torch.special.i0e(radius * shift / scale**2)
    density = weight * torch.exp(-((radius - shift) ** 2) / (2 * scale**2))
    return float(torch.trapezoid(radius * density, radius))


@pytest.mark.parametrize(
    ("name", "fields"),
    [("own_method.py:Langevin", ":walkers=50"), ("own_metric.py:EnergyDistance", "")],
)
def test_examples_keep_to_the_contract(name: str, fields: str) -> None:
    group = "methods" if "method" in name else "metrics"
    findings = list(check(spec.parse(group, f"{EXAMPLES / name}{fields}")))
    assert [f for f in findings if f.outcome == "fail"] == []
    assert sum(f.outcome == "pass" for f in findings) > 10


def test_the_example_of_a_pyro_model_has_the_posterior_of_its_formula() -> None:
    """Beta priors and binomial counts give Beta posteriors: log density of logit rates."""
    module = example("own_pyro_model")
    problem, z = module.make(), torch.randn(50, 2, dtype=torch.float64) - 1.5
    a, b = 1 + module.SIGNED_UP.double(), 9 + (module.SHOWN - module.SIGNED_UP).double()
    log_rate, log_rest = -softplus(-z), -softplus(z)
    prior = math.log(9)  # 1 / Beta(1, 9)
    expected = (_log_ways(module) + prior + a * log_rate + b * log_rest).sum(1)
    torch.testing.assert_close(problem.log_density(z), expected, rtol=1e-10, atol=1e-8)


def _log_ways(module: Any) -> Tensor:
    """Log of the binomial coefficient, which is 1 / ((shown + 1) Beta(signed_up + 1, rest + 1))."""
    signed_up, rest = module.SIGNED_UP.double(), (module.SHOWN - module.SIGNED_UP).double()
    return -torch.log(module.SHOWN.double() + 1) - _log_beta(signed_up + 1, rest + 1)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a.double()) + torch.lgamma(b.double()) - torch.lgamma(a.double() + b)


def test_the_reference_of_the_example_is_right_and_intact(references: Path) -> None:
    module = example("own_pyro_model")
    truth = module.make().truth
    a, b = 1 + module.SIGNED_UP.double(), 9 + (module.SHOWN - module.SIGNED_UP).double()
    rates = torch.sigmoid(truth.draws)
    spread = torch.sqrt(a * b / (a + b) ** 2 / (a + b + 1))
    assert ((rates.mean(0) - a / (a + b)).abs() < ERRORS * spread / math.sqrt(len(rates))).all()
    assert truth.log_z is not None
    assert truth.log_z_stderr is not None
    # of each page: the evidence of a beta-binomial count
    log_z = _log_ways(module) + _log_beta(a, b) + math.log(9)
    assert abs(truth.log_z - float(log_z.sum())) < ERRORS * truth.log_z_stderr
    assert verify_references([f"{EXAMPLES / 'own_pyro_model.py'}:make"], references)


def test_the_example_of_a_pyro_model_measures_a_gaussian(references: Path) -> None:
    figure = example("own_pyro_model").main(draws=2000, gradients=20_000)
    assert isinstance(figure, Estimate)
    assert figure.kind == "exact"
    assert -ERRORS * figure.stderr < figure.value < 0.05  # two nearly normal coordinates


def test_the_example_of_pandas_reads_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = example("read_results")
    words = "run -p mixture-2d -m gaussian-vb -m exact --metric kl_qp --seeds 2 --draws 200"
    module.postbench(
        *words.split(), "--gradients", "20000", "--jobs", "0", "--out", tmp_path / "run"
    )
    table = module.main(tmp_path / "run")
    figure = table.loc[("mixture-2d", "kl_qp"), ("value", "gaussian-vb", "")]
    assert abs(figure - math.log(2)) < 0.01  # one of two equal bumps is lost
    assert "Quality against cost" in capsys.readouterr().out
