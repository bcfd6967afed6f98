"""The other metrics against every hazard: a finite figure or a reason, never NaN or clamped, and
no change with units.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.checks.metric import check_metric
from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.c2st import C2st, c2st
from bench.metrics.coverage import Coverage, coverage
from bench.metrics.evidence import LogZError, LogZErrorReverse
from bench.metrics.importance import ImportanceEss, PsisKhat, importance_ess, psis_khat
from bench.metrics.ksd import Ksd, ksd
from bench.metrics.quantiles import QuantileError, quantile_error
from bench.metrics.sliced_wasserstein import SlicedWasserstein, sliced_wasserstein
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import StandardNormal, compare, found, within
from tests.metrics.test_degenerate_draws import APPROXIMATIONS, PROBLEMS, pair


def sliced(draws: Tensor, truth: Tensor) -> Estimate | Skipped:
    return sliced_wasserstein(draws, truth, generator=cases.rng(0))


def stein(draws: Tensor, truth: Tensor) -> Estimate | Skipped:
    """Scores of the Gaussian that the truth's draws suggest, so that units can be changed."""
    wide = truth.double()
    scores = (
        -(draws.double() - wide.mean(0)) @ torch.linalg.pinv(wide.T.cov())
        if len(truth) > 1
        else draws.double()
    )
    return ksd(
        draws, scores if bool(torch.isfinite(scores).all()) else torch.zeros_like(scores), truth
    )


METRICS: tuple[Metric, ...] = (
    SlicedWasserstein(),
    Ksd(),
    C2st(),
    Coverage(),
    QuantileError(),
    PsisKhat(),
    ImportanceEss(),
    LogZError(),
    LogZErrorReverse(),
)
RULERS = {
    "sliced": sliced,
    "ksd": stein,
    "c2st": c2st,
    "coverage": coverage,
    "quantile_error": quantile_error,
}
NULL = {"c2st": 0.5}
every_ruler = pytest.mark.parametrize("name", RULERS)
every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


@every_ruler
@pytest.mark.parametrize(("n", "m"), [(9, 400), (400, 9), (1, 400), (0, 400)])
def test_too_few_draws(name: str, n: int, m: int) -> None:
    draws, truth = pair()
    result = RULERS[name](draws[:n], truth[:m])
    assert isinstance(result, Skipped)
    assert "too few" in result.reason


@every_ruler
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_not_finite(name: str, value: float) -> None:
    draws, truth = pair()
    draws[7, 1] = value
    result = RULERS[name](draws, truth)
    assert isinstance(result, Skipped)
    assert "1 of the 400 draws are not finite" in result.reason


@every_ruler
def test_constant_coordinate(name: str) -> None:
    draws, truth = pair()
    draws[:, 1] = 0.1
    assert not within(RULERS[name](draws, truth), NULL.get(name, 0.0))
    draws, truth = pair()
    truth[:, 1] = 1e4
    result = RULERS[name](draws, truth)
    assert isinstance(result, Skipped)
    assert "Coordinate 2 is constant in the draws of the truth" in result.reason


@every_ruler
@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_units_do_not_matter(name: str, shift: float, scale: float) -> None:
    draws, truth = pair()
    scales = torch.tensor([1.0, scale, 1e3], dtype=torch.float64)
    plain, moved = (
        found(RULERS[name](draws, truth)),
        found(RULERS[name](draws * scales + shift, truth * scales + shift)),
    )
    # rounding moves draws across the bins of the trees
    slack = 0.2 * plain.stderr if name == "c2st" else 1e-9
    assert moved.value == pytest.approx(plain.value, rel=1e-4, abs=slack)
    assert moved.stderr == pytest.approx(plain.stderr, rel=1e-2 if name == "c2st" else 1e-4)


@every_ruler
def test_offset_in_single_precision(name: str) -> None:
    draws, truth = pair()
    plain, rounded = (
        found(RULERS[name](draws, truth)),
        found(RULERS[name]((draws + 1e4).float(), (truth + 1e4).float())),
    )
    assert abs(rounded.value - plain.value) < 0.6 * plain.stderr


@every_ruler
def test_same_draws_twice(name: str) -> None:
    _, truth = pair()
    result = RULERS[name](truth, truth)
    assert within(result, NULL.get(name, 0.0))
    if name in ("sliced", "ksd"):
        assert found(result).value < 0  # not clamped


