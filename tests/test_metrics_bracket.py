"""Bounds on KL(q||p) of implicit approximations, held against maps and mixtures whose divergence is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from bench.calibration_cases import Case, folding, gaussian, lost_mode
from bench.calibration_laws import Affine, Fold, Undressed, Waves, rotation
from bench.checks.metric import check_metric
from bench.exact import TruthItself
from bench.metrics import auxiliary, density_model, flow_model, gaussian_mixture, preimages, scores, upper
from bench.metrics.base import Comparison, Metric, Skipped
from bench.metrics.classifier import KlClassifier
from bench.metrics.kl import KlQP
from bench.metrics.kl_bounds import KlLower, KlUpper
from bench.metrics.newton import solve
from bench.metrics.preimages import Atlas, Preimages, search
from bench.metrics.pushforward import branch
from bench.metrics.upper import excess
from methods.base import Draws, Pushforward
from tests import metric_cases as cases
from tests.metric_cases import SIGMAS, StandardNormal, compare, found, normal, rng

SEARCHED = 500


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound holds however little its score has learnt."""
    monkeypatch.setattr(scores, "STEPS", 100)
    monkeypatch.setattr(scores, "EVERY", 50)


def average_within(values: Tensor, low: float, high: float = math.inf) -> bool:
    """Whether the mean of independent values lies in an interval, give or take the tolerance."""
    slack = SIGMAS * float(values.std()) / math.sqrt(len(values)) + 1e-9
    return low - slack <= float(values.mean()) <= high + slack


def atlas_of(approximation: Pushforward, count: int = 2000, seed: int = 0) -> Atlas:
    eps = normal(rng(seed), count, approximation.noise_dim)
    return Atlas(eps, branch(approximation, eps))


@dataclass(frozen=True, eq=False)
class Squared(Pushforward):
    """z = eps^2 as a complex number: det J is positive everywhere, and yet every point has two preimages."""

    noise_dim: int = 2

    def forward(self, eps: Tensor) -> Tensor:
        x, y = eps.unbind(-1)
        return torch.stack([x.square() - y.square(), 2 * x * y], -1)


@dataclass(frozen=True, eq=False)
class Bounded(Pushforward):
    """One-to-one, but not onto: nothing grows."""

    noise_dim: int = 2

    def forward(self, eps: Tensor) -> Tensor:
        return torch.tanh(eps)


@dataclass(frozen=True, eq=False)
class Breathing(Pushforward):
    """z = x e^{u / 2}, turned noise (x, u) with one dimension more than z: a scale mixture of Gaussians."""

    dim: int = 2

    @property
    def noise_dim(self) -> int:  # type: ignore[override]
        return self.dim + 1

    def forward(self, eps: Tensor) -> Tensor:
        turned = eps @ rotation(self.dim + 1, 3)
        return turned[..., :-1] * (turned[..., -1:] / 2).exp()

    def log_density(self, z: Tensor) -> Tensor:
        u = torch.linspace(-9, 9, 601, dtype=torch.float64)
        weights = -0.5 * u.square() - 0.5 * math.log(2 * math.pi) + math.log(18 / 600)
        square = z.square().sum(-1, keepdim=True)
        return (weights - 0.5 * square * (-u).exp() - self.dim * (u + math.log(2 * math.pi)) / 2).logsumexp(-1)


# The search for preimages


@pytest.mark.parametrize("dim", [2, 10])
def test_jacobian_of_the_fold_is_right(dim: int) -> None:
    fold, eps = Fold(dim), normal(rng(0), 5, dim)
    fold.forward(eps)  # the rotations are made here, where random numbers are allowed
    torch.testing.assert_close(fold.jacobian(eps), Pushforward.jacobian(fold, eps))


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_newton_solves_a_line_in_one_go(dim: int) -> None:
    affine = Affine(normal(rng(0), dim), normal(rng(1), dim, dim) + 3 * torch.eye(dim, dtype=torch.float64))
    eps = normal(rng(2), 700, dim)
    root, done = solve(affine, affine.forward(eps), torch.zeros_like(eps))
    assert done.all()
    torch.testing.assert_close(root, eps)


