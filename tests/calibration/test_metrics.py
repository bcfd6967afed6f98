"""The metrics' calibration: truths against huge samples, pairs that are what they say, and a
reduced run of every metric.
"""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from bench.calibration import truths as truths_of
from bench.calibration.calibrate import Repetitions, calibrate, tasks
from bench.calibration.case import Case
from bench.calibration.cases import APART, at_dimension, gaussian, shares, walk
from bench.calibration.estimators import beside_kl
from bench.calibration.gaussians import WALKS, Law, Normals, Walk, single
from bench.calibration.table import undercovers, wrong_side
from bench.metrics.base import Comparison, Estimate
from bench.metrics.coverage import coverage
from bench.metrics.ksd import ksd
from bench.metrics.mmd import mmd
from bench.metrics.modes import mode_balance
from bench.metrics.moments import mean_error, sd_error
from bench.metrics.quantiles import quantile_error
from bench.metrics.sliced_wasserstein import lines
from tests.helpers.metric_cases import SIGMAS, found, rng

MANY = 50_000  # draws of a huge sample
SOME = 4000  # of one whose pairs are all met
ALL = {dim: at_dimension(dim) for dim in (2, 10)}
THREE_MODES = shares()
PAIRS = [
    case for dim in ALL for case in ALL[dim] if "draws" in case.forms and "MMD^2" in case.truths
] + [THREE_MODES]
named = pytest.mark.parametrize("case", PAIRS, ids=lambda case: f"{case.name}-{case.problem.dim}")


def both(case: Case, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws of q and of p."""
    q = next(iter(case.forms.values()))
    return q.sample(n, rng(seed)), case.problem.truth.sample(n, rng(seed + 1))


def law(case: Case) -> Normals:
    assert isinstance(case.problem, Law)
    return case.problem.law


def hold(estimate: Estimate, truth: float) -> bool:
    return abs(estimate.value - truth) <= SIGMAS * estimate.stderr + 1e-9


# Truths against samples


@named
def test_figures_of_coordinates(case: Case) -> None:
    x, y = both(case, MANY)
    for metric, quantity in (
        (mean_error, "mean error"),
        (sd_error, "sd error"),
        (coverage, "coverage error"),
        (quantile_error, "quantile error"),
    ):
        assert hold(found(metric(x, y)), case.truths[quantity]), quantity


@named
def test_figures_of_kernels(case: Case) -> None:
    """Both samples by the truth's own moments; the bandwidth as it is with endless draws."""
    x, y = both(case, SOME)
    p = law(case)
    width = truths_of.median_distance(truths_of.whitened(p, p))
    mean, covariance = truths_of.moments(p)
    factor = torch.linalg.cholesky(covariance)
    a, b = (
        torch.linalg.solve_triangular(factor, (z - mean).T, upper=False).T / width for z in (x, y)
    )
    kernel = [
        torch.exp(-0.5 * torch.cdist(u[:2000], v[2000:]).square())
        for u, v in ((a, a), (b, b), (a, b), (b, a))
    ]
    rows = kernel[0].mean(1) + kernel[1].mean(1) - kernel[2].mean(1) - kernel[3].mean(1)
    columns = kernel[0].mean(0) + kernel[1].mean(0) - kernel[2].mean(0) - kernel[3].mean(0)
    stderr = math.sqrt(float(rows.var() + columns.var()) / 2000)
    assert abs(float(rows.mean()) - case.truths["MMD^2"]) < SIGMAS * stderr
    assert hold(found(mmd(x, y)), case.truths["MMD^2"])


@named
def test_figures_of_gradients(case: Case) -> None:
    x, y = both(case, SOME)
    at = x.clone().requires_grad_()
    (scores,) = torch.autograd.grad(case.problem.log_density(at).sum(), at)
    assert hold(found(ksd(x, scores, y)), case.truths["KSD^2"])


@named
def test_median_distance(case: Case) -> None:
    p = truths_of.whitened(law(case), law(case))
    distance = (p.sample(MANY, rng(2)) - p.sample(MANY, rng(3))).norm(dim=1)
    below = float((distance < truths_of.median_distance(p)).double().mean())
    assert abs(below - 0.5) < SIGMAS * 0.5 / math.sqrt(MANY)


@named
def test_figures_of_lines(case: Case) -> None:
    """Along many lines, by quantiles of huge samples in the truth's own units; noise by halves of
    the samples.
    """
    p, readings = law(case), []
    mean, covariance = truths_of.moments(p)
    factor = torch.linalg.cholesky(covariance)
    for seed in range(8):
        x, y = (
            torch.linalg.solve_triangular(factor, (z - mean).T, upper=False)
            for z in both(case, SOME, 2 * seed)
        )
        ways = [
            ((base @ x).sort(1).values - (base @ y).sort(1).values).square().mean()
            for base in lines(len(mean), rng(seed))
        ]
        readings.append(float(torch.stack(ways).mean()))
    floor = 2 * 5 / SOME  # what two samples of one law read: below 5 (1/n + 1/m)
    assert (
        abs(np.mean(readings) - case.truths["SW^2"])
        < SIGMAS * np.std(readings, ddof=1) / math.sqrt(8) + floor
    )


@named
def test_best_accuracy(case: Case) -> None:
    """By the rule that knows both densities; where they are equal it says q."""
    if case.name == "three modes":
        q = Normals(
            torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64), law(case).means, law(case).factors
        )
    else:
        q = case.forms["density"]  # type: ignore[assignment]
    x, y = both(case, MANY)
    of_x, of_y = (q.log_prob(z) - law(case).log_prob(z) > -1e-9 for z in (x, y))
    right = (of_x.double().mean() + 1 - of_y.double().mean()) / 2
    assert abs(float(right) - case.truths["C2ST accuracy"]) < SIGMAS * 0.5 / math.sqrt(MANY)