@every_ruler
def test_repeated_rows(name: str) -> None:
    draws, truth = cases.normal(cases.rng(0), 1000, 3), cases.normal(cases.rng(1), 1000, 3)
    draws[200:400] = draws[:200]
    assert within(
        RULERS[name](draws, truth), NULL.get(name, 0.0), slack=0.003 if name == "ksd" else 0.0
    )


@every_ruler
def test_shapes_that_do_not_match(name: str) -> None:
    if name != "ksd":
        with pytest.raises(ValueError, match=r"got \[20, 2\] and \[20, 3\]"):
            RULERS[name](torch.zeros(20, 2), torch.zeros(20, 3))
    with pytest.raises(ValueError, match="a score for each draw"):
        ksd(torch.zeros(20, 2), torch.zeros(20, 3), torch.zeros(20, 2))


@pytest.mark.parametrize("ruler", [psis_khat, importance_ess])
def test_weights(ruler) -> None:  # type: ignore[no-untyped-def]
    log_weights = cases.normal(cases.rng(0), 400)
    assert found(ruler(log_weights + 1e4)).value == pytest.approx(
        found(ruler(log_weights)).value, abs=1e-6
    )
    zero = log_weights.clone()
    zero[:50] = -math.inf
    found(ruler(zero))
    for bad, words in ((math.inf, "1 of the 400 weights"), (math.nan, "1 of the 400 weights")):
        log_weights[3] = bad
        assert words in ruler(log_weights).reason
    assert "too few" in ruler(log_weights[:24]).reason
    assert (
        "Only 5 of 400" in ruler(torch.cat([torch.zeros(5), torch.full((395,), -math.inf)])).reason
    )
    assert isinstance(ruler(torch.cat([torch.zeros(200), torch.ones(200)])), Estimate | Skipped)


# the only ones to which the kind of truth makes a difference
EVIDENCE = (LogZError(), LogZErrorReverse())
CASES = [
    (metric, problem)
    for metric in METRICS
    for problem in PROBLEMS
    if problem == "exact" or metric in EVIDENCE
]


@pytest.mark.parametrize(
    ("metric", "problem"), CASES, ids=lambda value: getattr(value, "name", value)
)
@pytest.mark.parametrize("approximation", APPROXIMATIONS)
def test_every_metric_gives_a_figure_or_a_reason(
    metric: Metric, approximation: str, problem: str
) -> None:
    comparison = compare(APPROXIMATIONS[approximation], PROBLEMS[problem], n=200)
    state = torch.random.get_rng_state()
    result = metric.measure(comparison)
    if isinstance(result, Skipped):
        assert result.reason.endswith(".")
    else:
        found(result)
        assert result.stderr >= 0
    assert torch.equal(state, torch.random.get_rng_state())


@every_metric
def test_perfect_approximation_reads_the_ideal(metric: Metric) -> None:
    result = metric.measure(compare(cases.standard(2), StandardNormal(2), n=1000))
    assert within(result, 0.0 if metric.ideal is None else metric.ideal)


@every_metric
def test_contract(metric: Metric) -> None:
    findings = list(check_metric(metric))
    assert [finding for finding in findings if finding.outcome == "fail"] == []
    assert {finding.name for finding in findings if finding.outcome == "skipped"} <= {"ideal"}


def test_inputs_are_left_alone() -> None:
    comparison = compare(cases.shifted(2), StandardNormal(2), n=400)
    draws, truth = comparison.draws.clone(), comparison.truth.clone()
    for metric in METRICS:
        metric.measure(comparison)
    assert torch.equal(draws, comparison.draws)
    assert torch.equal(truth, comparison.truth)


def test_parameters_that_still_ask_for_gradients() -> None:
    plain = cases.shifted(2)
    learnt = cases.Gaussian(
        plain.loc.clone().requires_grad_(), plain.factor.clone().requires_grad_()
    )
    comparison = compare(plain, StandardNormal(2), n=400)
    tracked = Comparison(comparison.problem, learnt, comparison.draws, comparison.truth)
    for metric in METRICS:
        assert metric.measure(tracked) == metric.measure(comparison)