def test_newton_gives_up_where_there_is_nothing_to_find() -> None:
    outside = torch.tensor([[2.0, 0.0], [0.5, 0.0]], dtype=torch.float64)
    root, done = solve(Bounded(), outside, torch.zeros(2, 2, dtype=torch.float64))
    assert done.tolist() == [False, True]
    torch.testing.assert_close(torch.tanh(root[1]), outside[1])


def test_newton_does_not_mix_its_rows() -> None:
    fold, eps = Fold(3), normal(rng(0), 40, 3)
    points, starts = fold.forward(eps), normal(rng(1), 40, 3)
    together, done = solve(fold, points, starts)
    alone = [solve(fold, points[i : i + 1], starts[i : i + 1]) for i in range(40)]
    assert torch.equal(done, torch.cat([part[1] for part in alone]))
    torch.testing.assert_close(together[done], torch.cat([part[0] for part in alone])[done])


@pytest.mark.parametrize("dim", [2, 10])
def test_search_accounts_for_the_density(dim: int) -> None:
    fold = Fold(dim)
    points = fold.forward(normal(rng(1), SEARCHED, dim))
    result = search(fold, points, atlas_of(fold))
    missing = fold.log_density(points) - result.log_density
    assert missing.min() > -1e-6  # nothing is counted twice
    assert (missing < 1e-6).double().mean() > 0.98
    assert result.balanced.double().mean() > 0.98
    inside = (Waves(dim).pull(points)[:, 0].abs() * 1.5 * fold.scale / fold.bend**1.5) < 1
    assert ((result.count == 3) == inside).double().mean() > 0.98


