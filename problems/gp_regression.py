r"""Gaussian-process regression with a fixed kernel: a smooth function seen through noise, easy or
hard by its coordinates.

.. math::
    f \sim N(0, K), \quad K_{ij} = a^2 (1 + r_{ij}) e^{-r_{ij}}, \quad r_{ij} = \sqrt{3}\, |x_i -
    x_j| / \ell, \qquad y_i \sim N(f_i, \sigma^2)

the Matern kernel of order 3/2 at evenly spaced inputs from 0 to 1. Whitened, the coordinates are w
with f = chol(K) w, and the prior is round; as they stand, they are f itself, and neighbours are
nearly equal. Data are simulated from the model. Source: Rasmussen and Williams, Gaussian Processes
for Machine Learning, 2006, ISBN 026218253X, chapters 2 and 4.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from problems.base import StanProgram, Trait
from problems.parts.ingredients import prepare, seeded
from problems.parts.linear_gaussian import LinearGaussian, LinearModel
from problems.parts.twins import twin
from problems.parts.validate import require_positive, require_whole


@dataclass(frozen=True)
class GPRegression(LinearGaussian):
    """The function's values at the inputs, z = w or z = f.

    Args:
        dim: D, inputs, and so values.
        lengthscale: l, in units of the inputs.
        amplitude: a, standard deviation of the function.
        noise: sigma, standard deviation of an observation.
        whitened: whether the coordinates are w or f.
        seed: of function and noise; both kinds of coordinates have the same data.
    """

    dim: int = 25
    lengthscale: float = 0.3
    amplitude: float = 1.0
    noise: float = 0.3
    whitened: bool = True
    seed: int = 0
    name: ClassVar[str] = "gp-regression"
    traits: ClassVar[tuple[Trait, ...]] = ("gaussian", "correlated", "regression")

    def __post_init__(self) -> None:
        require_whole(self, dim=2, seed=0)
        require_positive(self, "lengthscale", "amplitude", "noise")
        prepare(self, "_root", "model")

    @functools.cached_property
    def _root(self) -> Tensor:  # chol(K), [D, D]
        inputs = torch.linspace(0, 1, self.dim, dtype=torch.float64)
        distance = math.sqrt(3) / self.lengthscale * (inputs[:, None] - inputs).abs()
        root: Tensor = torch.linalg.cholesky((1 + distance) * torch.exp(-distance))
        return self.amplitude * root

    @functools.cached_property
    def model(self) -> LinearModel:
        identity = torch.eye(self.dim, dtype=torch.float64)
        design, factor = (self._root, identity) if self.whitened else (identity, self._root)
        return LinearModel(design, factor, self.noise, seeded(self.seed))

    @property
    def stan_program(self) -> StanProgram:
        return twin(
            "gp_regression",
            N=self.dim,
            x=torch.linspace(0, 1, self.dim, dtype=torch.float64),
            y=self.model.observed,
            amplitude=self.amplitude,
            lengthscale=self.lengthscale,
            noise=self.noise,
            whitened=int(self.whitened),
        )

    @property
    def coordinates(self) -> tuple[str, ...]:
        letter = "w" if self.whitened else "f"
        return tuple(f"{letter}[{i + 1}]" for i in range(self.dim))

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return {"f": z @ self._root.T if self.whitened else z}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        f = values["f"]
        if not self.whitened:
            return f
        w: Tensor = torch.linalg.solve_triangular(self._root, f.unsqueeze(-1), upper=False)
        return w.squeeze(-1)
