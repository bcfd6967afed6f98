"""Elliptical slice sampling is right where the prior is Gaussian, and refuses where none is
declared; priors that problems declare leave the likelihood that the model states.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from bench.fitting.target import CountedTarget
from bench.metrics.draws.chains import ess_mean
from methods.base import Budget, Draws, NotApplicableError
from methods.elliptical_slice import EllipticalSlice
from problems.base import GaussianPrior, Problem
from problems.gp_classification import GPClassification
from problems.gp_regression import GPRegression
from problems.linear_regression import LinearRegression
from problems.logistic_regression import LogisticRegression
from problems.mixture import Mixture
from problems.parts.ingredients import log_normal
from problems.signed_eight_schools import SignedEightSchools
from problems.state_space import StateSpace

SIGMAS = 4.5  # every statistical tolerance, in standard errors


def linear(problem: Any, z: Tensor) -> Tensor:
    model = problem.model
    return log_normal(model.observed, z @ model.design.T, model.noise).sum(-1)


def schools(problem: Any, z: Tensor) -> Tensor:
    y, sigma = (torch.tensor(x, dtype=torch.float64) for x in (problem.y, problem.sigma))
    theta = z[..., :1] + z[..., 1:2] * z[..., 2:]
    law: Any = torch.distributions.Normal(theta, sigma)
    likelihood: Tensor = law.log_prob(y).sum(-1)
    return likelihood


def path(problem: Any, z: Tensor) -> Tensor:
    return log_normal(problem.observed, z[..., : problem.steps], problem.noise).sum(-1)


def labels(problem: Any, z: Tensor) -> Tensor:
    return logsigmoid(problem.labels * problem.constrain(z)["f"]).sum(-1)


def tumours(problem: Any, z: Tensor) -> Tensor:
    return logsigmoid(z @ problem._signed_rows.T).sum(-1)


LIKELIHOODS: list[tuple[Any, Callable[[Any, Tensor], Tensor]]] = [
    (LinearRegression(), linear),
    (LinearRegression(prior_scale=3.0), linear),
    (GPRegression(), linear),
    (GPRegression(whitened=False), linear),
    (SignedEightSchools(), schools),
    (SignedEightSchools(mu_scale=3.0, tau_scale=0.5), schools),
    (StateSpace(), path),
    (StateSpace(steps=7, initial=2.0, slope_noise=0.4), path),
    (GPClassification(), labels),
    (LogisticRegression(prior_scale=1.5), tumours),
]


@pytest.mark.parametrize(("problem", "likelihood"), LIKELIHOODS)
def test_density_less_prior_is_the_likelihood(problem: Problem, likelihood: Any) -> None:
    z = torch.randn(4, 3, problem.dim, generator=Generator().manual_seed(0), dtype=torch.float64)
    assert problem.gaussian_prior is not None
    rest = problem.log_density(z) - problem.gaussian_prior.log_prob(z)
    torch.testing.assert_close(rest, likelihood(problem, z), rtol=1e-9, atol=1e-6)


def test_a_prior_of_gaussians_is_normalised_as_torch_has_it() -> None:
    root = torch.tensor([[1.0, 0.0], [0.5, 2.0]]).double()
    prior = GaussianPrior(torch.tensor([1.0, -1.0]).double(), root)
    law: Any = torch.distributions.MultivariateNormal(prior.loc, scale_tril=root)
    z = torch.randn(5, 4, 2, generator=Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob(z), law.log_prob(z), rtol=1e-12, atol=1e-12)


@functools.cache
def fitted(problem: Problem) -> Draws:
    method = EllipticalSlice(warmup=100, draws=200)
    *_, last = method.run(CountedTarget(problem), Budget(), Generator().manual_seed(0))
    return last


@pytest.mark.parametrize(
    "problem", [LinearRegression(dim=3), SignedEightSchools()], ids=lambda p: p.name
)
def test_moments_are_right_within_their_standard_errors(problem: Problem) -> None:
    chains = fitted(problem).chains
    truth = problem.truth.sample(100_000, Generator().manual_seed(1))
    for power, want in ((chains, truth), (chains.square(), truth.square())):
        flat = power.flatten(0, 1)
        error = (flat.var(0) / ess_mean(power) + want.var(0) / len(want)).sqrt()
        assert ((flat.mean(0) - want.mean(0)).abs() < SIGMAS * error).all()


def test_no_gradient_is_taken_and_few_evaluations() -> None:
    target = CountedTarget(LinearRegression(dim=3))
    method = EllipticalSlice(chains=16, warmup=20, draws=20)
    *_, last = method.run(target, Budget(), Generator().manual_seed(0))
    assert target.gradients == 0
    steps = 16 * 40 * method.thin
    assert target.evaluations - 16 == last.diagnostics["evaluations_per_step"] * steps
    assert 1 < last.diagnostics["evaluations_per_step"] < 10


def test_it_ends_with_the_budget_of_gradients_spent_on_evaluations() -> None:
    target = CountedTarget(LinearRegression(dim=3))
    held = list(EllipticalSlice().run(target, Budget(gradients=5000), Generator().manual_seed(0)))
    assert 5000 <= target.evaluations < 5000 + 64 * 4 * 20
    assert held[-1].chains.shape[1] < 100


def test_without_data_it_draws_from_the_prior() -> None:
    class Nothing(LinearRegression):
        def log_density(self, z: Tensor) -> Tensor:
            return self.gaussian_prior.log_prob(z)

    chains = fitted(Nothing(dim=2)).chains
    error = chains.flatten(0, 1).std(0) / ess_mean(chains).sqrt()
    assert (chains.mean((0, 1)).abs() < SIGMAS * error).all()
    assert fitted(Nothing(dim=2)).diagnostics["evaluations_per_step"] == pytest.approx(1.0)


def test_walls_are_respected() -> None:
    class Half(LinearRegression):
        def log_density(self, z: Tensor) -> Tensor:
            return super().log_density(z).masked_fill(z[..., 0] < 0, math.nan)

    chains = fitted(Half(dim=2)).chains
    assert bool((chains[..., 0] >= 0).all())


def test_a_problem_without_such_a_prior_is_refused_in_a_sentence() -> None:
    run = EllipticalSlice().run(CountedTarget(Mixture()), Budget(), Generator().manual_seed(0))
    with pytest.raises(NotApplicableError, match="Gaussian in all its coordinates"):
        next(iter(run))


def test_a_likelihood_that_is_nowhere_finite_is_refused() -> None:
    class Nowhere(LinearRegression):
        def log_density(self, z: Tensor) -> Tensor:
            return super().log_density(z) * math.nan

    run = EllipticalSlice().run(CountedTarget(Nowhere()), Budget(), Generator().manual_seed(0))
    with pytest.raises(ValueError, match="0 draws of the prior to start 64 chains"):
        next(iter(run))


@pytest.mark.parametrize(
    ("field", "value"), [("chains", 0), ("warmup", -1), ("draws", 0), ("thin", 0)]
)
def test_fields_out_of_range_are_named(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"EllipticalSlice\({field}=...\) must"):
        EllipticalSlice(**{field: value})
