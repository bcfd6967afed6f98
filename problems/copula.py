r"""A Gaussian copula with skewed marginals: Gaussian dependence, no Gaussian in sight.

.. math:: g \sim N(0, C), \quad C_{ij} = \rho^{|i - j|}, \qquad
   z_i = \sinh\!\left(\frac{\operatorname{arsinh}(g_i) + \epsilon_i}{\delta}\right)

Each marginal is a sinh-arcsinh law: epsilon skews it, delta below 1 makes its tails heavier than a
normal's. The skews run evenly from -epsilon at the first coordinate to epsilon at the last. The map
is undone by g = sinh(delta arsinh(z) - epsilon), with dg/dz = delta sqrt((1 + g^2) / (1 + z^2)).
Source: Jones and Pewsey, Sinh-arcsinh distributions, 2009, doi 10.1093/biomet/asp053.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, Problem, Trait
from problems.parts.elliptical import Elliptical
from problems.parts.ingredients import autoregressive_factor, prepare
from problems.parts.validate import (
    require_correlation,
    require_finite,
    require_positive,
    require_whole,
)


@dataclass(frozen=True)
class Copula(Problem):
    """A Gaussian copula with skewed, heavy-tailed marginals.

    Args:
        dim: D.
        correlation: rho, of neighbouring g.
        skew: epsilon of the last coordinate; minus that of the first.
        tail: delta; 1 keeps a normal's tails.
    """

    dim: int = 10
    correlation: float = 0.7
    skew: float = 0.8
    tail: float = 0.9
    name: ClassVar[str] = "copula"
    traits: ClassVar[tuple[Trait, ...]] = ("correlated", "skewed")

    def __post_init__(self) -> None:
        require_whole(self, dim=2)
        require_correlation(self, "correlation")
        require_finite(self, "skew")
        require_positive(self, "tail")
        prepare(self, "_gaussian", "_skews")

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, log_z=0.0)

    def log_density(self, z: Tensor) -> Tensor:
        g = torch.sinh(self.tail * torch.asinh(z) - self._skews)
        log_slope = math.log(self.tail) + 0.5 * (torch.log1p(g.square()) - torch.log1p(z.square()))
        return self._gaussian.log_prob(g) + log_slope.sum(-1)

    def push(self, g: Tensor) -> Tensor:
        """The map that gives every coordinate its marginal: [..., D] -> [..., D]."""
        return torch.sinh((torch.asinh(g) + self._skews) / self.tail)

    @functools.cached_property
    def _gaussian(self) -> Elliptical:
        return Elliptical.single(
            torch.zeros(self.dim, dtype=torch.float64),
            autoregressive_factor(self.dim, self.correlation),
        )

    @functools.cached_property
    def _skews(self) -> Tensor:
        return torch.linspace(-self.skew, self.skew, self.dim, dtype=torch.float64)

    def _sample(self, n: int, generator: Generator) -> Tensor:
        return self.push(self._gaussian.sample(n, generator))
