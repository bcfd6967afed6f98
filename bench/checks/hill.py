r"""The posterior that methods are checked on: small, smooth, known in every respect, and nowhere
standard.

.. math:: \log p(z) = c - \tfrac12 (z - m)^T S^{-1} (z - m), \quad S_{ij} = s_i s_j \rho^{|i - j|}

Off the origin, with unequal scales, correlated, and not normalised: what is assumed in silence
shows. Its two sides are called modes, so that metrics of modes have something to count.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from bench.fitting.meter import BudgetSpentError
from bench.plugins import spec
from methods.base import Approximation
from problems.base import Exact, GaussianPrior, Modes, Problem, StanProgram

CORRELATION = 0.6
HEIGHT = 3.0  # c, nats
LEFT = -1.0  # mean of the first coordinate
# standard deviation that is called the prior's in each coordinate; wider than the hill, so that
# what is left is a likelihood
PRIOR = 4.0


@dataclass
class Ledger:
    """What a method asked of the density.

    Args:
        allowance: rows it may evaluate; more raise BudgetSpentError. It stops a method that takes
            no gradients at the same place every time, which a clock would not.
        rows: evaluated by plain calls so far.
        largest: rows of the largest call.
    """

    allowance: float = math.inf
    rows: int = 0
    largest: int = 0

    def charge(self, rows: int) -> None:
        """Account for one call.

        Raises:
            BudgetSpentError: if the allowance is used up.
        """
        if self.rows >= self.allowance:
            raise BudgetSpentError
        self.rows += rows
        self.largest = max(self.largest, rows)


class _Shape(NamedTuple):
    loc: Tensor
    root: Tensor
    precision: Tensor


@functools.lru_cache(maxsize=8)
def _shape(dims: int) -> _Shape:
    scale = torch.linspace(0.5, 1.5, dims, dtype=torch.float64)
    steps = torch.arange(dims)
    covariance = scale.outer(scale) * CORRELATION ** (steps - steps[:, None]).abs()
    loc = torch.linspace(LEFT, 1.5, dims, dtype=torch.float64)
    return _Shape(loc, torch.linalg.cholesky(covariance), torch.linalg.inv(covariance))


@dataclass(frozen=True, eq=False)
class Hill(Problem):
    """The Gaussian above in D dimensions.

    Args:
        dims: D.
        ledger: where the calls of the density are written down.
    """

    dims: int = 2
    ledger: Ledger = field(default_factory=Ledger)
    name: ClassVar[str] = "hill"

    def __post_init__(self) -> None:
        _shape(self.dims)  # made here, where no tracer or transform of torch is watching

    @property
    def dim(self) -> int:
        return self.dims

    @property
    def log_z(self) -> float:
        """Log of the integral of the density of the hill, nats."""
        return (
            HEIGHT
            + 0.5 * self.dims * math.log(2 * math.pi)
            + float(_shape(self.dims).root.diagonal().log().sum())
        )

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, self.log_z)

    @property
    def gaussian_prior(self) -> GaussianPrior:
        return GaussianPrior.independent([0.0] * self.dims, [PRIOR] * self.dims)

    @property
    def modes(self) -> Modes:
        return Modes(lambda z: (z[..., 0] > LEFT).long(), (0.5, 0.5))

    @property
    def stan_program(self) -> StanProgram | None:
        shape = _shape(self.dims)
        data = {
            "D": self.dims,
            "loc": shape.loc.tolist(),
            "precision": shape.precision.tolist(),
        }
        program = Path(__file__).with_suffix(".stan")
        made: Problem = spec.make("problems", str(program), {"data": json.dumps(data)}).build()
        return made.stan_program

    def log_density(self, z: Tensor) -> Tensor:
        self.ledger.charge(z.shape[:-1].numel())
        shape = _shape(self.dims)
        away = z - shape.loc
        return HEIGHT - 0.5 * ((away @ shape.precision) * away).sum(-1)

    def _sample(self, n: int, generator: Generator) -> Tensor:
        noise = torch.randn(n, self.dims, generator=generator, dtype=torch.float64)
        return _shape(self.dims).loc + noise @ _shape(self.dims).root.T


@dataclass(frozen=True, eq=False)
class HillInUnits(Hill):
    """The same hill of a model whose first parameter is a scale: its coordinate is a logarithm."""

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return {"scale": z[..., 0].exp(), "place": z[..., 1:]}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([values["scale"].log().unsqueeze(-1), values["place"]], -1)


@dataclass(frozen=True, eq=False)
class HillItself(Approximation):
    """The truth as an approximation with a density: what a metric sees of a perfect method."""

    hill: Hill

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.hill.truth.sample(n, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.hill.log_density(z) - self.hill.log_z
