"""Importance-weighted VB yields draws of the weighted law, and the evidence of their weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Generator

from bench.fitting.target import CountedTarget
from methods.base import Approximation, Budget, Draws
from methods.iw_vb import ImportanceWeightedVB
from methods.parts.gaussians.gaussian import Gaussian
from problems.base import Problem
from problems.eight_schools import EightSchools
from problems.signed_eight_schools import SignedEightSchools
from tests.helpers.best_gaussian import divergence, least_divergence
from tests.methods.test_gaussian_vb import Normal

SIGMAS = 4.5  # every statistical tolerance, in standard errors
SHORT: dict[str, Any] = {"iterations": 1500, "lr": 0.02}


def fit(problem: Problem, seed: int = 0, **fields: Any) -> list[Approximation]:
    run = ImportanceWeightedVB(**fields).run(
        CountedTarget(problem), Budget(), Generator().manual_seed(seed)
    )
    return list(run)


def test_draws_of_a_gaussian_are_its_own() -> None:
    problem = Normal(4, 25.0)
    q = fit(problem, **SHORT)[-1]
    assert isinstance(q, Draws)
    z = q.chains[0]
    assert z.shape == (4000, 4)
    cov = torch.linalg.inv(problem.precision)
    scores = (z.mean(0) - problem.loc) / (cov.diagonal() / len(z)).sqrt()
    assert scores.abs().max() < SIGMAS
    scores = (z.var(0) / cov.diagonal() - 1) / math.sqrt(2 / len(z))
    assert scores.abs().max() < SIGMAS
    assert q.evidence is not None
    assert abs(q.evidence.log_z) < SIGMAS * q.evidence.stderr + 1e-6


def test_the_weighted_draws_are_nearer_the_posterior_than_those_of_the_best_gaussian() -> None:
    """The best Gaussian lacks more than a third of the standard deviation of log tau."""
    problem = EightSchools()
    truth = problem.truth.sample(20_000, Generator().manual_seed(1))
    q = fit(problem, **SHORT)[-1]
    assert isinstance(q, Draws)
    found = q.chains[0].std(0) / truth.std(0) - 1
    assert found.abs().max() < 0.2
    assert q.evidence is not None
    assert abs(q.evidence.log_z - problem.truth.log_z) < SIGMAS * q.evidence.stderr


def test_more_particles_make_the_base_cover_both_mirror_images() -> None:
    problem = SignedEightSchools()
    q = fit(problem, particles=20, batch=8, yields="base", **SHORT)[-1]
    assert isinstance(q, Gaussian)
    assert float(q.loc[1].abs()) < 0.5 * float(q.scale_tril[1].norm())  # tau on either side of 0


def test_one_particle_is_variational_bayes() -> None:
    problem = EightSchools()
    q = fit(problem, particles=1, batch=32, yields="base", iterations=2000, lr=0.02)[-1]
    assert isinstance(q, Gaussian)
    kl = float(divergence(problem, q.loc, q.scale_tril))
    least = least_divergence("eight-schools", "full")
    assert least - 1e-4 < kl < least + 0.05  # of VB by Adam with as many steps


def test_what_is_resampled_is_yielded_at_powers_of_two_and_at_the_end() -> None:
    target = CountedTarget(Normal(2, 1.0))
    method = ImportanceWeightedVB(iterations=11, draws=30, particles=2, batch=4)
    yielded = list(method.run(target, Budget(), Generator().manual_seed(0)))
    assert len(yielded) == 5  # 1, 2, 4, 8, 11
    assert target.evaluations - target.gradients == 5 * 30 * 2
    assert target.gradients < 11 * 8 + 50


def test_the_last_draws_come_within_a_budget_of_gradients() -> None:
    target = CountedTarget(Normal(2, 1.0))
    method = ImportanceWeightedVB(draws=30)
    list(method.run(target, Budget(gradients=4_000), Generator().manual_seed(0)))
    assert target.gradients < 4_000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"yields": "q"}, r"ImportanceWeightedVB\(yields=...\) must be 'resampled' or 'base'"),
        ({"particles": 0}, r"ImportanceWeightedVB\(particles=...\) must be at least 1, got 0"),
        ({"covariance": "low"}, r"ImportanceWeightedVB\(covariance=...\) must be 'full' or"),
        ({"lr": -1.0}, r"ImportanceWeightedVB\(lr=...\) must be positive and finite, got -1.0"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImportanceWeightedVB(**fields)
