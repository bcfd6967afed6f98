"""Lower bounds on KL(q||p) from draws alone: density models and classifiers, held against pairs
whose divergence is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from bench.calibration.case import Case
from bench.calibration.cases import folding, gaussian, lost_mode
from bench.calibration.gaussians import DrawsOnly
from bench.fitting.exact import TruthItself
from bench.metrics.base import Comparison, Metric, Skipped
from bench.metrics.classifier import KlClassifier
from bench.metrics.kl_bounds import KlLower, KlUpper
from bench.metrics.models import density_model, flow_model, gaussian_mixture, scores
from bench.metrics.models.scores import bound, walk
from methods.base import Draws
from methods.parts.networks import zuko_flow
from tests.helpers import metric_cases as cases
from tests.helpers.bracket_maps import average_within
from tests.helpers.metric_cases import SIGMAS, StandardNormal, compare, found, normal, rng


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound holds however little its score has learnt."""
    monkeypatch.setattr(scores, "STEPS", 100)
    monkeypatch.setattr(scores, "EVERY", 50)


PAIRS = [
    gaussian(
        "shift", 0.7 * torch.eye(10, dtype=torch.float64)[0], torch.eye(10, dtype=torch.float64)
    )
]
PAIRS += [lost_mode("half", 2, 0.5), lost_mode("tenth", 5, 0.9), folding(2)]


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: f"{case.name}-{case.problem.dim}")
@pytest.mark.parametrize("metric", [KlLower(), KlClassifier()], ids=lambda metric: metric.name)
def test_bounds_from_draws_stay_below_the_truth(metric: Metric, case: Case) -> None:
    truth = case.truths["KL(q||p)"]
    result = found(metric.measure(compare(case.forms["draws"], case.problem)))
    assert result.kind == "lower bound"
    assert result.value < truth + SIGMAS * result.stderr
    assert result.value > 0.1 * truth


@pytest.mark.parametrize("metric", [KlLower(), KlClassifier()], ids=lambda metric: metric.name)
def test_truth_beside_itself_proves_nothing(metric: Metric) -> None:
    problem = StandardNormal(10)
    result = found(metric.measure(compare(TruthItself(problem.truth), problem)))
    assert -0.05 < result.value < SIGMAS * result.stderr


def test_draws_alone_have_no_upper_bound() -> None:
    result = KlUpper().measure(compare(DrawsOnly(cases.standard(2)), StandardNormal(2)))
    assert isinstance(result, Skipped)
    assert "no upper bound" in result.reason


def test_bound_of_a_score() -> None:
    """The average over folds, and the variance of an average over folds; e^T over p counts."""
    at_q = [normal(rng(0), 2000) + 1, normal(rng(1), 2000) + 3]
    at_p = [torch.zeros(2000, dtype=torch.float64), normal(rng(2), 2000) / 10 + 0.5]
    comparison = compare(DrawsOnly(cases.standard(2)), StandardNormal(2))
    result = found(bound(at_q, at_p, comparison))
    assert result.value == pytest.approx(2 + 0.5 * (1 - math.exp(0.505)), abs=0.08)
    assert result.stderr == pytest.approx(math.sqrt(2 / 2000) / 2, rel=0.1)
    at_q[0][5] = math.nan
    assert isinstance(bound(at_q, at_p, comparison), Skipped)


def test_successive_draws_of_a_chain_count_as_few() -> None:
    series = normal(rng(0), 4000)
    assert walk(series, compare(DrawsOnly(cases.standard(2)), StandardNormal(2))) == 1.0
    chains = compare(cases.autoregressive(0.95, rng(5)), StandardNormal(2), n=4000)
    assert walk(series, chains) > 20  # (1 + rho) / (1 - rho) = 39 by the slowest coordinate
    independent = compare(Draws(normal(rng(5), 4, 1000, 2)), StandardNormal(2), n=4000)
    assert walk(series, independent) < 2
    assert walk(chains.draws[:, 0], independent) > 20  # by the values themselves


@pytest.mark.parametrize("metric", [KlLower(), KlClassifier()], ids=lambda metric: metric.name)
def test_chains_are_cross_fitted_and_widen_the_interval(metric: Metric) -> None:
    problem = StandardNormal(2)
    walk = found(metric.measure(compare(cases.autoregressive(0.95, rng(5)), problem, n=4000)))
    independent = found(metric.measure(compare(Draws(normal(rng(5), 4, 1000, 2)), problem, n=4000)))
    assert walk.value < SIGMAS * walk.stderr
    assert independent.value < SIGMAS * independent.stderr
    assert walk.stderr > 1.5 * independent.stderr
    far = found(metric.measure(compare(Draws(normal(rng(5), 4, 1000, 2) + 1), problem, n=4000)))
    assert 0.7 < far.value < 1 + SIGMAS * far.stderr  # the truth is 1 nat


