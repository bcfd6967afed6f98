"""The first five problems, as shipped and with other settings, and how their draws are held against
a known mean.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from problems.base import Exact, Problem
from problems.eight_schools import EightSchools, EightSchoolsCentred
from problems.mixture import Mixture
from problems.ring import Ring
from problems.signed_eight_schools import SignedEightSchools

SIGMAS = 4.5  # every statistical tolerance, in standard errors
P_VALUE = 1e-5  # and, for tests of fit, as a probability: that of a deviation so large
N = 120_000  # draws of the truth: a spread wrong by 2% is seen
Schools = EightSchools | EightSchoolsCentred | SignedEightSchools

FEW: dict[str, Any] = {
    "y": (4.0, -1.0, 9.0),
    "sigma": (2.0, 1.0, 0.5),
    "mu_scale": 3.0,
    "tau_scale": 0.7,
}
SCHOOLS: list[Schools] = [
    EightSchools(),
    EightSchoolsCentred(),
    SignedEightSchools(),
    EightSchools(**FEW),
    EightSchoolsCentred(**FEW),
    SignedEightSchools(**FEW),
]
PLANAR: list[Mixture | Ring] = [
    Mixture(),
    Ring(),
    Mixture(0.4, 0.9, 0.3),
    Ring(bumps=3, radius=1.0, scale=0.7),
]
PROBLEMS: list[Problem] = [*PLANAR, *SCHOOLS]


def label(problem: object) -> str:
    if not isinstance(problem, Problem):
        return ""
    return f"{problem.name}{'' if problem == type(problem)() else '-altered'}"


every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=label)
every_school = pytest.mark.parametrize("problem", SCHOOLS, ids=label)


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def scattered(problem: Problem, *shape: int) -> Tensor:
    return 1.5 * torch.randn(*shape, problem.dim, generator=seeded(7), dtype=torch.float64)


def exact(problem: Problem) -> Exact:
    assert isinstance(problem.truth, Exact)
    return problem.truth


@functools.cache
def draws(problem: Problem) -> Tensor:
    return exact(problem).sample(N, seeded(11))


def assert_mean(values: Tensor, expected: Tensor | float) -> None:
    """The mean over rows equals the expected one, within SIGMAS standard errors, coordinate by
    coordinate.
    """
    stderr = values.std(0) / math.sqrt(len(values))
    assert bool(((values.mean(0) - expected).abs() <= SIGMAS * stderr).all()), (
        values.mean(0) - expected
    ) / stderr
