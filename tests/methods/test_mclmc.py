"""Microcanonical chains reach the posterior: without bias where adjusted, with a known one where
not.
"""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from bench.metrics.draws.chains import ess_mean
from methods.base import Budget, Draws, NotApplicableError
from methods.mclmc import MCLMC
from methods.parts.sampling.hmc import Frame
from methods.parts.sampling.microcanonical import Flow, forgetting
from problems.base import Problem
from problems.gaussian import Isotropic2
from problems.linear_regression import LinearRegression
from problems.mixture import Mixture

SIGMAS = 4.5  # every statistical tolerance, in standard errors
BIAS = 0.04  # of a variance, that the docstring owns up to at the default, and twice as much
both = pytest.mark.parametrize("adjusted", [False, True])


@functools.cache
def fitted(problem: Problem, adjusted: bool) -> Draws:
    *_, last = MCLMC(adjusted=adjusted, draws=200).run(
        CountedTarget(problem), Budget(), Generator().manual_seed(0)
    )
    return last


@both
@pytest.mark.parametrize("problem", [Isotropic2(), LinearRegression()], ids=lambda p: p.name)
def test_moments_are_right_within_their_standard_errors(problem: Problem, adjusted: bool) -> None:
    chains = fitted(problem, adjusted).chains
    truth = problem.truth.sample(200_000, Generator().manual_seed(1))
    scale = truth.std(0)
    centred = (chains - truth.mean(0)) / scale
    for power, want, slack in ((centred, 0.0, 0.0), (centred.square(), 1.0, BIAS)):
        error = power.flatten(0, 1).std(0) / ess_mean(power).sqrt()
        error = (error.square() + 2 / len(truth)).sqrt()
        away = (power.mean((0, 1)) - want).abs()
        assert (away < SIGMAS * error + (0.0 if adjusted else slack)).all()


def test_a_larger_error_of_the_energy_is_a_larger_bias() -> None:
    problem, found = LinearRegression(), {}
    for variance in (5e-4, 0.1):
        method = MCLMC(draws=200, energy_variance=variance)
        *_, last = method.run(CountedTarget(problem), Budget(), Generator().manual_seed(0))
        factor = problem.model.posterior.factors[0]
        centred = (last.chains - problem.model.posterior.means[0]).flatten(0, 1)
        white = torch.linalg.solve(factor, centred.T)
        found[variance] = abs(float(white.square().mean()) - 1)
    assert found[5e-4] < BIAS < found[0.1]


@both
def test_figures_of_a_healthy_run(adjusted: bool) -> None:
    figures = fitted(LinearRegression(), adjusted).diagnostics
    assert 0.99 < figures["r_hat"] < 1.02
    assert figures["divergences"] == 0
    assert "e_fmi" not in figures
    if adjusted:
        assert 0.85 < figures["accept_rate"] < 0.95
    else:
        assert 2e-4 < figures["energy_variance"] < 1.5e-3


class Normal(Problem):
    """A standard normal in D dimensions."""

    name: ClassVar[str] = "normal"
    truth: Any = None

    def __init__(self, dim: int) -> None:
        self._dim = dim

    @property
    def dim(self) -> int:
        return self._dim

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(-1)


def flow(dim: int, step: float) -> Flow:
    generator = Generator().manual_seed(0)
    z = torch.randn(32, dim, generator=generator, dtype=torch.float64)
    frame = Frame(torch.zeros(dim).double(), torch.eye(dim).double())
    target = CountedTarget(Normal(dim))
    found = Flow(target, z, *target.value_and_grad(z), frame, generator)
    found.step = step
    return found


def test_the_energy_is_kept_to_the_order_of_the_scheme() -> None:
    errors = []
    for step in (0.4, 0.2, 0.1):
        errors.append(float(flow(5, step).hop().abs().mean()))
    # the error of one step of a second-order scheme is of third order
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(8, rel=0.25)


def test_a_trajectory_backwards_comes_back() -> None:
    one = flow(5, 0.3)
    z, u, value, gradient, error = one._ahead(one.z, one.u, one.gradient, one.value)
    back, turned, _, _, other = one._ahead(z, -u, gradient, value)
    torch.testing.assert_close(back, one.z, rtol=0, atol=1e-12)
    torch.testing.assert_close(turned, -one.u, rtol=0, atol=1e-12)
    torch.testing.assert_close(other, -error, rtol=0, atol=1e-10)


def test_the_memory_of_an_autoregression_is_found() -> None:
    generator, rho, steps = Generator().manual_seed(0), 0.8, []
    x = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    for _ in range(400):
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = rho * x + math.sqrt(1 - rho**2) * noise
        steps.append(x)
    # (1 + rho) / (1 - rho) = 9, less what is left below a correlation of 0.05
    assert 7.5 < forgetting(torch.stack(steps)) < 9.3


def test_what_has_no_density_is_never_entered() -> None:
    class Half(Mixture):
        def log_density(self, z: Tensor) -> Tensor:
            return super().log_density(z).masked_fill(z[..., 0] < 0, math.nan)

    for adjusted in (False, True):
        method = MCLMC(adjusted=adjusted, draws=50)
        *_, last = method.run(CountedTarget(Half()), Budget(), Generator().manual_seed(0))
        assert bool((last.chains[..., 0] >= 0).all())
        assert last.chains.isfinite().all()
        assert last.diagnostics["divergences"] > 0


def test_one_coordinate_is_refused_in_a_sentence() -> None:
    with pytest.raises(NotApplicableError, match="two coordinates or more"):
        next(iter(MCLMC().run(CountedTarget(Normal(1)), Budget(), Generator().manual_seed(0))))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chains", 1),
        ("draws", 0),
        ("energy_variance", 0.0),
        ("target_accept", 1.0),
        ("radius", -1.0),
    ],
)
def test_fields_out_of_range_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"MCLMC\({field}=...\) must"):
        MCLMC(**{field: value})
