"""Effective sizes against the closed form for autoregressive chains, and the corners where there is
nothing to estimate.
"""

from __future__ import annotations

import math

import pytest
import torch

from bench.metrics.draws.chains import (
    LONGEST_MEMORY,
    autocorrelation_time,
    effective,
    ess_mean,
    ess_sd,
    memory,
)
from methods.base import Draws
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import StandardNormal, compare


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_autoregressive_chains_have_the_known_size(rho: float) -> None:
    chains = cases.autoregressive(rho, cases.rng(0), draws=5000).chains
    for found, decay in ((ess_mean(chains), rho), (ess_sd(chains), rho**2)):
        expected = 20_000 * (1 - decay) / (1 + decay)
        assert found.shape == (2,)
        assert ((found / expected).log().abs() < math.log(1.4)).all()
    assert autocorrelation_time(chains[0, :, 0]) == pytest.approx((1 + rho) / (1 - rho), rel=0.4)


@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e6])
def test_units_do_not_matter(shift: float, scale: float) -> None:
    chains = cases.autoregressive(0.5, cases.rng(0)).chains
    if shift and scale < 1:
        shift *= scale
    torch.testing.assert_close(
        ess_mean(chains * scale + shift), ess_mean(chains), rtol=1e-6, atol=1e-6
    )


def test_nothing_to_estimate() -> None:
    assert (
        ess_mean(torch.zeros(2, 50, 3, dtype=torch.float64)) == 100
    ).all()  # a constant is known exactly
    assert (
        ess_mean(cases.normal(cases.rng(0), 7, 3, 2)) == 7
    ).all()  # too short: one draw a chain, to be safe
    stuck = torch.arange(4, dtype=torch.float64).reshape(4, 1, 1).expand(4, 100, 1)
    assert float(ess_mean(stuck)[0]) < 10
    assert float(ess_mean(torch.full((2, 50, 1), math.nan))[0]) == 1.0
    with pytest.raises(
        ValueError, match=r"Expected chains \[chains, draws, D\], got shape \[5, 2\]"
    ):
        ess_mean(torch.zeros(5, 2))


def test_memory() -> None:
    problem = StandardNormal(2)
    assert memory(compare(cases.standard(2), problem)) == 0
    assert memory(compare(Draws(cases.normal(cases.rng(0), 4, 1000, 2)), problem, n=4000)) <= 1
    assert (
        20
        < memory(compare(cases.autoregressive(0.9, cases.rng(0)), problem, n=4000))
        <= LONGEST_MEMORY
    )
    assert (
        memory(compare(cases.autoregressive(0.99, cases.rng(0)), problem, n=4000)) == LONGEST_MEMORY
    )
    assert (
        memory(compare(cases.autoregressive(0.99, cases.rng(0)), problem, n=200)) <= 10
    )  # a share of few draws


def test_effective_size_never_exceeds_the_draws() -> None:
    comparison = compare(Draws(cases.normal(cases.rng(0), 4, 1000, 2)), StandardNormal(2), n=500)
    assert (effective(comparison) <= 500).all()
