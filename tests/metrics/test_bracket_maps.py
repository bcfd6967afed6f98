"""Brackets on KL(q||p) of maps: both ends, their kinds and their standard errors, against
divergences that are known.
"""

from __future__ import annotations

import math
import re

import pytest
import torch

from bench.calibration.cases import folding
from bench.calibration.fold import Fold, Waves
from bench.calibration.rivals import OnePreimage
from bench.checks.metric import check_metric
from bench.metrics import kl
from bench.metrics.base import Estimate, Metric, Skipped
from bench.metrics.brackets import auxiliary, map_draws, preimages
from bench.metrics.brackets import bracket as brackets
from bench.metrics.brackets.pushforward import branch
from bench.metrics.classifier import KlClassifier
from bench.metrics.evidence import LogZError
from bench.metrics.kl import KlQP
from bench.metrics.kl_bounds import KlLower, KlUpper
from bench.metrics.models import scores
from tests.helpers import metric_cases as cases
from tests.helpers.bracket_maps import (
    Bounded,
    Breathing,
    Capped,
    FoldedBreathing,
    Squared,
    average_within,
)
from tests.helpers.metric_cases import SIGMAS, StandardNormal, compare, found, normal, rng

SEARCHED = 500


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound holds however little its score has learnt."""
    monkeypatch.setattr(scores, "STEPS", 100)
    monkeypatch.setattr(scores, "EVERY", 50)


def test_excess_enters_value_and_standard_error() -> None:
    ratio, more = normal(rng(0), 4000), 3 * normal(rng(1), 1000) + 1
    first = Estimate(0.0, 0.0, "lower bound", "note")
    whole = found(brackets.with_excess(first, ratio, more, 0.0))
    assert whole.value == pytest.approx(float(ratio.mean() + more.mean()))
    assert whole.stderr == pytest.approx(math.sqrt(1 / 4000 + 9 / 1000), rel=0.1)
    assert found(brackets.with_excess(first, ratio, -ratio[3000:], 0.5)).stderr == pytest.approx(
        0.5, rel=0.01
    )
    more[7] = -math.inf
    assert isinstance(brackets.with_excess(first, ratio, more, 0.0), Skipped)


@pytest.mark.parametrize("dim", [2, 5, 10, 30])
def test_bracket_of_a_folding_map(dim: int) -> None:
    case = folding(dim)
    truth, comparison = case.truths["KL(q||p)"], compare(case.forms["map"], case.problem)
    lower, upper_ = (
        found(KlLower(SEARCHED).measure(comparison)),
        found(KlUpper(SEARCHED).measure(comparison)),
    )
    assert (lower.kind, upper_.kind) == ("lower bound", "upper bound")
    assert "The map folds" in lower.note
    assert lower.value - SIGMAS * lower.stderr < truth < upper_.value + SIGMAS * upper_.stderr
    assert 0 <= upper_.value - lower.value < 0.05
    assert abs(lower.value - truth) < SIGMAS * lower.stderr
    single = found(OnePreimage().measure(comparison))
    assert single.value < truth - 0.3


@pytest.mark.parametrize("dim", [2, 10])
@pytest.mark.parametrize("pair", ["shift", "scale", "correlation"])
def test_one_to_one_map_is_exact(pair: str, dim: int) -> None:
    q = cases.PAIRS[pair](dim)
    comparison = compare(cases.Affine(q), StandardNormal(dim))
    lower, upper_ = (
        found(KlLower(SEARCHED).measure(comparison)),
        found(KlUpper(SEARCHED).measure(comparison)),
    )
    assert lower.kind == "exact"
    assert re.search(r"one sign on all \d+ draws, and", lower.note)
    assert cases.within(lower, q.kl(cases.standard(dim)))
    assert 0 <= upper_.value - lower.value < 0.005


def test_map_of_one_sign_that_covers_twice_is_not_called_exact() -> None:
    comparison = compare(Squared(), StandardNormal(2))
    single, lower = (
        found(OnePreimage().measure(comparison)),
        found(KlLower(SEARCHED).measure(comparison)),
    )
    assert lower.kind == "lower bound"
    assert re.search(r"one sign on all \d+ draws, yet", lower.note)
    upper_ = found(KlUpper(SEARCHED).measure(comparison))
    assert upper_.value - lower.value < 0.05
    truth = single.value + math.log(2)  # both preimages weigh the same
    assert abs(lower.value - truth) < SIGMAS * math.hypot(lower.stderr, single.stderr)


def test_bounded_map_is_not_called_exact() -> None:
    lower = found(KlLower(SEARCHED).measure(compare(Bounded(), StandardNormal(2))))
    assert lower.kind == "lower bound"
    assert "does not grow" in lower.note


@pytest.mark.parametrize(("dim", "width"), [(2, 0.05), (10, 0.2)])
def test_bracket_of_a_map_with_more_noise_than_coordinates(dim: int, width: float) -> None:
    map_ = Breathing(dim)
    comparison = compare(map_, StandardNormal(dim))
    lower, upper_ = (
        found(KlLower(1000).measure(comparison)),
        found(KlUpper(1000).measure(comparison)),
    )
    assert (lower.kind, upper_.kind) == ("lower bound", "upper bound")
    many = map_.sample(20_000, rng(5))
    values = torch.cat([map_.log_density(part) for part in many.chunk(20)]) - cases.standard(
        dim
    ).log_prob(many)
    truth, slack = float(values.mean()), SIGMAS * float(values.std()) / math.sqrt(len(values))
    assert (
        lower.value - SIGMAS * lower.stderr - slack
        < truth
        < upper_.value + SIGMAS * upper_.stderr + slack
    )
    assert upper_.value - lower.value < width


@pytest.mark.parametrize("dim", [2, 10])
def test_noise_integrated_out_brackets_the_known_density(dim: int) -> None:
    map_ = Breathing(dim)
    result = auxiliary.bounds(map_, dim, (1000, 1000, 400), rng(6))
    assert result is not None
    truth = map_.log_density(result.points[1000:]) - result.log_q[1000:]
    assert average_within(truth - result.lower, 0.0)
    assert average_within(result.upper - truth, 0.0)
    assert average_within(result.upper - result.lower, 0.0, 0.1)
    assert average_within(-truth, 0.02)  # one weight alone is an upper bound, and a loose one


@pytest.mark.parametrize("rounds", [0, 7])
def test_noise_integrated_out_of_a_folding_map(
    rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preimages, "FIRST", 3 if rounds else 1)
    monkeypatch.setattr(preimages, "ROUNDS", rounds)
    map_ = FoldedBreathing(2)
    result = auxiliary.bounds(map_, 2, (1000, 1000, 400), rng(6))
    assert result is not None
    truth = map_.log_density(result.points[1000:]) - result.log_q[1000:]
    assert average_within(truth - result.lower, 0.0)
    assert average_within(result.upper - truth, 0.0)
    if rounds:
        assert result.missed < 0.02
        assert float((result.upper - result.lower).mean()) < 0.15
    else:
        assert result.missed > 0.1
        assert average_within(result.upper - truth, 0.1)


def test_a_bad_proposal_widens_the_bounds_and_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auxiliary, "PROPOSALS", 2)
    monkeypatch.setattr(auxiliary, "COMPONENTS", (1,))
    map_ = Breathing(10)
    result = auxiliary.bounds(map_, 10, (500, 500, 400), rng(6))
    assert result is not None
    truth = map_.log_density(result.points[500:]) - result.log_q[500:]
    assert average_within(truth - result.lower, 0.1)
    assert average_within(result.upper - truth, 0.1)


@pytest.mark.parametrize(("noise", "words"), [(1, "KL(q||p) is infinite"), (2, "singular at")])
@pytest.mark.parametrize("metric", [KlLower(), KlUpper()], ids=lambda metric: metric.name)
def test_map_without_a_density_has_no_bracket(metric: Metric, noise: int, words: str) -> None:
    factor = torch.ones(2, noise, dtype=torch.float64)
    flat = cases.Affine(cases.Gaussian(torch.zeros(2, dtype=torch.float64), factor))
    result = metric.measure(compare(flat, StandardNormal(2)))
    assert isinstance(result, Skipped)
    assert words in result.reason


@pytest.mark.parametrize("metric", [KlLower(), KlUpper()], ids=lambda metric: metric.name)
def test_density_is_used_where_there_is_one(metric: Metric) -> None:
    comparison = compare(cases.shifted(3), StandardNormal(3))
    assert metric.measure(comparison) == KlQP().measure(comparison)


def test_uncertain_log_z_enters_the_standard_error() -> None:
    q = cases.Affine(cases.shifted(2))
    sure = found(KlUpper(SEARCHED).measure(compare(q, StandardNormal(2))))
    unsure = found(
        KlUpper(SEARCHED).measure(compare(q, StandardNormal(2, stored=True, log_z_stderr=0.3)))
    )
    assert unsure.stderr == pytest.approx(math.hypot(sure.stderr, 0.3))
    nothing = compare(q, StandardNormal(2, stored=True))
    assert isinstance(KlUpper(SEARCHED).measure(nothing), Skipped)
    assert "classifier" in found(KlLower(SEARCHED).measure(nothing)).note


# The contract


@pytest.mark.parametrize(
    "metric", [KlLower(100), KlUpper(100), KlClassifier()], ids=lambda metric: metric.name
)
def test_metric_keeps_the_contract(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "STEPS", 50)
    assert [finding for finding in check_metric(metric) if finding.outcome == "fail"] == []


def test_settings_out_of_range() -> None:
    for kind in (KlLower, KlUpper):
        with pytest.raises(
            ValueError, match=rf"{kind.__name__}\(searched=\.\.\.\) must be at least 20, got 3"
        ):
            kind(searched=3)
    with pytest.raises(ValueError, match=r"KlLower\(flow_steps=\.\.\.\) must be 0 or more, got -1"):
        KlLower(flow_steps=-1)


def test_weights_of_a_folding_map_count_every_preimage() -> None:
    """Weights by the one preimage that is known count the mass of p once for each that there is."""
    comparison = compare(Fold(2), Waves(2), n=4000)
    result = found(LogZError().measure(comparison))
    assert abs(result.value) < SIGMAS * result.stderr + 0.01
    eps = normal(rng(0), 20_000, 2)
    one = branch(Fold(2), eps)
    assert (
        float((Waves(2).log_density(one.points) - one.log_q).logsumexp(0)) - math.log(20_000) > 0.05
    )


def test_a_flat_place_that_only_the_searched_draws_hit_is_named() -> None:
    eps, more = normal(rng(0), 500, 2).clamp(max=2.9), normal(rng(1), 40, 2).clamp(max=2.9)
    more[7, 0] = 3.5
    known = branch(Capped(), eps)
    found_ = map_draws._of_square_map(Capped(), preimages.Atlas(eps, known), known, more, rng(2))
    assert isinstance(found_, Skipped)
    assert "singular at 1 of 40 draws" in found_.reason


def test_a_bound_that_is_open_below_sends_kl_on_to_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = brackets.Bracket(
        Skipped("No bound was found at 3 of 20 draws."), Estimate(0.7, 0.1, "upper bound")
    )
    monkeypatch.setattr(kl, "bracket", lambda *_: ends)
    result = found(KlQP().measure(compare(Breathing(2), StandardNormal(2))))
    assert result.kind == "estimate"
    assert result.note.startswith("No bound was found at 3 of 20 draws. Nearest neighbours")
