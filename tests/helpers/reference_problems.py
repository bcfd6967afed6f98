"""The problems that only simulation can tell the truth of, as shipped and with other settings, each
model written out anew.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    HalfCauchy,
    HalfNormal,
    LogNormal,
    MultivariateNormal,
    Normal,
    Poisson,
)

import problems
from problems.base import Problem
from problems.gp_classification import GPClassification
from problems.horseshoe import Horseshoe
from problems.logistic_regression import LogisticRegression
from problems.poisson_effects import PoissonEffects
from tests.helpers.exact_problems import label

Terms = list[tuple[Any, Tensor]]  # laws, and the values that follow them

SHIPPED: list[Problem] = [LogisticRegression(), Horseshoe(), PoissonEffects(), GPClassification()]
ALTERED: list[Problem] = [
    LogisticRegression(prior_scale=0.8),
    Horseshoe(relevant=6.5),
    PoissonEffects(
        groups=4, rows=2, intercept_scale=0.7, slope_scale=1.7, spread_scale=0.6, seed=3
    ),
    GPClassification(inputs=2, amplitude=0.8, lengthscale=0.6, spread=0.4, seed=1),
    GPClassification(inputs=8, amplitude=4.0, lengthscale=0.05, spread=1.3, seed=2),
]
every_problem = pytest.mark.parametrize("problem", SHIPPED + ALTERED, ids=label)
shipped_problem = pytest.mark.parametrize("problem", SHIPPED, ids=label)


@functools.cache
def raw(name: str) -> Tensor:
    """A shipped table as it stands in the file, [N, K + 1]."""
    path = Path(problems.__file__).parent / "data" / f"{name}.csv"
    return torch.as_tensor(np.loadtxt(path, delimiter=",", skiprows=1))


def unit(columns: Tensor) -> Tensor:
    return (columns - columns.mean(0)) / columns.var(0, unbiased=False).sqrt()


def double(number: float) -> Tensor:
    """torch.distributions makes float32 of a plain number."""
    return torch.tensor(number, dtype=torch.float64)


def log_joint(problem: Problem, values: dict[str, Tensor]) -> Tensor:
    """log p(y, parameters) of one point in the model's own units: []."""
    parts = {
        LogisticRegression: _logistic,
        Horseshoe: _horseshoe,
        PoissonEffects: _poisson,
        GPClassification: _gp,
    }
    terms: Terms = parts[type(problem)](problem, values)
    return torch.stack([law.log_prob(value).sum() for law, value in terms]).sum()


def _logistic(problem: Any, v: dict[str, Tensor]) -> Terms:
    data, prior = raw("breast_cancer"), Normal(double(0.0), double(problem.prior_scale))
    logits = v["intercept"] + unit(data[:, :-1]) @ v["weights"]
    return [(prior, v["intercept"]), (prior, v["weights"]), (Bernoulli(logits=logits), data[:, -1])]


def _horseshoe(problem: Any, v: dict[str, Tensor]) -> Terms:
    data = unit(raw("diabetes"))
    tau_scale = problem.relevant / (10 - problem.relevant) * v["sigma"] / math.sqrt(442)
    return [
        (HalfNormal(double(1.0)), v["sigma"]),
        (HalfCauchy(tau_scale), v["tau"]),
        (HalfCauchy(double(1.0)), v["lambda"]),
        (Normal(0.0, v["tau"] * v["lambda"]), v["weights"]),
        (Normal(data[:, :-1] @ v["weights"], v["sigma"]), data[:, -1]),
    ]


def _poisson(problem: Any, v: dict[str, Tensor]) -> Terms:
    log_rate = v["intercept"] + v["slope"] * problem.counts.x + v["effects"].unsqueeze(-1)
    return [
        (Normal(double(0.0), double(problem.intercept_scale)), v["intercept"]),
        (Normal(double(0.0), double(problem.slope_scale)), v["slope"]),
        (HalfNormal(double(problem.spread_scale)), v["spread"]),
        (Normal(0.0, v["spread"]), v["effects"]),
        (Poisson(log_rate.exp()), problem.counts.y),
    ]


def _gp(problem: Any, v: dict[str, Tensor]) -> Terms:
    x = torch.linspace(0, 1, problem.inputs, dtype=torch.float64)
    kernel = v["amplitude"].square() * torch.exp(-(x[:, None] - x).abs() / v["lengthscale"])
    spread = double(problem.spread)
    return [
        (LogNormal(double(problem.amplitude).log(), spread), v["amplitude"]),
        (LogNormal(double(problem.lengthscale).log(), spread), v["lengthscale"]),
        (MultivariateNormal(torch.zeros_like(x), kernel), v["f"]),
        (Bernoulli(logits=v["f"]), (problem.labels + 1) / 2),
    ]
