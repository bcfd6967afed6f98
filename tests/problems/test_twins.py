"""Stan twins: the same posterior in Stan's words, to the last digits, at draws of the prior and of
the posterior.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Cauchy

from bench.fitting.target import CountedTarget
from problems.base import Problem
from problems.eight_schools import EightSchools, EightSchoolsCentred
from problems.gp_classification import GPClassification
from problems.gp_regression import GPRegression
from problems.horseshoe import Horseshoe
from problems.linear_regression import LinearRegression
from problems.logistic_regression import LogisticRegression
from problems.parts.stored import MissingReferenceError
from problems.parts.twins import FOLDER
from problems.poisson_effects import PoissonEffects
from problems.signed_eight_schools import SignedEightSchools
from problems.state_space import StateSpace
from tests.helpers.exact_problems import FEW, seeded

pytest.importorskip("stanli")

POINTS = 100
APART = 1e-9  # of the log density, relative
TWINS: list[Any] = [
    EightSchools(),
    EightSchoolsCentred(),
    SignedEightSchools(),
    EightSchools(**FEW),
    EightSchoolsCentred(**FEW),
    SignedEightSchools(**FEW),
    LogisticRegression(),
    LogisticRegression(prior_scale=1.0),
    Horseshoe(),
    Horseshoe(relevant=2.0),
    PoissonEffects(),
    PoissonEffects(groups=4, rows=7, spread_scale=0.5, seed=2),
    GPRegression(),
    GPRegression(whitened=False),
    GPClassification(),
    GPClassification(inputs=11, amplitude=1.0, spread=0.4),
    StateSpace(),
    StateSpace(steps=5, level_noise=0.7),
    LinearRegression(),
    LinearRegression(dim=3, noise=0.4),
]


def prior(problem: Any) -> Tensor:
    """Draws from the prior in the problem's own coordinates, [100, D]."""
    torch.manual_seed(0)  # what torch's distributions draw from
    unit = torch.randn(POINTS, problem.dim, dtype=torch.float64)
    log_cauchy = Cauchy(0.0, 1.0).sample((POINTS, problem.dim)).double().abs().log()
    if isinstance(problem, EightSchools | EightSchoolsCentred):
        z = torch.cat([problem.mu_scale * unit[:, :1], unit[:, 1:]], 1)
        z[:, 1] = log_cauchy[:, 1] + torch.tensor(problem.tau_scale).log()
        if isinstance(problem, EightSchoolsCentred):
            z[:, 2:] = z[:, :1] + z[:, 1:2].exp() * z[:, 2:]
        return z
    if isinstance(problem, Horseshoe):
        z = torch.cat([unit[:, :10], log_cauchy[:, 10:21], unit[:, 21:].abs().log()], 1)
        odds = problem.relevant / (10 - problem.relevant) * (z[:, 10:20] + z[:, 20:21]).exp()
        z[:, :10] *= (1 + odds.square()).sqrt()
        return z
    if isinstance(problem, PoissonEffects):
        scales = [problem.intercept_scale, problem.slope_scale]
        z = torch.cat([unit[:, :2] * torch.tensor(scales), unit[:, 2:]], 1)
        z[:, 2] = (problem.spread_scale * unit[:, 2].abs()).log()
        return z
    if isinstance(problem, GPClassification):
        medians = torch.tensor([problem.amplitude, problem.lengthscale]).double().log()
        return torch.cat([medians + problem.spread * unit[:, :2], unit[:, 2:]], 1)
    if isinstance(problem, GPRegression | LinearRegression):
        return problem.model.prior.sample(POINTS, seeded(0))
    if isinstance(problem, StateSpace):
        steps = torch.cat([problem.initial * unit[:, :1], problem.level_noise * unit[:, 1:20]], 1)
        return torch.cat([steps[:, : problem.steps].cumsum(1), 0.1 * unit[:, problem.steps :]], 1)
    return getattr(problem, "prior_scale", 1.0) * unit


def must_be_one(problem: Problem, z: Tensor, constant: Tensor | None = None) -> Tensor:
    """The constant by which the twin is off at all of the points."""
    program = problem.stan_program
    assert program is not None
    ours, slope = CountedTarget(problem, compiled=False).value_and_grad(z)
    theirs, other = program.value_and_grad(z)  # type: ignore[attr-defined]
    kept = ours.abs() < 1e12  # where a digit of the density is still worth something
    assert int(kept.sum()) > 0.9 * POINTS
    difference = (ours - theirs)[kept]
    constant = difference.median() if constant is None else constant
    size = 1 + ours.abs()[kept]
    assert float(((difference - constant).abs() / size).max()) < APART
    scale = 1 + slope.abs().amax(-1, keepdim=True)
    assert float(((slope - other).abs() / scale)[kept].max()) < APART
    return constant


@pytest.mark.parametrize("problem", TWINS, ids=str)
def test_ours_and_the_twins_densities_differ_by_one_constant(problem: Any) -> None:
    try:
        posterior = problem.truth.sample(POINTS, seeded(1))
    except MissingReferenceError:  # of the defaults alone there are references
        assert problem != type(problem)()
        posterior = prior(problem)
    constant = must_be_one(problem, posterior)
    must_be_one(problem, prior(problem), constant)


def test_every_twin_has_its_test() -> None:
    programs = {type(problem).__name__ for problem in TWINS}
    assert len(list(FOLDER.glob("*.stan"))) == len(programs)


def test_the_twin_has_the_parameters_that_the_problem_constrains_to() -> None:
    z = EightSchools().truth.sample(20, seeded(0))
    program = EightSchools().stan_program
    seen = program.constrain(z)  # type: ignore[attr-defined]
    for name, value in EightSchools().constrain(z).items():
        torch.testing.assert_close(seen[name], value, rtol=1e-12, atol=1e-12)
