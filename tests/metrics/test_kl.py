"""Divergences and ELBO against closed forms: values, kinds, intervals, and what is said where there
is no figure.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from bench.metrics.base import Metric, Skipped
from bench.metrics.brackets import own
from bench.metrics.draws.monte_carlo import average
from bench.metrics.elbo import Elbo, ElboGap
from bench.metrics.kl import KlPQ, KlQP
from methods.base import Approximation, Draws
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import Affine, Folded, StandardNormal, compare, found, within

DIMS = (2, 10)


def expected(metric: Metric, q: cases.Gaussian, problem: StandardNormal) -> float:
    p = cases.standard(problem.dim)
    if isinstance(metric, KlPQ):
        return p.kl(q)
    return problem.log_z - q.kl(p) if isinstance(metric, Elbo) else q.kl(p)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("pair", cases.PAIRS)
@pytest.mark.parametrize(
    "metric", [KlQP(), KlPQ(), Elbo(), ElboGap()], ids=lambda metric: metric.name
)
def test_density_known_gives_the_closed_form(metric: Metric, pair: str, dim: int) -> None:
    q, problem = cases.PAIRS[pair](dim), StandardNormal(dim)
    result = found(metric.measure(compare(q, problem)))
    assert result.kind == "exact"
    assert within(result, expected(metric, q, problem))


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("pair", cases.PAIRS)
@pytest.mark.parametrize("metric", [KlQP(), Elbo(), ElboGap()], ids=lambda metric: metric.name)
def test_one_to_one_map_gives_the_closed_form(metric: Metric, pair: str, dim: int) -> None:
    q, problem = cases.PAIRS[pair](dim), StandardNormal(dim)
    result = found(metric.measure(compare(Affine(q), problem)))
    assert result.kind == "exact"
    assert "one sign on all 101000 draws" if dim == 2 else "one sign on all" in result.note
    assert within(result, expected(metric, q, problem))


@pytest.mark.parametrize("metric", [KlQP(), KlPQ()], ids=lambda metric: metric.name)
@pytest.mark.parametrize("pair", ["shift", "scale", "correlation"])
@pytest.mark.parametrize("dim", DIMS)
def test_exact_intervals_cover(
    metric: Metric, pair: str, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "MOST", 2_000)  # fresh draws: more would take longer, not cover better
    q, problem = cases.PAIRS[pair](dim), StandardNormal(dim)
    truth = expected(metric, q, problem)
    results = [found(metric.measure(compare(q, problem, seed, n=500))) for seed in range(100)]
    assert sum(abs(result.value - truth) < 1.96 * result.stderr for result in results) >= 88


def test_folding_map_gives_lower_bounds() -> None:
    comparison = compare(Folded(), StandardNormal(2))
    folded = math.log(2)  # each point has two preimages of equal weight, and the search finds both
    for metric, kind, value in (
        (KlQP(), "lower bound", folded),
        (ElboGap(), "lower bound", folded),
        (Elbo(), "upper bound", 1.5 - folded),
    ):
        result = found(metric.measure(comparison))
        assert result.kind == kind
        assert "folds" in result.note
        assert result.value == pytest.approx(value, abs=1e-9)


def test_map_draws_fresh_noise_from_the_comparison() -> None:
    approximation, problem = Affine(cases.shifted(2)), StandardNormal(2)
    first, again = compare(approximation, problem, seed=1), compare(approximation, problem, seed=1)
    assert KlQP().measure(first) == KlQP().measure(again)
    assert KlQP().measure(first) != KlQP().measure(compare(approximation, problem, seed=2))


def test_singular_map_has_no_density() -> None:
    flat = cases.Gaussian(
        torch.zeros(2, dtype=torch.float64),
        torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64),
    )
    result = ElboGap().measure(compare(Affine(flat), StandardNormal(2)))
    assert isinstance(result, Skipped)
    assert "singular" in result.reason


def test_map_of_less_noise_falls_back_on_neighbours() -> None:
    map_ = Affine(
        cases.Gaussian(
            torch.zeros(2, dtype=torch.float64), torch.eye(2, 1, dtype=torch.float64) + 0.1
        )
    )
    result = found(KlQP().measure(compare(map_, StandardNormal(2))))
    assert result.kind == "estimate"
    assert "KL(q||p) is infinite" in result.note
    assert isinstance(ElboGap().measure(compare(map_, StandardNormal(2))), Skipped)


def test_map_of_more_noise_is_bounded() -> None:
    factor = torch.eye(2, 3, dtype=torch.float64) + 0.1
    comparison = compare(
        Affine(cases.Gaussian(torch.zeros(2, dtype=torch.float64), factor)), StandardNormal(2)
    )
    covariance = factor @ factor.T
    truth = 0.5 * float(covariance.trace() - 2 - covariance.logdet())
    for metric in (KlQP(), ElboGap()):
        result = found(metric.measure(comparison))
        assert result.kind == "lower bound"
        assert "3 noise dimensions" in result.note
        assert abs(result.value - truth) < cases.SIGMAS * result.stderr + 0.01


@pytest.mark.parametrize("metric", [KlQP(), KlPQ()], ids=lambda metric: metric.name)
def test_draws_alone_fall_back_on_neighbours(metric: Metric) -> None:
    chains = cases.normal(cases.rng(3), 4, 500, 2)
    result = found(metric.measure(compare(Draws(chains), StandardNormal(2))))
    assert result.kind == "estimate"
    assert "Nearest neighbours" in result.note
    assert within(result, 0.0)


def test_log_z_of_a_reference_enters_the_standard_error() -> None:
    q = cases.shifted(2)
    exact = found(KlQP().measure(compare(q, StandardNormal(2))))
    reference = found(KlQP().measure(compare(q, StandardNormal(2, stored=True, log_z_stderr=0.3))))
    assert reference.stderr == pytest.approx(math.hypot(exact.stderr, 0.3))


def test_reference_without_log_z() -> None:
    comparison = compare(cases.shifted(2), StandardNormal(2, stored=True))
    for metric in (KlQP(), KlPQ()):
        result = found(metric.measure(comparison))
        assert result.kind == "estimate"
        assert "no log Z" in result.note
    assert isinstance(ElboGap().measure(comparison), Skipped)
    assert within(Elbo().measure(comparison), expected(Elbo(), cases.shifted(2), StandardNormal(2)))


@dataclass(frozen=True, eq=False)
class HalfLine(Approximation):
    """A normal cut at z_1 = 0 and doubled: no mass where the truth has half of its own."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return Folded().sample(n, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.where(z[..., 0] > 0, cases.standard(2).log_prob(z) + math.log(2), -math.inf)


