"""The calibration of the metrics: pairs with the figures stated, a table that says what it should,
and a reduced run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from bench.calibration.calibrate import Repetitions, Row, calibrate, holds, tasks
from bench.calibration.case import Case
from bench.calibration.cases import (
    Law,
    at_dimension,
    folding,
    gaussian,
    itself,
    lost_mode,
    mirrored,
)
from bench.calibration.estimator import Estimator
from bench.calibration.estimators import estimators
from bench.calibration.fold import Fold, Waves
from bench.calibration.gaussians import single
from bench.calibration.rivals import GaussianFit, NeighbourEntropy, RawNeighbours
from bench.calibration.table import figures, markdown, undercovers, wrong_side
from bench.metrics.base import Comparison, Estimate, Kind, Metric, Skipped
from bench.metrics.models import scores
from tests.helpers.metric_cases import SIGMAS, compare, found, normal, rng

KNOWN = [case for dim in (2, 10) for case in at_dimension(dim) if "density" in case.forms]


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: f"{case.name}-{case.problem.dim}")
def test_figures_are_as_stated(case: Case) -> None:
    q, p, log_z = case.forms["density"], case.problem, case.problem.truth.log_z
    assert log_z is not None
    ways = {"KL(q||p)": q.sample(20_000, rng(1)), "KL(p||q)": p.truth.sample(20_000, rng(2))}
    for quantity in ways.keys() & case.truths.keys():
        truth, z = case.truths[quantity], ways[quantity]
        log_q, log_p = q.log_prob(z), p.log_density(z) - log_z
        assert log_q is not None
        values = log_q - log_p if quantity == "KL(q||p)" else log_p - log_q
        assert (
            abs(float(values.mean()) - truth)
            < SIGMAS * float(values.std()) / math.sqrt(len(z)) + 1e-6
        )


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: f"{case.name}-{case.problem.dim}")
def test_forms_are_of_one_approximation(case: Case) -> None:
    for form, approximation in case.forms.items():
        draws = approximation.sample(20_000, rng(3))
        other = case.forms["density"].sample(20_000, rng(4))
        gap = (
            (draws.mean(0) - other.mean(0)).abs()
            / (draws.var(0) + other.var(0)).sqrt()
            * math.sqrt(20_000)
        )
        assert gap.max() < SIGMAS + 1
        assert (approximation.log_prob(draws[:2]) is not None) == (form == "density")


def test_mirrored_gaussian_is_the_one_of_the_facts() -> None:
    case = mirrored()
    assert case.truths["KL(q||p)"] == pytest.approx(0.484, abs=0.003)
    assert case.problem.dim == 10


@pytest.mark.parametrize("dim", [2, 4])
def test_laws_integrate_to_one(dim: int) -> None:
    """By importance sampling from a wide Student t, of the fold and of the waves that it
    lives in.
    """
    waves, count = Waves(dim), 200_000
    y = normal(rng(5), count, dim) * 1.5
    y[:, 0] = y[:, 0] / 1.5 / normal(rng(6), count, 2).square().mean(-1).sqrt()
    log_g = -1.5 * torch.log1p(y[:, 0].square() / 2) - math.log(2 * math.sqrt(2))
    log_g = log_g + (-0.5 * (y[:, 1:] / 1.5).square() - math.log(1.5 * math.sqrt(2 * math.pi))).sum(
        -1
    )
    for log_density in (waves.log_density, Fold(dim).log_density):
        weights = (log_density(waves.push(y)) - log_g).exp()
        assert abs(float(weights.mean()) - 1) < SIGMAS * float(weights.std()) / math.sqrt(count)


def test_waves_undo() -> None:
    y = normal(rng(0), 20, 5)
    torch.testing.assert_close(Waves(5).pull(Waves(5).push(y)), y)


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        ("exact", 1.9, True),
        ("exact", 2.1, False),
        ("estimate", -2.1, False),
        ("lower bound", 1.9, True),
        ("lower bound", 2.1, False),
        ("lower bound", -9.0, True),
        ("upper bound", -1.9, True),
        ("upper bound", -2.1, False),
        ("upper bound", 9.0, True),
    ],
)
def test_an_interval_holds_or_not(kind: Kind, value: float, held: bool) -> None:
    assert holds(Estimate(3 + value, 1.0, kind), 3.0) == held


# What others use, on what it is right for


def test_other_rulers_are_as_published() -> None:
    case = gaussian(
        "shift", torch.tensor([0.7, 0.0], dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    )
    comparison = compare(case.forms["draws"], case.problem, n=4000)
    for metric in (RawNeighbours(), NeighbourEntropy(), GaussianFit()):
        assert abs(found(metric.measure(comparison)).value - 0.245) < 0.1


# The run


@dataclass(frozen=True)
class Constant(Metric):
    """The same figure every time, with an interval that is far too short."""

    name: ClassVar[str] = "constant"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        if len(comparison.draws) < 20:
            return Skipped("too few")
        return Estimate(0.5, 1e-3, "exact")


@dataclass(frozen=True)
class Seed(Metric):
    """What tells one comparison from another."""

    name: ClassVar[str] = "seed"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return Estimate(float(comparison.draws.sum()) + comparison.seed % 97, 0.0, "estimate")


def nothing() -> Case:
    return itself(
        "itself",
        Law(single(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))),
    )


def test_a_ruler_can_be_plugged_in() -> None:
    rows = calibrate(
        [nothing()],
        [Estimator("mine", Constant(), "draws", "mine")],
        sizes=(10, 50),
        repetitions=Repetitions(3, 2),
    )
    assert [(row.n, row.tried, row.skipped, row.covered) for row in rows] == [
        (10, 0, 3, 0),
        (50, 3, 0, 0),
    ]
    assert rows[1].bias == 0.5
    assert undercovers(replace(rows[1], tried=20))
    text = markdown(rows, "Made by hand.")
    assert "skipped" in text
    assert "too seldom: mine, itself, d = 2, n = 50: 0 of 3" in text


def test_quantity_that_is_not_known_is_left_out() -> None:
    case = lost_mode("half", 2, 0.5)
    assert (
        tasks([case], [Estimator("mine", Constant(), "draws", "mine")], [100], Repetitions()) == []
    )
    assert (
        tasks([nothing()], [Estimator("mine", Constant(), "map", "mine")], [100], Repetitions())
        == []
    )


def test_costly_ones_are_repeated_less() -> None:
    costly = Estimator("costly", Constant(), "draws", "mine", cheap_up_to=100)
    counts = [
        len(task.estimators[0][1])
        for task in tasks([nothing()], [costly], (100, 200), Repetitions(7, 3))
    ]
    assert counts == [7, 3]


def test_repetitions_differ_and_come_again() -> None:
    seed = [Estimator("seed", Seed(), "draws", "mine")]
    first, again = (
        calibrate([nothing()], seed, sizes=(50,), repetitions=Repetitions(4, 4)) for _ in range(2)
    )
    assert first[0].bias == again[0].bias
    assert first[0].sd > 0


def test_processes_find_the_same() -> None:
    few = [
        estimator
        for estimator in estimators()
        if estimator.name in ("kl_qp, density", "Gaussian fit")
    ]
    pairs = [
        gaussian("shift", torch.ones(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)),
        folding(2),
    ]
    done: list[tuple[int, int]] = []
    alone, together = (
        calibrate(
            pairs,
            few,
            sizes=(100,),
            repetitions=Repetitions(3, 3),
            jobs=jobs,
            progress=lambda i, n: done.append((i, n)),
        )
        for jobs in (1, 2)
    )
    assert [replace(row, seconds=0.0) for row in alone] == [
        replace(row, seconds=0.0) for row in together
    ]
    assert done == [(i, 4) for i in (1, 2, 3, 4)] * 2


def test_bounds_on_the_wrong_side_are_named() -> None:
    row = Row(
        "pair",
        2,
        1000,
        "metric",
        "KL(q||p)",
        "draws",
        True,
        "lower bound",
        1.0,
        0,
        0.1,
        0.1,
        0.1,
        100,
        100,
        0.1,
    )
    assert wrong_side(row)
    assert not wrong_side(replace(row, bias=-0.1))
    assert not wrong_side(replace(row, bias=0.015))
    assert wrong_side(replace(row, kind="upper bound", bias=-0.1))
    assert "wrong side: metric, pair, d = 2, n = 1,000: +0.1000 ± 0.0100" in markdown([row])
    assert "+0.100 ± 0.100, 100% **!**" in figures([row])
    assert undercovers(replace(row, covered=85))
    assert not undercovers(replace(row, covered=90))


def test_reduced_calibration_meets_the_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of pair, every divergence of ours: intervals that claim to cover do, and bounds
    stand on their own side.
    """
    monkeypatch.setattr(scores, "STEPS", 100)
    monkeypatch.setattr(scores, "EVERY", 50)
    pairs = [case for case in [*at_dimension(2), folding(10)] if case.truth("KL(q||p)") is not None]
    divergences = [each for each in estimators() if each.quantity.startswith("KL")]
    rows = calibrate(pairs, divergences, sizes=(1000,), repetitions=Repetitions(12, 2))
    ours = [row for row in rows if row.ours and row.kind != "estimate"]
    assert {row.estimator for row in ours} == {each.name for each in divergences if each.ours} - {
        "kl_knn",
        "kl_knn, chain",
    }
    assert not [row for row in ours if undercovers(row)]
    assert not [row for row in ours if wrong_side(row) and row.tried > 2]
    for dim in (2, 10):
        low, high = (
            next(
                row
                for row in ours
                if row.estimator == name
                and row.kind
                and (row.case, row.dim) == ("folding map", dim)
            )
            for name in ("kl_lower, map", "kl_upper, map")
        )
        assert 0 <= high.bias - low.bias < 0.05
    text = markdown(rows)
    assert all(f"| {case.name} | {case.problem.dim} |" in text for case in pairs)
