"""Pathfinder's Gaussians follow the path's curvature, and its paths together find the modes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from bench.fitting.target import CountedTarget
from methods.base import Approximation, Budget, Draws
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.gaussians.inverse_hessian import gaussians
from methods.parts.sampling.psis import evidence, smoothed
from methods.pathfinder import Pathfinder
from problems.base import Problem
from problems.eight_schools import EightSchools
from problems.mixture import Mixture
from problems.ring import Ring
from tests.methods.test_gaussian_vb import Normal

SIGMAS = 4.5  # every statistical tolerance, in standard errors


def fit(problem: Problem, seed: int = 0, **fields: Any) -> list[Approximation]:
    run = Pathfinder(**fields).run(CountedTarget(problem), Budget(), Generator().manual_seed(seed))
    return list(run)


def path_of(problem: Normal, steps: int) -> tuple[Tensor, Tensor]:
    """Exact line searches along the gradient, and the gradients there."""
    z, points, slopes = torch.full((problem.dim,), 2.0, dtype=torch.float64), [], []
    for _ in range(steps):
        slope = -problem.precision @ (z - problem.loc)
        points.append(z)
        slopes.append(slope)
        z = z + slope * (slope @ slope) / (slope @ problem.precision @ slope)
    return torch.stack(points), torch.stack(slopes)


def test_the_inverse_hessian_maps_the_last_change_of_gradient_to_the_last_step() -> None:
    points, slopes = path_of(Normal(8, 100.0), 8)
    for i, q in enumerate(gaussians(points, slopes, memory=4), start=1):
        assert q is not None
        step, change = points[i] - points[i - 1], slopes[i - 1] - slopes[i]
        torch.testing.assert_close(q.factor @ (q.factor.T @ change), step, rtol=1e-8, atol=1e-10)
        assert q.log_det == pytest.approx(float(torch.linalg.slogdet(q.factor)[1]), abs=1e-9)


def test_the_low_rank_is_that_of_the_updates_one_by_one() -> None:
    """BFGS updates of the diagonal, a dense matrix each, in the order of the pairs."""
    points, slopes = path_of(Normal(6, 30.0), 5)
    q = list(gaussians(points, slopes, memory=10))[-1]
    steps, changes = points.diff(dim=0), -slopes.diff(dim=0)
    alpha = torch.ones(6, dtype=torch.float64)
    for s, y in zip(steps, changes, strict=True):
        a, b, c = (y * alpha * y).sum(), y @ s, (s * s / alpha).sum()
        alpha = b / (a / alpha + y**2 - a / c * (s / alpha) ** 2)
    matrix = alpha.diag()
    for s, y in zip(steps, changes, strict=True):
        left = torch.eye(6, dtype=torch.float64) - s.outer(y) / (s @ y)
        matrix = left @ matrix @ left.T + s.outer(s) / (s @ y)
    assert q is not None
    torch.testing.assert_close(q.factor @ q.factor.T, matrix, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(q.loc, points[-1] + matrix @ slopes[-1], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_path_finds_a_gaussian(seed: int) -> None:
    problem = Normal(2, 4.0)
    q = fit(problem, seed, paths=1)[-1]
    assert isinstance(q, Gaussian)
    assert problem.divergence(q) < 0.05


@pytest.mark.parametrize("problem", [Mixture(weight=0.3), Ring()], ids=lambda p: p.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_paths_together_have_every_mode_by_its_weight(problem: Any, seed: int) -> None:
    q = fit(problem, seed, paths=40)[-1]
    assert isinstance(q, GaussianMixture)
    z = q.sample(10_000, Generator().manual_seed(1))
    terms = q.log_prob(z) - problem.log_density(z)
    assert float(terms.mean()) < 0.02
    shares = torch.bincount(problem.modes.label(z)) / len(z)
    assert shares.tolist() == pytest.approx(list(problem.modes.weights), abs=0.03)
    assert q.evidence is not None
    assert abs(q.evidence.log_z) < SIGMAS * q.evidence.stderr + 1e-3


def test_resampled_draws_are_those_of_the_truth_and_none_comes_twice() -> None:
    problem = Mixture(weight=0.3)
    q = fit(problem, yields="resampled", draws=2000)[-1]
    assert isinstance(q, Draws)
    z = q.chains.flatten(0, 1)
    assert z.shape == (2000, 2)
    assert len(z.unique(dim=0)) == 2000
    low = float((problem.modes.label(z) == 0).double().mean())
    assert abs(low - 0.3) < SIGMAS * math.sqrt(0.3 * 0.7 / 2000)


def test_weights_whose_tail_is_too_heavy_make_no_evidence() -> None:
    q = fit(EightSchools())[-1]
    assert q.diagnostics["khat"] >= 0.7
    assert q.evidence is None


def test_the_evidence_is_that_of_the_target_within_its_error() -> None:
    """N(0, 1) against N(0, 1.5^2), whose weights are bounded; log Z = 3."""
    z = 1.5 * torch.randn(20_000, generator=Generator().manual_seed(0), dtype=torch.float64)
    ratios = 3 - 0.5 * z.square() + 0.5 * (z / 1.5).square() + math.log(1.5)
    found = evidence(ratios)
    assert abs(found.log_z - 3) < SIGMAS * found.stderr
    # relative variance of the weights: 1.5^2 / sqrt(2 * 1.5^2 - 1) - 1
    expected = math.sqrt((2.25 / math.sqrt(3.5) - 1) / 20_000)
    assert found.stderr == pytest.approx(expected, rel=0.05)
    weighted = smoothed(ratios)
    assert weighted.khat < 0.5
    assert float((weighted.weights * z.square()).sum()) == pytest.approx(1, abs=0.05)


def test_no_weight_at_all_is_refused() -> None:
    with pytest.raises(FloatingPointError, match="finite at none"):
        smoothed(torch.full((30,), -math.inf, dtype=torch.float64))


def mixture() -> tuple[GaussianMixture, Any]:
    generator = Generator().manual_seed(0)
    locs = 2 * torch.randn(3, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(3, 4, 4, generator=generator, dtype=torch.float64)
    factors = (
        0.3 * noise.tril(-1)
        + noise.diagonal(dim1=1, dim2=2).abs().diag_embed()
        + 0.1 * (torch.eye(4, dtype=torch.float64))
    )
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    law: Any = MixtureSameFamily(Categorical(weights), MultivariateNormal(locs, scale_tril=factors))
    return GaussianMixture(weights, locs, factors), law


@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 5, 4)])
def test_the_density_of_a_mixture_equals_torch_distributions(shape: tuple[int, ...]) -> None:
    q, law = mixture()
    z = torch.randn(shape, generator=Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(z), law.log_prob(z), rtol=1e-10, atol=1e-10)


def test_draws_of_a_mixture_have_its_mean_and_variance() -> None:
    q, law = mixture()
    z = q.sample(50_000, Generator().manual_seed(2))
    assert torch.equal(z, q.sample(50_000, Generator().manual_seed(2)))
    scores = (z.mean(0) - law.mean) / (z.std(0) / math.sqrt(len(z)))
    assert scores.abs().max() < SIGMAS
    squares = (z - law.mean).square()
    scores = (squares.mean(0) - law.variance) / (squares.std(0) / math.sqrt(len(z)))
    assert scores.abs().max() < SIGMAS


@pytest.mark.parametrize(
    ("weights", "scale", "message"),
    [
        ([0.5, 0.6], 1.0, "must sum to one, the sum is 1.1"),
        ([1.5, -0.5], 1.0, "not negative"),
        ([0.5, 0.5], -1.0, "positive diagonals"),
        ([1.0], 1.0, r"weights \[K\], locs \[K, D\]"),
    ],
)
def test_what_is_not_a_mixture_is_refused(weights: list[float], scale: float, message: str) -> None:
    factors = scale * torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    with pytest.raises(ValueError, match=message):
        GaussianMixture(
            torch.tensor(weights, dtype=torch.float64), torch.zeros(2, 2).double(), factors
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"yields": "both"}, r"Pathfinder\(yields=...\) must be 'mixture' or 'resampled'"),
        ({"paths": 0}, r"Pathfinder\(paths=...\) must be at least 1, got 0"),
        ({"memory": 0}, r"Pathfinder\(memory=...\) must be at least 1, got 0"),
        ({"path_draws": 10}, r"Pathfinder\(path_draws=...\) must be at least 25, got 10"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pathfinder(**fields)
