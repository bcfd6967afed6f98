"""Samplers of other libraries see our density through one bridge: right moments, errors brought
back, a sentence where they are absent.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from bench.fitting.meter import BudgetSpentError
from bench.fitting.target import CountedTarget
from bench.metrics.draws.chains import ess_mean
from methods.base import Budget, Draws, NotApplicableError
from methods.blackjax_nuts import BlackjaxNUTS
from methods.numpyro_nuts import NumpyroNUTS
from methods.nutpie_nuts import NutpieNUTS
from methods.parts.bridge import Bridge, double_precision
from problems.linear_regression import LinearRegression

SIGMAS = 4.5  # every statistical tolerance, in standard errors
PROBLEM = LinearRegression(dim=3)
LIBRARY: dict[Any, str] = {
    NumpyroNUTS: "numpyro",
    BlackjaxNUTS: "blackjax",
    NutpieNUTS: "nutpie",
}
pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries that are not ours


def needs(name: str) -> Any:
    absent = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(absent, reason=f"{name} is not installed")


each = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=needs(name)) for kind, name in LIBRARY.items()]
)


def run(kind: Any, target: CountedTarget, seed: int = 0) -> list[Draws | None]:
    method = kind(warmup=150, draws=200)
    return list(method.run(target, Budget(), Generator().manual_seed(seed)))


@functools.cache
def fitted(kind: Any) -> list[Draws | None]:
    return run(kind, CountedTarget(PROBLEM))


@each
def test_moments_are_right_within_their_standard_errors(kind: Any) -> None:
    first, *_, last = fitted(kind)
    assert first is None  # ready to fit
    assert isinstance(last, Draws)
    assert last.chains.shape == (4, 200, 3)
    law = PROBLEM.model.posterior
    centred = last.chains - law.means[0]
    variance = law.factors[0].square().sum(1)
    for power, want in ((centred, torch.zeros(3)), (centred.square(), variance)):
        error = power.flatten(0, 1).std(0) / ess_mean(power).sqrt()
        assert ((power.mean((0, 1)) - want).abs() < SIGMAS * error).all()


@each
def test_figures_of_a_healthy_run(kind: Any) -> None:
    last = fitted(kind)[-1]
    assert last is not None
    figures = last.diagnostics
    assert 0.99 < figures["r_hat"] < 1.05
    assert 0.6 < figures["e_fmi"] < 1.5
    assert 0.6 < figures["accept_rate"] < 0.99
    assert figures["divergences"] == 0
    assert figures["steps_per_draw"] >= 1


@each
def test_the_budget_stops_it_from_within(kind: Any) -> None:
    target = CountedTarget(PROBLEM)

    def refuse() -> None:
        if target.gradients >= 300:
            raise BudgetSpentError

    target.before = refuse
    with pytest.raises(BudgetSpentError):
        run(kind, target)
    assert 300 <= target.gradients < 310


@pytest.mark.parametrize(("kind", "name"), LIBRARY.items())
def test_where_it_is_absent_it_says_what_to_install(
    kind: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (name, "numpyro.infer", "nutpie.compiled_pyfunc"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(NotApplicableError, match=r"pip install 'postbench\["):
        next(iter(kind(warmup=3).run(CountedTarget(PROBLEM), Budget(), Generator())))


def test_a_density_that_is_not_finite_has_no_mass_and_no_slope() -> None:
    class Walled(LinearRegression):
        def log_density(self, z: torch.Tensor) -> torch.Tensor:
            return super().log_density(z).masked_fill(z[..., 0] < 0, np.nan)

    bridge = Bridge()
    with bridge.serving(CountedTarget(Walled(dim=2))):
        value, gradient = bridge.value_and_grad(np.array([[1.0, 1.0], [-1.0, 1.0]]))
    assert value[1] == -np.inf
    assert (gradient[1] == 0).all()
    assert np.isfinite(value[0])


@needs("jax")
def test_jax_sees_value_and_gradient_in_double_precision_row_by_row() -> None:
    import jax

    bridge, target = Bridge(), CountedTarget(PROBLEM)
    z = torch.randn(5, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    value, gradient = target.value_and_grad(z)
    with double_precision(), bridge.serving(target):
        found = jax.jit(jax.vmap(jax.value_and_grad(bridge.log_density())))(z.numpy())
        assert np.array_equal(np.array(found[0]), value.numpy())
        assert np.array_equal(np.array(found[1]), gradient.numpy())
    assert target.gradients == 10
    assert not jax.config.jax_enable_x64