@pytest.mark.parametrize("metric", [KlLower(), KlClassifier()], ids=lambda metric: metric.name)
def test_what_cannot_be_judged_is_skipped(metric: Metric) -> None:
    problem = StandardNormal(2)
    few = metric.measure(compare(DrawsOnly(cases.standard(2)), problem, n=50))
    assert isinstance(few, Skipped)
    assert "50 draws are too few" in few.reason
    sample = normal(rng(0), 500, 2)
    shared = metric.measure(Comparison(problem, Draws(sample.unsqueeze(0)), sample, sample))
    assert isinstance(shared, Skipped)
    assert "draws of the truth as well" in shared.reason
    infinite = sample.clone()
    infinite[3, 1] = math.inf
    broken = metric.measure(
        Comparison(problem, Draws(infinite.unsqueeze(0)), infinite, normal(rng(1), 500, 2))
    )
    assert isinstance(broken, Skipped)
    assert "not finite" in broken.reason


def test_units_do_not_matter_to_the_classifier() -> None:
    one = gaussian(
        "shift", torch.tensor([0.7, 0.0], dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    )
    plain = compare(one.forms["draws"], one.problem)
    stretch = torch.tensor([1.0, 1e3], dtype=torch.float64)
    other = Comparison(
        one.problem,
        Draws((plain.draws * stretch).unsqueeze(0)),
        plain.draws * stretch,
        plain.truth * stretch,
    )
    blind = replace(plain, approximation=Draws(plain.draws.unsqueeze(0)), seed=0)
    values = [found(_without_density(part)).value for part in (blind, other)]
    assert values[0] == pytest.approx(values[1], abs=0.02)


def _without_density(comparison: Comparison):  # type: ignore[no-untyped-def]
    return KlClassifier().measure(replace(comparison, problem=_Flat(2)))


@dataclass(frozen=True)
class _Flat(StandardNormal):
    """A problem whose stored draws are all that is known of it."""

    stored: bool = True

    def log_density(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z[..., 0])


# Density models


def test_mixture_is_found_again() -> None:
    case = lost_mode("half", 3, 0.5)
    draws, more = (case.problem.truth.sample(2000, rng(seed)) for seed in (0, 1))
    found_ = gaussian_mixture.choose(draws, more, (1, 2, 4, 8), rng(2))
    assert len(found_.means) == 2
    fresh = case.problem.truth.sample(5000, rng(3))
    gap = case.problem.log_density(fresh) - case.problem.truth.log_z - found_.log_prob(fresh)  # type: ignore[operator]
    assert average_within(gap, 0.0, 0.02)


def test_mixture_integrates_to_one() -> None:
    mixture = gaussian_mixture.fit(normal(rng(0), 500, 1) * 2 + 1, 3, rng(1))
    grid = torch.linspace(-20, 20, 4001, dtype=torch.float64).unsqueeze(-1)
    assert float(mixture.log_prob(grid).exp().sum() * 0.01) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.skipif(not zuko_flow.available(), reason="zuko is not installed")
def test_flow_is_a_density_and_leaves_the_global_state_alone() -> None:
    sample, other, fresh = (
        1 + 2 * normal(rng(seed), count, 2) for seed, count in ((0, 2000), (1, 500), (3, 5000))
    )
    state = torch.get_rng_state()
    log_prob, again = (flow_model.fit(sample, other, 60, rng(2)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    axis = torch.linspace(-12, 14, 131, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    assert torch.equal(log_prob(grid), again(grid))
    assert float(log_prob(grid).exp().sum() * 0.2**2) == pytest.approx(1.0, abs=0.01)
    assert -float(log_prob(fresh).mean()) == pytest.approx(math.log(8 * math.pi * math.e), abs=0.1)


@pytest.mark.skipif(not zuko_flow.available(), reason="zuko is not installed")
def test_flow_is_one_of_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density_model, "COMPONENTS", (1,))
    case = folding(2)
    result = found(
        KlLower(flow_steps=150).measure(compare(case.forms["draws"], case.problem, n=1000))
    )
    assert result.note == "Proved by a neural spline flow."
    assert result.value < case.truths["KL(q||p)"] + SIGMAS * result.stderr


def test_flow_without_its_library_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zuko_flow, "available", lambda: False)
    result = KlLower(flow_steps=10).measure(
        compare(DrawsOnly(cases.standard(2)), StandardNormal(2))
    )
    assert isinstance(result, Skipped)
    assert "pip install zuko" in result.reason
