"""Draws that interact have figures, and no interval that would pretend they were independent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.draws.copies import without_copies
from bench.metrics.draws.interacting import NOTE, measured
from bench.plugins import registry
from bench.running.finite import finite
from methods.base import Draws
from tests.helpers.cells import cells, run
from tests.helpers.metric_cases import Gaussian, StandardNormal, compare, normal, rng, standard

PROBLEM = StandardNormal(2)
METRICS = sorted(registry.BUILT_IN["metrics"])


def metric(name: str) -> Metric:
    found: Metric = registry.load(registry.find("metrics", name))()
    return found


def comparison(*, interacting: bool) -> Comparison:
    q = Draws(normal(rng(1), 100, 1, 2) + 0.3, {}, interacting=interacting)
    return compare(q, PROBLEM, n=100)


@dataclass(frozen=True)
class Bound(Metric):
    kind: Any = "lower bound"
    name: ClassVar[str] = "bound"

    def measure(self, comparison: Comparison) -> Estimate:
        return Estimate(1.0, 0.1, self.kind, "Its note.")


@pytest.mark.parametrize("name", METRICS)
def test_every_figure_keeps_its_value_and_loses_its_interval(name: str) -> None:
    alone = metric(name).measure(comparison(interacting=False))
    found = measured(metric(name), comparison(interacting=True))
    assert measured(metric(name), comparison(interacting=False)) == alone
    if isinstance(alone, Skipped) or alone.kind == "lower bound":
        assert isinstance(found, Skipped)
        return
    assert isinstance(found, Estimate)
    assert (found.value, found.draws, found.kind) == (alone.value, alone.draws, "estimate")
    assert math.isnan(found.stderr)
    assert not math.isnan(alone.stderr)
    assert found.note == f"{alone.note} {NOTE}".strip()


@pytest.mark.parametrize("kind", ["lower bound", "upper bound"])
def test_a_bound_is_skipped_with_its_reason(kind: str) -> None:
    found = measured(Bound(kind), comparison(interacting=True))
    assert isinstance(found, Skipped)
    assert "a bound holds up to its standard error" in found.reason


def test_an_approximation_that_can_be_drawn_from_afresh_is_left_alone() -> None:
    q: Gaussian = standard(2)
    assert measured(Bound(), compare(q, PROBLEM)) == Estimate(1.0, 0.1, "lower bound", "Its note.")


def test_draws_go_on_interacting_without_those_that_are_copies_or_not_finite() -> None:
    x = normal(rng(1), 2, 50, 2)
    q = Draws(torch.cat([x, x]), {"kept": 1.0}, interacting=True)
    left = without_copies(compare(q, PROBLEM))[0].approximation
    assert isinstance(left, Draws)
    assert left.interacting
    assert left.chains.shape == (2, 50, 2)
    x[0, 3] = math.inf
    q = replace(q, chains=x)
    rest = finite(q, q.sample(100, rng(0)), 2)[1]
    assert isinstance(rest, Draws)
    assert rest.interacting
    assert rest.diagnostics == {"kept": 1.0}


def test_a_cell_keeps_no_standard_error_and_says_why(tmp_path: Path) -> None:
    method = {"name": "svgd", "fields": {"particles": 20, "iterations": 30}}
    store = run(cells([method, "exact"], metrics=("mean_error",)), tmp_path)
    rows = {cell["method"]: cell["key"] for cell in store.cells()}
    found = {row["key"]: row for row in store.rows() if row["metric"] == "mean_error"}
    ours, exact = found[rows["svgd"]], found[rows["exact"]]
    assert ours["value"] > 0
    assert ours["stderr"] is None
    assert ours["kind"] == "estimate"
    assert ours["reason"].endswith(NOTE)
    assert exact["stderr"] > 0
