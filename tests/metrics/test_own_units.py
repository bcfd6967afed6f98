"""Moments, quantiles and coverage in a model's own units, against the closed forms of a log-normal
law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from bench.metrics.base import Comparison, Metric, Skipped
from bench.metrics.draws.parameters import OwnUnits, columns, parameters
from bench.metrics.own_units import (
    CoverageConstrained,
    MeanErrorConstrained,
    QuantileErrorConstrained,
    SdErrorConstrained,
)
from problems.base import Exact, Problem
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import Gaussian, StandardNormal, compare, found, normal, rng, within

SCALE, SHIFT = 0.5, 0.3  # of log tau, and how far q's is moved
EVERY = (
    MeanErrorConstrained(),
    SdErrorConstrained(),
    QuantileErrorConstrained(),
    CoverageConstrained(),
)
# of log-normal laws with SCALE, q's log moved by SHIFT, in the truth's sd
SD = math.sqrt(math.expm1(SCALE**2)) * math.exp(SCALE**2 / 2)
RISE = math.expm1(SHIFT)
RIGHT = {
    "mean_error_constrained": RISE * math.exp(SCALE**2 / 2) / SD,
    "sd_error_constrained": RISE,
    "quantile_error_constrained": RISE * math.exp(SCALE * norm.ppf(0.95)) / SD,
    "coverage_constrained": max(
        abs(norm.cdf(z + SHIFT / SCALE) - norm.cdf(-z + SHIFT / SCALE) - claim)
        for claim in (0.5, 0.9, 0.95)
        for z in (norm.ppf((1 + claim) / 2),)
    ),
}


@dataclass(frozen=True)
class LogNormal(Problem):
    """tau = exp(scale z_1), a correlation tanh z_2 as a matrix, and its Cholesky factor."""

    scale: float = SCALE
    name: ClassVar[str] = "log-normal"
    dim: ClassVar[int] = 2

    @property
    def truth(self) -> Exact:
        return Exact(lambda n, generator: normal(generator, n, 2), 0.0)

    def log_density(self, z: Tensor) -> Tensor:
        return cases.standard(2).log_prob(z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        r = z[..., 1].tanh()
        one, nothing = torch.ones_like(r), torch.zeros_like(r)
        factor = torch.stack([one, nothing, r, (1 - r.square()).sqrt()], -1)
        factor = factor.reshape(*r.shape, 2, 2)
        omega = factor @ factor.transpose(-1, -2)
        return {"tau": (self.scale * z[..., 0]).exp(), "L": factor, "Omega": omega}


def moved(dim: int = 2) -> Gaussian:
    """Log tau moved by SHIFT, all else as it should be."""
    return cases.shifted(dim, SHIFT / SCALE)


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_figures_of_a_log_normal_are_those_of_its_closed_form(metric: Metric) -> None:
    result = found(metric.measure(compare(moved(), LogNormal(), n=20_000)))
    assert within(result, RIGHT[metric.name])
    assert abs(result.value) > 5 * result.stderr
    assert "tau: " in result.note


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_their_intervals_hold(metric: Metric) -> None:
    held = 0
    for seed in range(100):
        result = found(metric.measure(compare(moved(), LogNormal(), seed, n=400)))
        held += abs(result.value - RIGHT[metric.name]) < 1.96 * result.stderr
    assert held >= 88


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_chains_count_by_their_memory(metric: Metric) -> None:
    slow, fast = (
        found(metric.measure(compare(cases.autoregressive(rho, rng(3)), LogNormal(), n=4000)))
        for rho in (0.95, 0.0)
    )
    assert slow.stderr > 1.5 * fast.stderr


def test_only_entries_that_vary_count_and_a_symmetric_pair_counts_once() -> None:
    own = parameters(compare(moved(), LogNormal()))
    assert not isinstance(own, Skipped)
    assert own.names == ("tau", "L[2,1]", "L[2,2]", "Omega[2,1]")


def test_a_worst_entry_of_a_matrix_is_named() -> None:
    loc = torch.tensor([0.0, 1.0], dtype=torch.float64)
    q = Gaussian(loc, torch.eye(2, dtype=torch.float64))
    assert "[2,1]" in found(MeanErrorConstrained().measure(compare(q, LogNormal()))).note


def test_every_entry_is_carried_over_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    z = normal(rng(0), 100, 2)
    whole = columns(LogNormal(), z)
    monkeypatch.setattr("bench.metrics.draws.parameters.ROWS", 7)
    names, parts = columns(LogNormal(), z)
    assert names == whole[0] == ["tau", *(f"{m}[{i},{j}]" for m in ("L", "Omega")
                                          for i in (1, 2) for j in (1, 2))]  # fmt: skip
    torch.testing.assert_close(parts, whole[1], rtol=0, atol=0)


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_where_parameters_are_coordinates_nothing_is_said_twice(metric: Metric) -> None:
    comparison = compare(cases.standard(2), StandardNormal(2))
    result = metric.measure(comparison)
    assert isinstance(result, Skipped)
    assert "the metric without _constrained measures them" in result.reason
    units = OwnUnits(StandardNormal(2), comparison.truth)
    assert units.truth is None
    assert units.of(comparison.draws) is None


@pytest.mark.parametrize("metric", EVERY[:2], ids=lambda metric: metric.name)
def test_a_parameter_without_a_standard_deviation_is_left_out_by_name(metric: Metric) -> None:
    result = found(metric.measure(compare(moved(), LogNormal(scale=4.0), n=4000)))
    assert "Left out, without a standard deviation: tau." in result.note
    assert "Worst in tau" not in result.note


def test_a_quantile_of_a_heavy_tail_has_its_quartiles_for_a_unit() -> None:
    scale = 4.0
    problem = LogNormal(scale=scale)
    result = found(QuantileErrorConstrained().measure(compare(moved(), problem, n=20_000)))
    quartiles = (math.exp(scale * norm.ppf(0.75)) - math.exp(scale * norm.ppf(0.25))) / 1.349
    move = scale * SHIFT / SCALE
    right = math.exp(scale * norm.ppf(0.95)) * math.expm1(move) / quartiles
    assert within(result, right, 0.05 * right)
    assert "distance of their quartiles over 1.35: tau" in result.note


def test_draws_that_overflow_are_told() -> None:
    draws = normal(rng(0), 100, 2)
    draws[3, 0] = 1e5
    comparison = Comparison(LogNormal(), cases.standard(2), draws, normal(rng(1), 100, 2))
    result = MeanErrorConstrained().measure(comparison)
    assert isinstance(result, Skipped)
    assert result.reason == "In the model's own units: 1 of the 100 draws are not finite."
