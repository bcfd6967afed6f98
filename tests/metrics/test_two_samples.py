"""The classifier test against the best accuracy there is, and against what may be learnt that is no
difference.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.calibration.fold import Fold, Waves
from bench.metrics.base import Skipped
from bench.metrics.c2st import C2st, c2st
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import SIGMAS, StandardNormal, compare, found, within


@pytest.mark.parametrize("dim", [1, 2, 10])
@pytest.mark.parametrize("by", [0.7, 2.0])
def test_shifted_gaussians_reach_the_optimum(dim: int, by: float) -> None:
    result = found(
        C2st().measure(compare(cases.shifted(dim, by), StandardNormal(dim, halves=None), n=2000))
    )
    best = 0.5 * math.erfc(-by / 2 / math.sqrt(2))
    assert best - 0.03 - SIGMAS * result.stderr < result.value < best + SIGMAS * result.stderr
    assert result.kind == "lower bound"


def test_two_bumps_and_one_are_told_apart() -> None:
    generator = cases.rng(0)
    side = torch.where(
        torch.rand(2000, 1, generator=generator, dtype=torch.float64) < 0.5, -1.0, 1.0
    ).double()
    truth = 3 * side + cases.normal(generator, 2000, 2)
    wide = truth.mean(0) + cases.normal(generator, 2000, 2) @ torch.linalg.cholesky(truth.T.cov()).T
    result = found(c2st(wide, truth))
    assert result.value > 0.7
    assert "quadratic" not in result.note


def test_ripples_are_seen_by_trees() -> None:
    wide, generator = cases.normal(cases.rng(0), 10_000, 3), cases.rng(1)
    kept = torch.rand(10_000, generator=generator, dtype=torch.float64) < 0.5 + 0.5 * torch.cos(
        8 * math.pi * wide[:, 0]
    )
    rippled = wide[kept][:4000]
    result = found(c2st(rippled, cases.normal(generator, 4000, 3)))
    assert result.value > 0.58
    assert "boosted trees in 5 of 5" in result.note


def test_curved_differences_are_seen_by_the_network() -> None:
    fold, waves = Fold(10), Waves(10)
    result = found(c2st(fold.sample(3000, cases.rng(0)), waves.truth.sample(3000, cases.rng(1))))
    assert 0.68 < result.value < fold.accuracy() + SIGMAS * result.stderr
    assert "network in 5 of 5" in result.note


def test_the_interval_holds_between_equal_laws() -> None:
    results = [
        found(C2st().measure(compare(cases.standard(5), StandardNormal(5), seed=seed, n=200)))
        for seed in range(25)
    ]
    values, widths = (
        np.array([getattr(result, key) for result in results]) for key in ("value", "stderr")
    )
    assert abs(values.mean() - 0.5) < SIGMAS * widths.mean() / math.sqrt(len(results))
    assert (abs(values - 0.5) <= 1.96 * widths).mean() >= 0.8
    assert values.min() < 0.5  # not clamped


def test_chains_are_not_recognised_by_their_neighbours() -> None:
    chains = cases.autoregressive(0.9, cases.rng(0), draws=250, dim=5)
    assert within(C2st().measure(compare(chains, StandardNormal(5), n=1000)), 0.5)


def test_copies_are_not_recognised() -> None:
    draws, truth = (
        cases.normal(cases.rng(0), 100, 3).repeat(4, 1),
        cases.normal(cases.rng(1), 400, 3),
    )
    assert within(c2st(draws, truth), 0.5)
    assert within(c2st(truth, truth), 0.5)


def test_what_is_obvious_is_not_certain() -> None:
    result = found(
        c2st(cases.normal(cases.rng(0), 400, 2) + 100, cases.normal(cases.rng(1), 400, 2))
    )
    assert result.value == 1.0
    assert result.stderr > 0


def test_samples_of_different_size() -> None:
    assert within(
        c2st(cases.normal(cases.rng(0), 1000, 2), cases.normal(cases.rng(1), 300, 2)), 0.5
    )


def test_one_point_is_too_little_to_learn() -> None:
    result = c2st(torch.ones(100, 2, dtype=torch.float64), cases.normal(cases.rng(1), 100, 2))
    assert isinstance(result, Skipped)
    assert "distinct" in result.reason
