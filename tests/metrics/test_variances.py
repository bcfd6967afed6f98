"""The mean error of the variances, against closed forms."""

from __future__ import annotations

import math

import pytest

from bench.calibration.heavy import Student
from bench.metrics.base import Skipped
from bench.metrics.moments import sd_error
from bench.metrics.variances import VarianceError, variance_error
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import (
    StandardNormal,
    autoregressive,
    compare,
    found,
    normal,
    rng,
    within,
)


@pytest.mark.parametrize("dim", [1, 2, 10])
@pytest.mark.parametrize("scale", [0.9, 1.0, 1.2])
def test_of_a_scale_is_its_square_less_one(dim: int, scale: float) -> None:
    comparison = compare(cases.scaled(dim, scale), StandardNormal(dim), n=4000)
    result = VarianceError().measure(comparison)
    assert within(result, scale**2 - 1)
    expected = math.sqrt((scale**4 + scale**4) * 2 / 4000 / dim)
    assert found(result).stderr == pytest.approx(expected, rel=0.1)


def test_a_small_error_of_all_coordinates_is_seen_where_the_worst_is_noise() -> None:
    draws, truth = normal(rng(0), 1_000_000, 10) * math.sqrt(1.004), normal(rng(1), 1_000_000, 10)
    result = found(variance_error(draws, truth))
    assert within(result, 0.004)
    assert result.value > 5 * result.stderr
    worst = found(sd_error(draws, truth))
    assert worst.value < 3 * worst.stderr


def test_figures_of_the_truth_itself_scatter_as_they_say() -> None:
    scores = []
    for seed in range(100):
        result = found(variance_error(normal(rng(seed), 500, 4), normal(rng(1000 + seed), 500, 4)))
        scores.append((result.value - 2 / 500) / result.stderr)
    mean = sum(scores) / len(scores)
    spread = math.sqrt(sum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
    assert abs(mean) < 4 / math.sqrt(len(scores))
    assert spread == pytest.approx(1.0, abs=4 / math.sqrt(2 * len(scores)))


def test_chains_count_by_their_memory() -> None:
    slow, fast = (
        found(
            VarianceError().measure(compare(autoregressive(rho, rng(3)), StandardNormal(2), n=4000))
        )
        for rho in (0.95, 0.0)
    )
    assert slow.stderr > 2 * fast.stderr
    assert within(slow, 0.0)


def test_a_truth_without_a_variance_has_no_error_of_it() -> None:
    draws = Student(2, 1.5).sample(1000, rng(0))
    result = variance_error(draws, draws.flip(0), moments=1.5)
    assert isinstance(result, Skipped)
