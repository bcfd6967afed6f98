r"""Student's t in several dimensions, half as wide again as the truth: what the metrics read where
moments do not exist.

.. math:: q(z) = s^{-D} p(z / s), \qquad p(z) \propto (1 + \|z\|^2 / \nu)^{-(\nu + D)/2}

Both are normal laws of random width, z = sqrt(w) g with w = nu / chi^2_nu, and their ratio depends
on the distance from the centre alone: all truths are integrals over one variable or two.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq
from torch import Generator, Tensor

from bench.calibration.case import Case, Form
from bench.calibration.gaussians import DrawsOnly, normal
from bench.metrics.coverage import CLAIMS
from bench.metrics.draws.tails import QUARTILES
from bench.metrics.quantiles import LEVELS
from methods.base import Approximation
from problems.base import Exact, Problem

Floats = NDArray[np.float64]
DIM, WIDER = 3, 1.5
DOFS = (1.0, 1.5, 3.0)
NODES, PAIRS = 100_000, 400  # of an integral over one variable, and over each of two


@dataclass(frozen=True, eq=False)
class Student(Approximation):
    """A multivariate Student-t about zero, with its density.

    Args:
        dim: D; dof: nu; scale: s.
    """

    dim: int
    dof: float
    scale: float = 1.0

    def sample(self, n: int, generator: Generator) -> Tensor:
        u = torch.rand(n, 1, generator=generator, dtype=torch.float64)
        widths = torch.from_numpy(_widths(u.numpy(), self.dof))
        return self.scale * widths.sqrt() * normal(generator, n, self.dim)

    def log_prob(self, z: Tensor) -> Tensor:
        half = (self.dof + self.dim) / 2
        constant = math.lgamma(half) - math.lgamma(self.dof / 2)
        constant -= self.dim * (0.5 * math.log(self.dof * math.pi) + math.log(self.scale))
        away = (z / self.scale).square().sum(-1) / self.dof
        return constant - half * torch.log1p(away)


@dataclass(frozen=True, eq=False)
class HeavyTails(Problem):
    """A multivariate Student-t as the truth, its density short of a constant."""

    law: Student
    log_z: float = 1.5
    name: ClassVar[str] = "heavy-tails"

    @property
    def dim(self) -> int:
        return self.law.dim

    @property
    def moments(self) -> float:
        return self.law.dof

    @property
    def truth(self) -> Exact:
        return Exact(self.law.sample, self.log_z)

    def log_density(self, z: Tensor) -> Tensor:
        return self.law.log_prob(z) + self.log_z


@functools.cache
def heavy_tails(dof: float, dim: int = DIM) -> Case:
    """A Student-t half as wide again as the truth."""
    p, q = HeavyTails(Student(dim, dof)), Student(dim, dof, WIDER)
    truths = divergences(dof, dim) | marginals(dof) | {"MMD^2": mmd_squared(dof, dim)}
    truths |= {"log Z error": 0.0, "ELBO": p.log_z - truths["KL(q||p)"]}
    return Case(f"t, nu = {dof:g}", p, {"density": q, "draws": DrawsOnly(q)}, truths)


@functools.cache
def heavy_itself(dof: float, dim: int = DIM) -> Case:
    """A Student-t beside fresh draws of itself."""
    law = Student(dim, dof)
    forms: dict[Form, Approximation] = {"density": law, "draws": DrawsOnly(law)}
    truths = {"C2ST accuracy": 0.5, "ELBO": HeavyTails(law).log_z, "ESS share": 1.0}
    return Case(f"t itself, nu = {dof:g}", HeavyTails(law), forms, truths, same=True)


def divergences(dof: float, dim: int) -> dict[str, float]:
    """Figures of log q - log p, by an integral over the distance from the centre."""
    u = (np.arange(NODES) + 0.5) / NODES
    # squared distance over D follows the F law
    beta = special.betaincinv(dim / 2, dof / 2, u)
    radius = torch.from_numpy(np.sqrt(dof * beta / (1 - beta)))
    points = torch.zeros(NODES, dim, dtype=torch.float64)
    points[:, 0] = radius
    p, q = Student(dim, dof), Student(dim, dof, WIDER)

    def ratio(z: Tensor) -> Tensor:
        return q.log_prob(z) - p.log_prob(z)

    at_p, at_q = ratio(points), ratio(WIDER * points)
    of_q, of_p = (float((values > 0).double().mean()) for values in (at_q, at_p))
    return {
        "KL(q||p)": float(at_q.mean()),
        "KL(p||q)": -float(at_p.mean()),
        "C2ST accuracy": 0.5 * (1 + of_q - of_p),
        "ESS share": 1 / float((-2 * at_q).exp().mean()),
    }


def marginals(dof: float) -> dict[str, float]:
    """Figures of one coordinate, a Student-t on the line; of moments where they exist."""
    scale = _unit(dof)
    farthest = max(abs(float(special.stdtrit(dof, level))) for level in LEVELS)
    misses = [
        abs(
            2 * float(special.stdtr(dof, WIDER * float(special.stdtrit(dof, (1 + claim) / 2))))
            - 1
            - claim
        )
        for claim in CLAIMS
    ]
    found = {"quantile error": (WIDER - 1) * farthest / scale, "coverage error": max(misses)}
    if dof > 2:
        found |= {
            "mean error": 0.0,
            "sd error": WIDER - 1,
            "variance error": WIDER**2 - 1,
            "SW^2": (WIDER - 1) ** 2,
        }
    return found


def mmd_squared(dof: float, dim: int) -> float:
    """By integrals over the widths of two draws."""
    widths = _widths((np.arange(PAIRS) + 0.5) / PAIRS, dof) / _unit(dof) ** 2
    sums = widths[:, None] + widths

    def below(distance: float) -> float:
        return float(special.chdtr(dim, distance**2 / sums).mean()) - 0.5

    bandwidth = float(brentq(below, 1e-3, 1e3))

    def kernel(a: float, b: float) -> float:
        spread = a**2 * widths[:, None] + b**2 * widths
        return float(((1 + spread / bandwidth**2) ** (-dim / 2)).mean())

    return kernel(WIDER, WIDER) + kernel(1, 1) - 2 * kernel(WIDER, 1)


def _widths(u: Floats, dof: float) -> Floats:
    """Quantiles of nu / chi^2_nu."""
    return np.asarray(dof / (2 * special.gammaincinv(dof / 2, 1 - u)), dtype=np.float64)


def _unit(dof: float) -> float:
    """What metrics measure the truth by: its standard deviation, or its quartiles' where it has
    none.
    """
    if dof > 2:
        return math.sqrt(dof / (dof - 2))
    return 2 * float(special.stdtrit(dof, 0.75)) / QUARTILES
