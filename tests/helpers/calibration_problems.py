"""The exact problems to calibrate on, as shipped and with other settings."""

from __future__ import annotations

import pytest

from problems.banana import Banana
from problems.base import Problem
from problems.copula import Copula
from problems.crescents import Crescents
from problems.flow import Flow
from problems.funnel import Funnel
from problems.gaussian import Gaussian2, Gaussian100, Isotropic2, Isotropic100
from problems.gaussian_mixture import GaussianMixture2, GaussianMixture10, GaussianMixture50
from problems.gp_regression import GPRegression
from problems.linear_regression import LinearRegression
from problems.state_space import StateSpace
from problems.student_mixture import StudentMixture
from problems.student_t import StudentT
from problems.torus import Torus
from tests.helpers.exact_problems import label

SHIPPED: list[Problem] = [
    Gaussian2(),
    Gaussian100(),
    Isotropic2(),
    Isotropic100(),
    StudentT(),
    Banana(),
    Funnel(),
    Torus(),
    Crescents(),
    GaussianMixture2(),
    GaussianMixture10(),
    GaussianMixture50(),
    StudentMixture(),
    LinearRegression(),
    GPRegression(),
    StateSpace(),
    Copula(),
    Flow(),
]
ALTERED: list[Problem] = [
    Gaussian2(dim=1),
    Gaussian2(dim=3, condition=5.0, seed=4),
    StudentT(dim=3, dof=1, correlation=-0.5),
    Banana(scale=1.5, bend=-0.6, width=0.7),
    Funnel(dim=2, scale=1.0),
    Torus(radius=2.5, tube=0.6, thickness=0.1),
    Crescents(offset=0.5, height=-1.0, spread=0.8, bend=-0.4, width=0.5),
    GaussianMixture2(
        dim=3, components=5, box=9.0, scale=0.7, condition=6.0, weight_ratio=3.0, seed=2
    ),
    StudentMixture(dim=2, radius=3.0, dof=2),
    LinearRegression(dim=4, rows=3, correlation=-0.6, prior_scale=2.0, noise=0.4, seed=5),
    GPRegression(dim=8, lengthscale=0.5, amplitude=1.7, noise=0.2, seed=3),
    GPRegression(whitened=False),
    StateSpace(steps=3, initial=0.8, level_noise=0.5, slope_noise=0.9, noise=0.3, seed=6),
    Copula(dim=2, correlation=-0.4, skew=-0.3, tail=1.2),
    Flow(dim=3, layers=3, width=5, strength=0.8, seed=1),
]
every_problem = pytest.mark.parametrize("problem", SHIPPED + ALTERED, ids=label)


def some(*kinds: type[Problem]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "problem", [p for p in SHIPPED + ALTERED if isinstance(p, kinds)], ids=label
    )
