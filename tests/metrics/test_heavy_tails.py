"""Laws without a variance, or without a mean: figures made of moments that do not exist are skipped
with the reason, and the others read what is right.
"""

from __future__ import annotations

import math

import pytest
import torch

from bench.calibration.heavy import HeavyTails, Student, heavy_itself, heavy_tails
from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.c2st import C2st
from bench.metrics.coverage import Coverage
from bench.metrics.draws import tails
from bench.metrics.draws.samples import standardise
from bench.metrics.kl import KlPQ, KlQP
from bench.metrics.ksd import Ksd
from bench.metrics.mmd import Mmd
from bench.metrics.moments import MeanError, SdError, mean_error, sd_error
from bench.metrics.quantiles import QuantileError, quantile_error
from bench.metrics.sliced_wasserstein import SlicedWasserstein
from problems.base import Problem
from problems.funnel import Funnel
from problems.gaussian import Gaussian2
from problems.student_mixture import StudentMixture
from problems.student_t import StudentT
from tests.helpers.metric_cases import compare, found, normal, rng, within


def judged(metric: Metric, dof: float, n: int = 4000) -> Estimate | Skipped:
    case = heavy_tails(dof)
    q = case.forms["density"]
    return metric.measure(compare(q, case.problem, n=n))


@pytest.mark.parametrize(
    ("dof", "kl_qp", "kl_pq"), [(1.5, 0.107, 0.118), (1.0, 0.0758, 0.0872), (3.0, 0.1825, 0.1825)]
)
def test_divergences_by_densities(dof: float, kl_qp: float, kl_pq: float) -> None:
    assert within(judged(KlQP(), dof), kl_qp, 0.0006)
    assert within(judged(KlPQ(), dof), kl_pq, 0.0006)


@pytest.mark.parametrize("metric", [MeanError(), SdError(), SlicedWasserstein()])
@pytest.mark.parametrize("dof", [1.0, 1.5])
def test_figures_of_moments_are_skipped_with_the_reason(metric: Metric, dof: float) -> None:
    result = judged(metric, dof)
    assert isinstance(result, Skipped)
    assert "The truth has no standard deviation" in result.reason
    assert f"below {dof:.2g} exist" in result.reason


@pytest.mark.parametrize("dof", [1.0, 1.5, 3.0])
@pytest.mark.parametrize(
    ("metric", "quantity"),
    [(QuantileError(), "quantile error"), (Coverage(), "coverage error"), (Mmd(), "MMD^2")],
    ids=["quantile_error", "coverage", "mmd"],
)
def test_metrics_that_need_no_moments(metric: Metric, quantity: str, dof: float) -> None:
    truth = heavy_tails(dof).truth(quantity)
    assert truth is not None
    assert within(judged(metric, dof, 10_000), truth, 0.1 * truth)


def test_a_classifier_comes_near_the_best_there_is() -> None:
    result = found(judged(C2st(), 1.5))
    assert result.value == pytest.approx(0.5995, abs=0.03)


def test_the_truth_itself_is_near_the_ideal_of_every_ruler() -> None:
    case = heavy_itself(1.0)
    comparison = compare(case.forms["draws"], case.problem, n=4000)
    for metric in (Mmd(), Ksd()):
        assert within(metric.measure(comparison), 0.0)


def test_a_variance_without_an_error_is_said() -> None:
    result = found(judged(SdError(), 3.0, 10_000))
    assert "no fourth moment: the interval is too short" in result.note
    assert result.value == pytest.approx(0.5, abs=0.3)


@pytest.mark.parametrize(
    ("problem", "moments"),
    [
        (StudentT(dof=3), 3.0),
        (StudentMixture(dof=2), 2.0),
        (Gaussian2(), math.inf),
        (Funnel(), math.inf),
        (HeavyTails(Student(2, 1.5)), 1.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_problems_that_know_declare(problem: Problem, moments: float) -> None:
    assert problem.moments == moments


@pytest.mark.parametrize("dof", [1.0, 1.2])
@pytest.mark.parametrize("n", [1000, 4000])
def test_draws_tell_where_nobody_declares(dof: float, n: int) -> None:
    for seed in range(5):
        draws, truth = (Student(3, dof).sample(n, rng(10 * seed + i)) for i in (0, 1))
        for figure in (mean_error(draws, truth), sd_error(draws, truth)):
            assert isinstance(figure, Skipped)
        result = found(quantile_error(draws, truth))
        assert "distance of its quartiles" in result.note


@pytest.mark.parametrize("dim", [1, 2, 100])
@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_light_tails_are_never_taken_for_heavy_ones(dim: int, n: int) -> None:
    for seed in range(10):
        assert tails.moments(normal(rng(seed), n, dim), None) == math.inf
        exponential = -torch.rand(n, dim, generator=rng(seed), dtype=torch.float64).log()
        assert tails.moments(exponential, None) == math.inf


def test_hills_index_is_that_of_a_pareto_tail() -> None:
    u = torch.rand(100_000, 1, generator=rng(1), dtype=torch.float64)
    index, stderr = tails.tail_index(u ** (-1 / 1.7) * (u.roll(1) - 0.5).sign())
    assert abs(index - 1.7) < 4 * stderr


def test_the_scale_of_heavy_tails_does_not_hang_on_the_farthest_draw() -> None:
    draws, truth = (Student(3, 1.0).sample(4000, rng(seed)) for seed in (0, 1))
    farther = truth.clone()
    farther[int(truth.norm(dim=1).argmax())] *= 1e6
    plain, moved = standardise(draws, truth, 1.0), standardise(draws, farther, 1.0)
    assert not isinstance(plain, Skipped)
    assert not isinstance(moved, Skipped)
    assert torch.allclose(plain[0], moved[0])
    spread = plain[1].quantile(0.75, dim=0) - plain[1].quantile(0.25, dim=0)
    assert torch.allclose(spread, torch.full((3,), 1.349, dtype=torch.float64), rtol=0.05)


def test_half_of_a_heavy_coordinate_in_one_place_has_no_scale() -> None:
    truth = Student(1, 1.0).sample(1000, rng(0))
    truth[:800] = 1.0
    result = standardise(truth, truth, 1.0)
    assert isinstance(result, Skipped)
    assert "middle half" in result.reason


def test_a_map_of_the_same_draws_is_judged_alike_with_and_without_a_declaration() -> None:
    case = heavy_tails(1.0)
    draws, truth = (case.problem.truth.sample(4000, rng(seed)) for seed in (0, 1))
    comparison = Comparison(case.problem, case.forms["draws"], draws, truth)
    assert isinstance(MeanError().measure(comparison), Skipped)
    assert isinstance(mean_error(draws, truth), Skipped)
