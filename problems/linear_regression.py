r"""Linear regression on correlated columns: the plainest Bayesian model, with its evidence.

.. math:: \beta \sim N(0, t^2 I), \qquad y_i \sim N(x_i^\top \beta, \sigma^2)

The rows x_i are normal with correlations rho^|j - k|, so the posterior is correlated the other way
round. Data are simulated from the model. Posterior and evidence: ``linear_gaussian``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from problems.base import StanProgram, Trait
from problems.parts.ingredients import autoregressive_factor, normal, prepare, seeded
from problems.parts.linear_gaussian import LinearGaussian, LinearModel
from problems.parts.twins import twin
from problems.parts.validate import require_correlation, require_positive, require_whole


@dataclass(frozen=True)
class LinearRegression(LinearGaussian):
    """The weights of a linear regression without intercept, z = beta.

    Args:
        dim: D, columns and weights.
        rows: observations.
        correlation: rho, of neighbouring columns.
        prior_scale: t, standard deviation of a weight before the data.
        noise: sigma, standard deviation of an observation.
        seed: of columns, weights and noise.
    """

    dim: int = 10
    rows: int = 40
    correlation: float = 0.9
    prior_scale: float = 1.0
    noise: float = 1.0
    seed: int = 0
    name: ClassVar[str] = "linear-regression"
    traits: ClassVar[tuple[Trait, ...]] = ("gaussian", "correlated", "regression")

    def __post_init__(self) -> None:
        require_whole(self, dim=1, rows=1, seed=0)
        require_positive(self, "prior_scale", "noise")
        require_correlation(self, "correlation")
        prepare(self, "model")

    @functools.cached_property
    def model(self) -> LinearModel:
        generator = seeded(self.seed)
        columns = (
            normal(generator, self.rows, self.dim)
            @ autoregressive_factor(self.dim, self.correlation).T
        )
        return LinearModel(
            columns,
            self.prior_scale * torch.eye(self.dim, dtype=torch.float64),
            self.noise,
            generator,
        )

    @property
    def stan_program(self) -> StanProgram:
        return twin(
            "linear_regression",
            N=self.rows,
            K=self.dim,
            x=self.model.design,
            y=self.model.observed,
            prior_scale=self.prior_scale,
            noise=self.noise,
        )

    @property
    def coordinates(self) -> tuple[str, ...]:
        return tuple(f"beta[{i + 1}]" for i in range(self.dim))

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return {"beta": z}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return values["beta"]
