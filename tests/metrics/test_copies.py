"""Rows that several chains share count once: copies add draws and no knowledge."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric
from bench.metrics.c2st import C2st
from bench.metrics.coverage import Coverage
from bench.metrics.draws.copies import without_copies
from bench.metrics.kl import KlPQ, KlQP
from bench.metrics.knn import KlKnn
from bench.metrics.ksd import Ksd
from bench.metrics.mmd import Mmd
from bench.metrics.modes import ModeBalance
from bench.metrics.moments import MeanError, SdError
from bench.metrics.quantiles import QuantileError
from bench.metrics.sliced_wasserstein import SlicedWasserstein
from methods.base import Draws
from tests.helpers.metric_cases import StandardNormal, found, normal, rng

PROBLEM = StandardNormal(5)
METRICS: list[Metric] = [
    MeanError(), SdError(), QuantileError(), Coverage(), ModeBalance(), Mmd(), C2st(), KlKnn(),
    KlQP(), KlPQ(), Ksd(), SlicedWasserstein(),
]  # fmt: skip
every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def chains(x: Tensor) -> Comparison:
    q = Draws(x)
    return Comparison(PROBLEM, q, q.sample(10**6, rng(0)), normal(rng(2), 4000, 5), 3)


@every_metric
def test_four_copies_of_a_chain_read_as_one(metric: Metric) -> None:
    x = normal(rng(1), 1, 1000, 5)
    one, four = (found(metric.measure(chains(x.expand(c, -1, -1)))) for c in (1, 4))
    assert (four.value, four.stderr) == (one.value, one.stderr)
    assert "3000 of 4000 draws are copies of draws in other chains" in four.note
    assert four.draws == 1000


def test_a_classifier_does_not_fall_below_a_half_on_copies() -> None:
    values = []
    for seed in range(3):
        x = normal(rng(seed), 1, 1000, 5).expand(4, -1, -1)
        result = found(C2st().measure(chains(x)))
        values.append((result.value - 0.5) / result.stderr)
    assert min(values) > -3
    assert abs(sum(values)) / math.sqrt(len(values)) < 3


@pytest.mark.parametrize("seed", range(3))
def test_chains_that_copy_each_other_now_and_then(seed: int) -> None:
    x = normal(rng(seed), 4, 1000, 5)
    x[1:, ::2] = x[0, ::2]  # half of all rows stand in every chain
    comparison = chains(x)
    apart, note = without_copies(comparison)
    assert "1500 of 4000" in note
    assert len(apart.draws) == 2500
    assert len(torch.unique(apart.draws, dim=0)) == 2500
    plain, real = (
        found(MeanError().measure(c)) for c in (comparison, chains(normal(rng(9), 5, 500, 5)))
    )
    assert plain.stderr == pytest.approx(real.stderr, rel=0.25)


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (normal(rng(4), 4, 500, 5), "all rows are new"),
        (normal(rng(5), 4, 500, 5).repeat_interleave(2, 1), "a chain that stays repeats itself"),
        (normal(rng(6), 1, 2000, 5), "one chain has no other to copy"),
    ],
    ids=["independent", "staying", "alone"],
)
def test_nothing_is_said_where_nothing_was_copied(x: Tensor, why: str) -> None:
    comparison = chains(x)
    assert without_copies(comparison) == (comparison, ""), why
    assert "copies" not in found(MeanError().measure(comparison)).note


def test_two_rows_that_rounding_made_equal_are_let_be() -> None:
    x = normal(rng(7), 4, 500, 5)
    x[1, 7] = x[0, 3]
    assert without_copies(chains(x))[1] == ""


def test_chains_that_never_moved_from_one_place_are_one() -> None:
    result = MeanError().measure(chains(torch.ones(4, 500, 5, dtype=torch.float64)))
    assert isinstance(result, Estimate)
    assert "1500 of 2000 draws are copies" in result.note