def test_preimages_are_kept_once() -> None:
    none = Preimages.none(3, 2)
    affine = Affine(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    rows, eps = torch.tensor([0, 2]), torch.tensor([[0.0, 1.0], [2.0, 3.0]], dtype=torch.float64)
    one = none.add(affine, rows, eps)
    assert one.count.tolist() == [1, 0, 1]
    assert one.log_density[1] == -math.inf
    again = one.add(affine, rows, eps + torch.tensor([[1e-6, 0.0], [1.0, 0.0]], dtype=torch.float64))
    assert again.count.tolist() == [1, 0, 2]
    assert again.column(rows, eps).tolist() == [0, 0]
    assert again.column(torch.tensor([1]), eps[:1]).tolist() == [-1]


# Bounds on what the other preimages add


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("dim", [2, 10])
def test_excess_brackets_the_known_density(dim: int, seed: int) -> None:
    fold, eps = Fold(dim), normal(rng(10 + seed), SEARCHED, dim)
    behind = excess(fold, eps, atlas_of(fold, seed=seed), rng(seed))
    truth = fold.log_density(behind.known.points) - behind.known.log_q
    assert (behind.lower <= truth + 1e-6).all()
    assert average_within(behind.upper - truth, 0.0)
    assert float((behind.upper - behind.lower).mean()) < 0.05


@pytest.mark.parametrize("dim", [2, 5])
def test_upper_bound_holds_for_a_search_that_misses_much(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preimages, "FIRST", 1)
    monkeypatch.setattr(preimages, "ROUNDS", 0)
    fold, eps = Fold(dim), normal(rng(3), SEARCHED, dim)
    behind = excess(fold, eps, atlas_of(fold), rng(4))
    assert 0.1 < behind.missed.double().mean() < 0.9
    truth = fold.log_density(behind.known.points) - behind.known.log_q
    assert (behind.lower <= truth + 1e-6).all()
    assert behind.upper.isfinite().all()
    assert average_within(behind.upper - truth, 0.0)
    assert float((behind.upper - truth).mean()) > 0.05


def test_chance_to_be_found_blindly_is_a_probability() -> None:
    """For a one-to-one map every start leads to the one preimage, so the chance is 1 however it is estimated."""
    affine = Affine(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
    eps = normal(rng(0), 40, 3)
    centres = normal(rng(1), 40, 6, 3)
    log_chance = upper._log_chance(affine, affine.forward(eps), eps, centres, rng(2))
    assert average_within(log_chance.exp(), 1.0, 1.0)


# Brackets


@pytest.mark.parametrize("dim", [2, 5, 10, 30])
def test_bracket_of_a_folding_map(dim: int) -> None:
    case = folding(dim)
    truth, comparison = case.truths["KL(q||p)"], compare(case.wardrobe["map"], case.problem)
    lower, upper_ = found(KlLower(SEARCHED).measure(comparison)), found(KlUpper(SEARCHED).measure(comparison))
    assert (lower.kind, upper_.kind) == ("lower bound", "upper bound")
    assert "The map folds" in lower.note
    assert lower.value - SIGMAS * lower.stderr < truth < upper_.value + SIGMAS * upper_.stderr
    assert 0 <= upper_.value - lower.value < 0.05
    assert abs(lower.value - truth) < SIGMAS * lower.stderr
    single = found(KlQP().measure(comparison))
    assert single.value < truth - 0.3


@pytest.mark.parametrize("dim", [2, 10])
@pytest.mark.parametrize("pair", ["shift", "scale", "correlation"])
def test_one_to_one_map_is_exact(pair: str, dim: int) -> None:
    q = cases.PAIRS[pair](dim)
    comparison = compare(cases.Affine(q), StandardNormal(dim))
    lower, upper_ = found(KlLower(SEARCHED).measure(comparison)), found(KlUpper(SEARCHED).measure(comparison))
    assert lower.kind == "exact"
    assert "one sign on all 2500 draws" in lower.note
    assert cases.within(lower, q.kl(cases.standard(dim)))
    assert 0 <= upper_.value - lower.value < 0.005


def test_map_of_one_sign_that_covers_twice_is_not_called_exact() -> None:
    comparison = compare(Squared(), StandardNormal(2))
    single, lower = found(KlQP().measure(comparison)), found(KlLower(SEARCHED).measure(comparison))
    assert lower.kind == "lower bound"
    assert "one sign on all 2500 draws, yet" in lower.note
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
    lower, upper_ = found(KlLower(1000).measure(comparison)), found(KlUpper(1000).measure(comparison))
    assert (lower.kind, upper_.kind) == ("lower bound", "upper bound")
    many = map_.sample(20_000, rng(5))
    values = torch.cat([map_.log_density(part) for part in many.chunk(20)]) - cases.standard(dim).log_prob(many)
    truth, slack = float(values.mean()), SIGMAS * float(values.std()) / math.sqrt(len(values))
    assert lower.value - SIGMAS * lower.stderr - slack < truth < upper_.value + SIGMAS * upper_.stderr + slack
    assert upper_.value - lower.value < width


@pytest.mark.parametrize("dim", [2, 10])
def test_noise_integrated_out_brackets_the_known_density(dim: int) -> None:
    map_ = Breathing(dim)
    result = auxiliary.bounds(map_, dim, (1000, 400), rng(6))
    assert result is not None
    truth = map_.log_density(result.points[1000:]) - result.log_q[1000:]
    assert average_within(truth - result.lower, 0.0)
    assert average_within(result.upper - truth, 0.0)
    assert average_within(result.upper - result.lower, 0.0, 0.1)
    assert average_within(-truth, 0.02)  # one weight alone is an upper bound, and a loose one


def test_a_bad_proposal_widens_the_bounds_and_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auxiliary, "PROPOSALS", 2)
    monkeypatch.setattr(auxiliary, "COMPONENTS", (1,))
    map_ = Breathing(10)
    result = auxiliary.bounds(map_, 10, (500, 400), rng(6))
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
    unsure = found(KlUpper(SEARCHED).measure(compare(q, StandardNormal(2, stored=True, log_z_stderr=0.3))))
    assert unsure.stderr == pytest.approx(math.hypot(sure.stderr, 0.3))
    nothing = compare(q, StandardNormal(2, stored=True))
    assert isinstance(KlUpper(SEARCHED).measure(nothing), Skipped)
    assert "classifier" in found(KlLower(SEARCHED).measure(nothing)).note


# Draws alone

PAIRS = [gaussian("shift", 0.7 * torch.eye(10, dtype=torch.float64)[0], torch.eye(10, dtype=torch.float64))]
PAIRS += [lost_mode("half", 2, 0.5), lost_mode("tenth", 5, 0.9), folding(2)]


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: f"{case.name}-{case.problem.dim}")
@pytest.mark.parametrize("metric", [KlLower(), KlClassifier()], ids=lambda metric: metric.name)
def test_bounds_from_draws_stay_below_the_truth(metric: Metric, case: Case) -> None:
    truth = case.truths["KL(q||p)"]
    result = found(metric.measure(compare(case.wardrobe["draws"], case.problem)))
    assert result.kind == "lower bound"
    assert result.value < truth + SIGMAS * result.stderr
    assert result.value > 0.1 * truth