@pytest.mark.parametrize("dim", [2, 10])
def test_best_accuracy_on_the_fold(dim: int) -> None:
    case = next(case for case in ALL[dim] if case.name == "folding map")
    q, p = case.forms["density"], case.problem
    of_x, of_y = ((q.log_prob(z) > p.log_density(z)).double().mean() for z in both(case, MANY))  # type: ignore[operator]
    assert abs(
        float(of_x + 1 - of_y) / 2 - case.truths["C2ST accuracy"]
    ) < SIGMAS * 0.5 / math.sqrt(MANY)


@pytest.mark.parametrize("dim", [2, 10])
def test_weights(dim: int) -> None:
    for case in ALL[dim]:
        left = case.truths.get("ESS share")
        if left is None or left == 0:
            continue
        q = case.forms["density"]
        other = case.problem.truth.sample(MANY, rng(0))  # E_q w^2 = E_p w
        weights = (law(case).log_prob(other) - q.log_prob(other)).exp()  # type: ignore[operator]
        assert abs(float(weights.mean()) - 1 / left) < SIGMAS * float(weights.std()) / math.sqrt(
            MANY
        ), case.name


def test_weights_without_a_second_moment_leave_nothing() -> None:
    names = {case.name: case.truths.get("ESS share") for case in ALL[2]}
    assert names["correlation"] == names["too narrow"] == 0.0


@pytest.mark.parametrize("name", ["narrow", "too narrow"])
@pytest.mark.parametrize("dim", [2, 10])
def test_tails_of_weights_are_pareto(name: str, dim: int) -> None:
    """The log of a Pareto weight is exponential, with mean k."""
    case = next(case for case in ALL[dim] if case.name == name)
    x, q, khat = both(case, MANY)[0], case.forms["density"], case.truths["tail index"]
    log_weights = law(case).log_prob(x) - q.log_prob(x)  # type: ignore[operator]
    scaled = (log_weights - math.log(1 - khat)) / khat
    assert scaled.min() > -1e-9
    assert abs(float(scaled.mean()) - 1) < SIGMAS / math.sqrt(MANY)
    assert abs(float(scaled.square().mean()) - 2) < SIGMAS * math.sqrt(20 / MANY)


