"""Quasi-random draws of a Gaussian: unbiased, with an interval that holds, and worth more draws."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.fit import fit
from bench.metrics.base import Comparison, Estimate
from bench.metrics.brackets.bracket import bracket
from bench.metrics.draws import quasi
from bench.plugins import registry
from methods import Budget, Gaussian
from problems.base import Exact, Problem
from tests.helpers.metric_cases import SIGMAS

RUNS = 200


def test_points_are_normal_and_evenly_spread() -> None:
    points = quasi.normals(256, 3, Generator().manual_seed(0))
    assert points.shape == (quasi.SETS * 256, 3)
    assert bool(points.isfinite().all())
    sets = points.reshape(quasi.SETS, 256, 3)
    # independent means would be 1/16 away from 0, and shares below the quartile 0.027 from 1/4
    assert float(sets.mean(1).abs().max()) < 0.02
    assert bool(((sets < -0.6744897501960817).sum(1) == 64).all())


def test_sets_differ_and_repeat_with_the_generator() -> None:
    first, again, other = (quasi.normals(64, 2, Generator().manual_seed(s)) for s in (1, 1, 2))
    assert bool((first == again).all())
    assert not bool((first == other).any())
    assert not bool((first[:64] == first[64:128]).any())


@pytest.mark.parametrize(("n", "each"), [(100_000, 2048), (4096, 128), (2048, 64), (2047, 0)])
def test_each_set_has_a_power_of_two(n: int, each: int) -> None:
    assert quasi.length(n) == each


def test_a_mean_is_unbiased_and_its_interval_holds() -> None:
    """E exp(eps_1 / 2) eps_2^2 = exp(1/8): smooth, and no polynomial."""

    def value(eps: Tensor) -> Tensor:
        return (eps[:, 0] / 2).exp() * eps[:, 1].square()

    drawn = Generator().manual_seed(3)
    found = [value(quasi.normals(64, 2, drawn)) for _ in range(RUNS)]
    errors = torch.stack([values.mean() for values in found]) - math.exp(1 / 8)
    assert abs(float(errors.mean())) < SIGMAS * float(errors.std()) / math.sqrt(RUNS)
    half = 1.96 * torch.tensor([quasi.stderr(values) for values in found])
    held = float((errors.abs() <= half).double().mean())
    assert abs(held - 0.95) < SIGMAS * math.sqrt(0.95 * 0.05 / RUNS)


@pytest.mark.parametrize("name", ["eight-schools", "funnel"])
def test_the_kl_of_a_gaussian_has_less_than_half_of_the_error(name: str) -> None:
    problem: Problem = registry.load(registry.find("problems", name))()
    method = registry.load(registry.find("methods", "gaussian-vb"))(starts=2, max_draws=1024)
    q = list(fit(problem, method, Budget(gradients=30_000), Generator().manual_seed(1)))[-1]
    assert isinstance(q.approximation, Gaussian)
    draws, truth = (q.approximation.sample(4000, Generator().manual_seed(2)) for _ in range(2))
    found = bracket(Comparison(problem, q.approximation, draws, truth, 5)).lower
    assert isinstance(found, Estimate)
    points = q.approximation.sample(found.draws or 0, Generator().manual_seed(4))
    ratio = q.approximation.log_prob(points) - problem.log_density(points)
    error = float(ratio.std()) / math.sqrt(len(ratio))
    assert found.stderr < 0.5 * error
    assert isinstance(problem.truth, Exact)
    away = found.value - float(ratio.mean()) - problem.truth.log_z
    assert abs(away) < SIGMAS * math.hypot(error, found.stderr)
