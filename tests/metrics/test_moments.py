"""Errors of moments and of mode shares: values in the stated units, and intervals that hold
although the worst is chosen.
"""

from __future__ import annotations

import math

import pytest
import torch

from bench.metrics.base import Skipped
from bench.metrics.modes import ModeBalance, mode_balance
from bench.metrics.moments import MeanError, SdError, mean_error, sd_error
from methods.base import Draws
from problems.base import Modes
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import StandardNormal, compare, found, within


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_mean_error_is_in_sd_of_the_truth(dim: int) -> None:
    scale = torch.logspace(-2, 3, dim, dtype=torch.float64)
    truth = scale * cases.normal(cases.rng(0), 4000, dim) + 50
    draws = (
        scale
        * (cases.normal(cases.rng(1), 4000, dim) + 0.8 * torch.eye(dim, dtype=torch.float64)[0])
        + 50
    )
    result = found(mean_error(draws, truth))
    assert within(result, 0.8)
    assert result.note.startswith("Worst in z[1]: +0.")


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_sd_error_is_relative(factor: float) -> None:
    draws, truth = cases.normal(cases.rng(0), 4000, 3), cases.normal(cases.rng(1), 4000, 3)
    draws[:, 1] *= factor
    result = found(sd_error(draws, truth, names=("a", "b", "c")))
    assert within(result, abs(factor - 1))
    assert result.note.startswith(f"Worst in b: {factor - 1:+.3g}"[:14])


@pytest.mark.parametrize("estimator", [mean_error, sd_error], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dim", [1, 10])
@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_intervals_cover(estimator, dim: int, moved: float) -> None:  # type: ignore[no-untyped-def]
    covered = 0
    for seed in range(100):
        draws, truth = (
            cases.normal(cases.rng(seed), 300, dim),
            cases.normal(cases.rng(10_000 + seed), 300, dim),
        )
        draws[:, 0] = draws[:, 0] * (1 + moved) + moved
        result = found(estimator(draws, truth))
        covered += abs(result.value - moved) < 1.96 * result.stderr
    assert covered >= 88


@pytest.mark.parametrize("metric", [MeanError(), SdError()], ids=lambda metric: metric.name)
def test_chains_claim_what_they_are_worth(metric: MeanError | SdError) -> None:
    covered, problem = 0, StandardNormal(2)
    for seed in range(50):
        chains = cases.autoregressive(0.9, cases.rng(seed), draws=250)
        covered += within(metric.measure(compare(chains, problem, seed, n=1000)), 0.0)
    assert covered >= 48
    independent = found(metric.measure(compare(cases.standard(2), problem, n=1000)))
    assert found(metric.measure(compare(chains, problem, n=1000))).stderr > 1.5 * independent.stderr


def test_mode_balance_is_the_mass_that_would_move() -> None:
    labels = torch.tensor([0] * 700 + [1] * 200 + [2] * 100)
    result = found(mode_balance(labels, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)))
    assert result.value == pytest.approx(0.2)
    assert result.stderr == pytest.approx(math.sqrt(0.7 * 0.3 / 1000), rel=0.05)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.1, 0.9), (0.125,) * 8, (0.7, 0.1, 0.1, 0.1)])
@pytest.mark.parametrize("weights", ["right", "wrong"])
def test_mode_intervals_cover(shares: tuple[float, ...], weights: str) -> None:
    q = torch.tensor(shares, dtype=torch.float64)
    p = (
        q
        if weights == "right"
        else torch.tensor([0.6] + [0.4 / (len(q) - 1)] * (len(q) - 1), dtype=torch.float64)
    )
    truth, covered = float(0.5 * (p - q).abs().sum()), 0
    for seed in range(100):
        labels = torch.multinomial(q, 300, replacement=True, generator=cases.rng(seed))
        result = found(mode_balance(labels, p))
        covered += abs(result.value - truth) < 1.96 * result.stderr
    assert covered >= 88


def test_lost_mode() -> None:
    result = found(mode_balance(torch.zeros(1000), torch.tensor([0.5, 0.5])))
    assert result.value == pytest.approx(0.5)
    assert result.stderr > 0  # a thousand draws do not prove that the other mode has no mass at all


def test_chains_that_seldom_cross_claim_less() -> None:
    stuck = cases.normal(cases.rng(0), 4, 500, 2).abs() * torch.tensor(
        [1.0, -1.0, 1.0, -1.0]
    ).reshape(4, 1, 1)
    result = found(ModeBalance().measure(compare(Draws(stuck), StandardNormal(2), n=2000)))
    assert result.value == pytest.approx(0.0)  # two chains in each mode, by luck
    assert result.stderr > 0.1


def test_no_modes_and_unknown_labels() -> None:
    result = ModeBalance().measure(compare(cases.standard(2), StandardNormal(2, halves=None)))
    assert result == Skipped("The problem names no modes.")
    wild = StandardNormal(2, halves=Modes(lambda z: torch.full(z.shape[:-1], 5), (0.5, 0.5)))
    with pytest.raises(ValueError, match="Mode label 5 has no weight: the problem names 2 modes"):
        ModeBalance().measure(compare(cases.standard(2), wild))