def test_quantiles_of_one_normal() -> None:
    law = single(
        torch.tensor([1.0, -2.0], dtype=torch.float64),
        torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)),
    )
    found = truths_of.quantiles(law, [0.05, 0.5])
    expected = torch.tensor([[1 + ndtri(0.05), -2 + 3 * ndtri(0.05)], [1, -2]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


# Pairs


def test_walks_remember_and_forget() -> None:
    at = torch.tensor([0.7, 0.0], dtype=torch.float64)
    path = Walk(at).sample(40_001, rng(0)).reshape(WALKS, 10_000, 2)
    worth = 40_000 * (1 - 0.9) / (1 + 0.9)
    assert ((path.mean((0, 1)) - at).abs() < SIGMAS / math.sqrt(worth)).all()
    centred = path - at
    assert abs(float(centred.square().mean()) - 1) < SIGMAS * math.sqrt(2 / worth)
    assert float((centred[:, 1:] * centred[:, :-1]).mean()) == pytest.approx(0.9, abs=0.04)
    assert not torch.equal(path[0], path[1])
    starts = (
        torch.stack(
            [
                Walk(at).sample(WALKS * 2, rng(seed)).reshape(WALKS, 2, 2)[:, 0]
                for seed in range(500)
            ]
        )
        - at
    )
    assert abs(float(starts.square().mean()) - 1) < SIGMAS * math.sqrt(2 / starts.numel())


@pytest.mark.parametrize("case", [*ALL[2], THREE_MODES], ids=lambda case: case.name)
def test_modes_hold_their_shares(case: Case) -> None:
    if "mode distance" not in case.truths:
        return
    modes, (x, y) = case.problem.modes, both(case, MANY)
    assert modes is not None
    weights = torch.tensor(modes.weights, dtype=torch.float64)
    shares_of = torch.bincount(modes.label(y), minlength=len(weights)) / MANY
    assert (shares_of - weights).abs().max() < SIGMAS * 0.5 / math.sqrt(MANY)
    if "chain" not in case.forms:
        assert hold(found(mode_balance(modes.label(x), weights)), case.truths["mode distance"])


def test_cases_survive_pickling() -> None:
    for case in [*ALL[2], THREE_MODES]:
        again = pickle.loads(pickle.dumps(case))
        assert again.truths == case.truths
        assert again.problem.truth.log_z == case.problem.truth.log_z
        assert (again.problem.modes is None) == (case.problem.modes is None)


def test_modes_are_named_by_edges() -> None:
    modes = THREE_MODES.problem.modes
    assert modes is not None
    at = torch.tensor([[0.0, 5.0], [APART, 0.0], [2 * APART, 1.0]], dtype=torch.float64)
    assert modes.label(at).tolist() == [0, 1, 2]
    assert modes.label(at.reshape(1, 3, 2)).tolist() == [[0, 1, 2]]


# The run


def test_every_ruler_has_a_pair_beside_its_null() -> None:
    """Each is tried where the truth is known not to be the ideal value, and those of draws where q
    = p.
    """
    told = {task_estimator.name: set() for task_estimator in beside_kl()}  # type: ignore[var-annotated]
    for task in tasks([*ALL[2], THREE_MODES], beside_kl(), [1000], Repetitions()):
        for estimator, _ in task.estimators:
            told[estimator.name].add(task.case.name)
    for estimator in beside_kl():
        assert len(told[estimator.name]) >= 2, estimator.name
        if estimator.shows in ("draws", "chain"):
            assert any("itself" in name for name in told[estimator.name]), estimator.name
            assert any("itself" not in name for name in told[estimator.name]), estimator.name


def test_a_chain_is_measured_as_one() -> None:
    """The same draws, taken for independent ones, promise too much."""
    case, mean = (
        walk("chain", 2, 0.0),
        next(each for each in beside_kl() if each.name == "mean_error, chain").metric,
    )
    draws, truth = both(case, 4000)
    comparison = Comparison(case.problem, case.forms["chain"], draws, truth)
    assert found(mean.measure(comparison)).stderr > 2 * found(mean_error(draws, truth)).stderr


def test_reduced_calibration_of_the_rulers() -> None:
    """Every metric on every pair in two dimensions: what claims to cover does, and bounds stand on
    their own side.
    """
    rows = calibrate(
        [*ALL[2], THREE_MODES], beside_kl(), sizes=(300,), repetitions=Repetitions(6, 1)
    )
    assert {row.estimator for row in rows} == {each.name for each in beside_kl()}
    assert {row.estimator for row in rows if row.skipped} == {
        "kl_classifier, chain"
    }  # these chains are worth 15 draws
    assert not [row for row in rows if row.kind != "estimate" and undercovers(row)]
    assert not [
        row
        for row in rows
        if wrong_side(row) and row.bias > SIGMAS * row.stderr / math.sqrt(row.tried)
    ]
    worst = [
        row
        for row in rows
        if row.estimator.split(",")[0] in ("mean_error", "sd_error", "coverage", "quantile_error")
    ]
    assert all(row.kind == "estimate" and row.covered >= 4 for row in worst)


def test_truths_of_a_standard_normal_beside_itself_are_nothing() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    case = gaussian("same", torch.zeros(3, dtype=torch.float64), eye)
    ideal = {"ESS share": 1.0, "ELBO": 1.5}
    assert case.truths == pytest.approx(
        {quantity: ideal.get(quantity, 0.0) for quantity in case.truths}, abs=1e-5
    )
