"""Densities and covariances written down a second time, with the libraries and formulas that the
problems do not use.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg, special, stats
from torch import Tensor

from problems.banana import Banana
from problems.copula import Copula
from problems.funnel import Funnel
from problems.gp_regression import GPRegression
from problems.linear_regression import LinearRegression
from problems.student_mixture import StudentMixture
from problems.student_t import StudentT


def double(array: Any) -> Tensor:
    return torch.as_tensor(np.asarray(array), dtype=torch.float64)


def toeplitz(problem: StudentT | Copula) -> NDArray[np.float64]:
    return linalg.toeplitz(problem.correlation ** np.arange(problem.dim))


def log_density(problem: Any, z: Tensor) -> Tensor:
    """Of a normalised problem, from its settings: [n, D] -> [n]."""
    if isinstance(problem, Funnel):
        x = np.sum(stats.norm.logpdf(z[:, 1:], scale=(z[:, :1] / 2).exp()), -1)
        return double(x + stats.norm.logpdf(z[:, 0], scale=problem.scale))
    if isinstance(problem, Banana):
        ridge = problem.bend * (z[:, 0] ** 2 - problem.scale**2)
        return double(
            stats.norm.logpdf(z[:, 0], scale=problem.scale)
            + stats.norm.logpdf(z[:, 1], ridge, problem.width)
        )
    if isinstance(problem, StudentT):
        return double(stats.multivariate_t(shape=toeplitz(problem), df=problem.dof).logpdf(z))
    if isinstance(problem, StudentMixture):
        centres = problem.radius * np.concatenate((np.eye(problem.dim), -np.eye(problem.dim)))
        parts = [
            stats.multivariate_t(centre, np.eye(problem.dim), problem.dof).logpdf(z)
            for centre in centres
        ]
        return double(special.logsumexp(parts, axis=0) - math.log(len(parts)))
    law = problem.law
    covariances = law.factors @ law.factors.mT
    parts = [
        stats.multivariate_normal(m, c).logpdf(z)
        for m, c in zip(law.means, covariances, strict=True)
    ]
    return double(special.logsumexp(parts, axis=0, b=law.weights[:, None]))


def signal_covariance(problem: Any) -> Any:
    """Of the data without their noise, before they are seen, [N, N]."""
    if isinstance(problem, LinearRegression):
        return problem.prior_scale**2 * (problem.model.design @ problem.model.design.T).numpy()
    if isinstance(problem, GPRegression):  # Matern's kernel by its general formula
        grid = np.linspace(0, 1, problem.dim)
        r = np.maximum(math.sqrt(3) * np.abs(grid[:, None] - grid) / problem.lengthscale, 1e-8)
        return problem.amplitude**2 * 2**-0.5 / math.gamma(1.5) * r**1.5 * special.kv(1.5, r)
    t = np.arange(problem.steps)
    later = np.minimum(t[:, None], t)
    slopes = sum(
        np.clip(t[:, None] - s - 1, 0, None) * np.clip(t - s - 1, 0, None)
        for s in range(problem.steps)
    )
    first = problem.initial**2 * (1 + np.outer(t, t))
    return first + problem.level_noise**2 * later + problem.slope_noise**2 * slopes