@pytest.mark.parametrize("metric", [KlLower(), KlClassifier()], ids=lambda metric: metric.name)
def test_truth_beside_itself_proves_nothing(metric: Metric) -> None:
    problem = StandardNormal(10)
    result = found(metric.measure(compare(TruthItself(problem.truth), problem)))
    assert -0.05 < result.value < SIGMAS * result.stderr


def test_draws_alone_have_no_upper_bound() -> None:
    result = KlUpper().measure(compare(Undressed(cases.standard(2)), StandardNormal(2)))
    assert isinstance(result, Skipped)
    assert "no upper bound" in result.reason


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
    few = metric.measure(compare(Undressed(cases.standard(2)), problem, n=50))
    assert isinstance(few, Skipped)
    assert "50 draws are too few" in few.reason
    sample = normal(rng(0), 500, 2)
    shared = metric.measure(Comparison(problem, Draws(sample.unsqueeze(0)), sample, sample))
    assert isinstance(shared, Skipped)
    assert "draws of the truth as well" in shared.reason
    infinite = sample.clone()
    infinite[3, 1] = math.inf
    broken = metric.measure(Comparison(problem, Draws(infinite.unsqueeze(0)), infinite, normal(rng(1), 500, 2)))
    assert isinstance(broken, Skipped)
    assert "not finite" in broken.reason


def test_units_do_not_matter_to_the_classifier() -> None:
    one = gaussian("shift", torch.tensor([0.7, 0.0], dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    plain = compare(one.wardrobe["draws"], one.problem)
    stretch = torch.tensor([1.0, 1e3], dtype=torch.float64)
    other = Comparison(one.problem, Draws((plain.draws * stretch).unsqueeze(0)), plain.draws * stretch, plain.truth * stretch)
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


@pytest.mark.skipif(not flow_model.available(), reason="zuko is not installed")
def test_flow_is_a_density_and_leaves_the_global_state_alone() -> None:
    sample, other, fresh = (1 + 2 * normal(rng(seed), count, 2) for seed, count in ((0, 2000), (1, 500), (3, 5000)))
    state = torch.get_rng_state()
    log_prob, again = (flow_model.fit(sample, other, 60, rng(2)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    axis = torch.linspace(-12, 14, 131, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    assert torch.equal(log_prob(grid), again(grid))
    assert float(log_prob(grid).exp().sum() * 0.2**2) == pytest.approx(1.0, abs=0.01)
    assert -float(log_prob(fresh).mean()) == pytest.approx(math.log(8 * math.pi * math.e), abs=0.1)


@pytest.mark.skipif(not flow_model.available(), reason="zuko is not installed")
def test_flow_is_one_of_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density_model, "COMPONENTS", (1,))
    case = folding(2)
    result = found(KlLower(flow_steps=150).measure(compare(case.wardrobe["draws"], case.problem, n=1000)))
    assert result.note == "Proved by a neural spline flow."
    assert result.value < case.truths["KL(q||p)"] + SIGMAS * result.stderr


def test_flow_without_its_library_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_model, "available", lambda: False)
    result = KlLower(flow_steps=10).measure(compare(Undressed(cases.standard(2)), StandardNormal(2)))
    assert isinstance(result, Skipped)
    assert "pip install zuko" in result.reason


# The contract


@pytest.mark.parametrize("metric", [KlLower(100), KlUpper(100), KlClassifier()], ids=lambda metric: metric.name)
def test_metric_keeps_the_contract(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "STEPS", 50)
    assert [finding for finding in check_metric(metric) if finding.outcome == "fail"] == []


def test_settings_out_of_range() -> None:
    for kind in (KlLower, KlUpper):
        with pytest.raises(ValueError, match=rf"{kind.__name__}\(searched=\.\.\.\) must be at least 20, got 3"):
            kind(searched=3)
    with pytest.raises(ValueError, match=r"KlLower\(flow_steps=\.\.\.\) must be 0 or more, got -1"):
        KlLower(flow_steps=-1)
