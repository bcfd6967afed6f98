"""Every metric against every hazard: a finite figure or a reason, never NaN, never clamped, and no
change with units.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.elbo import Elbo, ElboGap
from bench.metrics.kl import KlPQ, KlQP
from bench.metrics.knn import KlKnn, kl_knn, kl_knn_reverse
from bench.metrics.mmd import Mmd, mmd
from bench.metrics.modes import ModeBalance
from bench.metrics.moments import MeanError, SdError, mean_error, sd_error
from methods.base import Approximation, Draws
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import Affine, Folded, StandardNormal, compare, found, within

METRICS: tuple[Metric, ...] = (
    KlQP(),
    KlPQ(),
    KlKnn(),
    Mmd(),
    MeanError(),
    SdError(),
    ModeBalance(),
    Elbo(),
    ElboGap(),
)
RULERS = {
    "kl_knn": kl_knn,
    "kl_knn_reverse": kl_knn_reverse,
    "mmd": mmd,
    "mean_error": mean_error,
    "sd_error": sd_error,
}
every_ruler = pytest.mark.parametrize("ruler", RULERS.values(), ids=list(RULERS))


def pair(n: int = 400, dim: int = 3) -> tuple[Tensor, Tensor]:
    return 1.1 * cases.normal(cases.rng(0), n, dim) + 0.2, cases.normal(cases.rng(1), n, dim)


@every_ruler
@pytest.mark.parametrize(("n", "m"), [(9, 400), (400, 9), (1, 400), (0, 400)])
def test_too_few_draws(ruler, n: int, m: int) -> None:  # type: ignore[no-untyped-def]
    draws, truth = pair()
    result = ruler(draws[:n], truth[:m])
    assert isinstance(result, Skipped)
    assert "too few" in result.reason


@every_ruler
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("where", [0, 1])
def test_not_finite(ruler, value: float, where: int) -> None:  # type: ignore[no-untyped-def]
    samples = pair()
    samples[where][7, 1] = value
    result = ruler(*samples)
    assert isinstance(result, Skipped)
    assert "1 of the 400" in result.reason
    assert "not finite" in result.reason


@every_ruler
def test_too_large_to_square(ruler) -> None:  # type: ignore[no-untyped-def]
    draws, truth = pair()
    draws[0, 0] = 1e200
    result = ruler(draws, truth)
    assert isinstance(result, Skipped)
    assert "1.0e+200" in result.reason


@every_ruler
def test_constant_coordinate_of_the_truth(ruler) -> None:  # type: ignore[no-untyped-def]
    draws, truth = pair()
    truth[:, 1] = 1e4
    result = ruler(draws, truth)
    assert isinstance(result, Skipped)
    assert "Coordinate 2 is constant in the draws of the truth" in result.reason


def test_constant_coordinate_of_the_draws() -> None:
    draws, truth = pair()
    draws[:, 1] = 0.1
    for ruler in (kl_knn, kl_knn_reverse):
        result = ruler(draws, truth)
        assert isinstance(result, Skipped)
        assert "Coordinate 2 is the same in all 400 draws" in result.reason
    assert found(sd_error(draws, truth)).value == pytest.approx(1.0)
    assert found(mean_error(draws, truth)).value < 0.6
    assert not within(mmd(draws, truth), 0.0)


@every_ruler
def test_dependent_coordinates_of_the_truth(ruler) -> None:  # type: ignore[no-untyped-def]
    draws, truth = pair()
    truth[:, 2] = truth[:, 0] - 2 * truth[:, 1]
    result = ruler(draws, truth)
    if ruler in (mean_error, sd_error):
        found(result)
    else:
        assert isinstance(result, Skipped)
        assert "do not span all 3 coordinates" in result.reason


@every_ruler
@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_units_do_not_matter(ruler, shift: float, scale: float) -> None:  # type: ignore[no-untyped-def]
    draws, truth = pair()
    scales = torch.tensor([1.0, scale, 1e3], dtype=torch.float64)
    plain, moved = (
        found(ruler(draws, truth)),
        found(ruler(draws * scales + shift, truth * scales + shift)),
    )
    assert moved.value == pytest.approx(plain.value, rel=1e-4, abs=1e-9)
    assert moved.stderr == pytest.approx(plain.stderr, rel=1e-4, abs=1e-9)


@every_ruler
def test_offset_in_single_precision(ruler) -> None:  # type: ignore[no-untyped-def]
    draws, truth = pair()
    plain, rounded = (
        found(ruler(draws, truth)),
        found(ruler((draws + 1e4).float(), (truth + 1e4).float())),
    )
    assert abs(rounded.value - plain.value) < 0.2 * plain.stderr


@every_ruler
def test_same_draws_twice(ruler) -> None:  # type: ignore[no-untyped-def]
    _, truth = pair()
    result = ruler(truth, truth)
    if ruler in (kl_knn, kl_knn_reverse):
        assert isinstance(result, Skipped)
    else:
        assert within(result, 0.0)
    if ruler is mmd:
        assert found(result).value < 0  # not clamped


@every_ruler
def test_repeated_rows(ruler) -> None:  # type: ignore[no-untyped-def]
    draws, truth = cases.normal(cases.rng(0), 1000, 3), cases.normal(cases.rng(1), 1000, 3)
    draws[200:400] = draws[:200]
    assert within(ruler(draws, truth), 0.0)


@every_ruler
def test_shapes_that_do_not_match(ruler) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"got \[20, 2\] and \[20, 3\]"):
        ruler(torch.zeros(20, 2), torch.zeros(20, 3))


APPROXIMATIONS: dict[str, Approximation] = {
    "density": cases.correlated(2),
    "map": Affine(cases.scaled(2)),
    "folding map": Folded(),
    "independent draws": Draws(cases.normal(cases.rng(1), 1, 400, 2)),
    "chains": cases.autoregressive(0.9, cases.rng(1), draws=100),
    "stuck chains": Draws(cases.normal(cases.rng(1), 4, 1, 2).expand(4, 100, 2).contiguous()),
    "short chains": Draws(cases.normal(cases.rng(1), 200, 2, 2)),
    "few draws": Draws(cases.normal(cases.rng(1), 1, 8, 2)),
    "point": Draws(torch.ones(4, 100, 2, dtype=torch.float64)),
    "far away": cases.Gaussian(
        torch.full((2,), 1e9, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    ),
    "very far away": cases.Gaussian(
        torch.full((2,), 1e60, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    ),
}
PROBLEMS = {
    "exact": StandardNormal(2),
    "reference": StandardNormal(2, stored=True, log_z_stderr=0.1),
    "reference without log Z or modes": StandardNormal(2, stored=True, halves=None),
}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("approximation", APPROXIMATIONS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_metric_gives_a_figure_or_a_reason(
    metric: Metric, approximation: str, problem: str
) -> None:
    comparison = compare(APPROXIMATIONS[approximation], PROBLEMS[problem], n=400)
    state = torch.random.get_rng_state()
    result = metric.measure(comparison)
    if isinstance(result, Skipped):
        assert result.reason.endswith(".")
    else:
        assert math.isfinite(result.value)
        assert math.isfinite(result.stderr)
        assert result.stderr >= 0
    assert torch.equal(state, torch.random.get_rng_state())
    assert metric.measure(comparison) == result


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_perfect_approximation_reads_the_ideal(metric: Metric) -> None:
    result = metric.measure(compare(cases.standard(2), StandardNormal(2), n=1000))
    assert isinstance(result, Estimate)
    assert within(result, 1.5 if metric.ideal is None else metric.ideal)


def test_inputs_are_left_alone() -> None:
    comparison = compare(cases.shifted(2), StandardNormal(2), n=400)
    draws, truth = comparison.draws.clone(), comparison.truth.clone()
    for metric in METRICS:
        metric.measure(comparison)
    assert torch.equal(draws, comparison.draws)
    assert torch.equal(truth, comparison.truth)


@pytest.mark.parametrize("kind", [Affine, lambda gaussian: gaussian], ids=["map", "density"])
def test_parameters_that_still_ask_for_gradients(kind) -> None:  # type: ignore[no-untyped-def]
    plain = cases.shifted(2)
    learnt = cases.Gaussian(
        plain.loc.clone().requires_grad_(), plain.factor.clone().requires_grad_()
    )
    comparison = compare(kind(plain), StandardNormal(2), n=400)
    tracked = Comparison(comparison.problem, kind(learnt), comparison.draws, comparison.truth)
    for metric in METRICS:
        assert metric.measure(tracked) == metric.measure(comparison)
