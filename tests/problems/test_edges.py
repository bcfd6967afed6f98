"""Values on the edge of a constraint are refused and counted, in every problem that has one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator
from torch.distributions import constraints

from problems.base import Problem
from problems.eight_schools import EightSchools, EightSchoolsCentred
from problems.gp_classification import GPClassification
from problems.horseshoe import Horseshoe
from problems.parts.edges import interior, settled
from problems.poisson_effects import PoissonEffects
from problems.signed_eight_schools import SignedEightSchools

POSITIVE: list[tuple[Problem, str]] = [
    (EightSchools(), "tau"),
    (EightSchoolsCentred(), "tau"),
    (GPClassification(), "amplitude"),
    (GPClassification(), "lengthscale"),
    (Horseshoe(), "lambda"),
    (Horseshoe(), "sigma"),
    (Horseshoe(), "tau"),
    (PoissonEffects(), "spread"),
]


@pytest.mark.parametrize("edge", [0.0, -0.1, math.inf, math.nan])
@pytest.mark.parametrize(
    ("problem", "name"), POSITIVE, ids=[f"{p.name}-{name}" for p, name in POSITIVE]
)
def test_a_positive_parameter_that_is_not(problem: Problem, name: str, edge: float) -> None:
    z = torch.randn(3, problem.dim, generator=Generator().manual_seed(0), dtype=torch.float64)
    values = problem.constrain(z)
    values[name].view(3, -1)[1, 0] = edge
    with pytest.raises(ValueError, match=rf"{problem.name}: 1 of \d+ values of '{name}' have no"):
        problem.unconstrain(values)


def test_a_spread_of_any_sign_must_not_be_zero() -> None:
    problem = SignedEightSchools()
    values = problem.constrain(torch.ones(2, problem.dim, dtype=torch.float64))
    values["tau"][1] = 0.0
    with pytest.raises(ValueError, match="1 of 2 values of 'tau'"):
        problem.unconstrain(values)


GOOD, BAD = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.5, 0.5, 0.0])
CASES = {
    "positive": (constraints.positive, torch.tensor([0.1, 0.0]), [True, False]),
    "interval": (constraints.interval(-1, 2), torch.tensor([-1.0, 0.0, 2.0]), [False, True, False]),
    "less than": (constraints.less_than(3.0), torch.tensor([2.0, 3.0]), [True, False]),
    "unit": (constraints.unit_interval, torch.tensor([0.0, 0.5, 1.0]), [False, True, False]),
    "real": (constraints.real, torch.tensor([0.0, math.inf]), [True, False]),
    "simplex": (constraints.simplex, torch.stack([GOOD, BAD, 2 * GOOD]), [True, False, False]),
    "correlation": (
        constraints.corr_cholesky,
        torch.stack([torch.eye(2), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])]),
        [True, False],
    ),
    "covariance": (
        constraints.positive_definite,
        torch.stack([torch.eye(2), torch.ones(2, 2)]),
        [True, False],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_inside_and_on_the_edge_of_each_constraint(case: str) -> None:
    support, values, expected = CASES[case]
    assert interior(support, values)[0].tolist() == expected
    independent = constraints.independent(support, 1)
    assert interior(independent, values)[0].tolist() == expected


def test_rounded_shares_sum_to_one_again() -> None:
    rounded = torch.tensor([0.333, 0.333, 0.333])
    assert float(settled(constraints.simplex, rounded).sum()) == pytest.approx(1.0, abs=1e-6)
    assert torch.equal(settled(constraints.positive, rounded), rounded)