def test_missing_support_is_infinite_one_way_and_log_two_the_other() -> None:
    comparison = compare(HalfLine(), StandardNormal(2))
    result = KlPQ().measure(comparison)
    assert isinstance(result, Skipped)
    assert "KL(p||q) is infinite" in result.reason
    assert within(KlQP().measure(comparison), math.log(2))


@dataclass(frozen=True)
class Broken(StandardNormal):
    """A density that is NaN on one side."""

    def log_density(self, z: Tensor) -> Tensor:
        return torch.where(z[..., 0] > 0, super().log_density(z), math.nan)


@pytest.mark.parametrize(
    "metric", [KlQP(), KlPQ(), Elbo(), ElboGap()], ids=lambda metric: metric.name
)
def test_density_that_is_not_a_number_is_skipped_with_the_count(metric: Metric) -> None:
    result = metric.measure(compare(cases.shifted(2), Broken(2)))
    assert isinstance(result, Skipped)
    assert re.match(r"\d+ of the \d+ log density ratios are not finite", result.reason)


def test_one_dominant_draw_is_noted() -> None:
    values = cases.normal(cases.rng(0), 1000)
    assert average(values, "exact").note == ""
    values[3] = 1e4
    assert "One of 1000 draws carries 100% of the variance" in average(values, "exact").note
