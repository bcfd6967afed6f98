r"""A correlated multivariate Student-t: one mode, and tails that no Gaussian follows.

.. math::
    p(z) \propto \left(1 + \tfrac{1}{\nu}\, z^\top \Sigma^{-1} z\right)^{-(\nu + D)/2}, \quad
    \Sigma_{ij} = \rho^{|i - j|}

With the default of five degrees of freedom the fourth moments exist, so sample covariances have a
standard error; from four down they have none, from two down there is no covariance either. Source:
Kotz and Nadarajah, Multivariate t-Distributions and Their Applications, 2004, doi
10.1017/CBO9780511550683.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch

from problems.base import Trait
from problems.parts.elliptical import Elliptical, EllipticalProblem
from problems.parts.ingredients import autoregressive_factor, prepare
from problems.parts.validate import require_correlation, require_whole


@dataclass(frozen=True)
class StudentT(EllipticalProblem):
    """A multivariate Student-t distribution about zero, with correlated coordinates.

    Args:
        dim: D.
        dof: degrees of freedom nu, a whole number.
        correlation: rho, of neighbouring coordinates.
    """

    dim: int = 10
    dof: int = 5
    correlation: float = 0.7
    name: ClassVar[str] = "student-t"
    traits: ClassVar[tuple[Trait, ...]] = ("heavy-tailed", "correlated")

    def __post_init__(self) -> None:
        require_whole(self, dim=1, dof=1)
        require_correlation(self, "correlation")
        prepare(self, "law")

    @functools.cached_property
    def law(self) -> Elliptical:
        factor = autoregressive_factor(self.dim, self.correlation)
        return Elliptical.single(torch.zeros(self.dim, dtype=torch.float64), factor, self.dof)
