"""Pairs of an approximation q and a truth p whose divergence is known beforehand: what the rulers are held against."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor

from bench import registry
from bench.calibration_laws import Affine, Fold, Normals, OpenFold, Undressed, Waves, single
from bench.exact import TruthItself
from bench.target import CountedTarget
from methods.base import Approximation, Budget
from problems.base import Exact, Problem

Clothes = Literal["density", "map", "draws"]  # how much of itself an approximation shows
DIMS = (2, 5, 10, 30)
APART = 12.0  # distance of two modes in standard deviations: they share less than 1e-8 of their mass
DRAWS = 2_000_000  # behind a figure that has no closed form
BLOCK = 100_000  # of them at a time


@dataclass(frozen=True, eq=False)
class Case:
    """A pair whose figures are known.

    Args:
        name: for tables; the same at every dimension.
        problem: the truth, p.
        wardrobe: the approximation, q, in its density, as a map, or as draws alone.
        truths: what is known, by quantity: ``KL(q||p)`` and ``KL(p||q)``, in nats.
        same: whether q = p, so that the truth of every ruler is its ideal value.
    """

    name: str
    problem: Problem
    wardrobe: Mapping[Clothes, Approximation]
    truths: Mapping[str, float]
    same: bool = False

    def truth(self, quantity: str) -> float | None:
        """The figure to be found, or None where it is not known."""
        return self.truths.get(quantity, 0.0 if self.same else None)


@dataclass(frozen=True, eq=False)
class Law(Problem):
    """A problem that is a mixture of Gaussians, its density short of a constant."""

    law: Normals
    log_z: float = 1.5
    name: ClassVar[str] = "law"

    @property
    def dim(self) -> int:
        return self.law.means.shape[1]

    @property
    def truth(self) -> Exact:
        return Exact(self.law.sample, self.log_z)

    def log_density(self, z: Tensor) -> Tensor:
        return self.law.log_prob(z) + self.log_z


def every_case(dims: Sequence[int] = DIMS) -> list[Case]:
    """Every pair at every dimension, and those that have a dimension of their own."""
    return [*(case for dim in dims for case in at_dimension(dim)), mirrored(), itself("schools themselves", _schools())]


def at_dimension(dim: int) -> list[Case]:
    """The pairs that can be had at any dimension."""
    eye, zero = torch.eye(dim, dtype=torch.float64), torch.zeros(dim, dtype=torch.float64)
    paired = eye.clone()
    paired[0, 1] = paired[1, 0] = 0.6
    return [
        gaussian("shift", 0.7 * eye[0], eye),
        gaussian("scale", zero, 1.2 * eye),
        gaussian("correlation", zero, torch.linalg.cholesky(paired)),
        lost_mode("lost half", dim, 0.5),
        lost_mode("lost tenth", dim, 0.9),
        folding(dim),
        itself("itself", Law(single(zero, eye))),
    ]


def gaussian(name: str, mean: Tensor, factor: Tensor) -> Case:
    """N(mean, L L^T) beside a standard normal: mean [D], L [D, D]."""
    dim = len(mean)
    there, log_det = factor.square().sum() + mean.square().sum(), factor.diagonal().log().sum()
    inverse = torch.linalg.inv(factor)
    back = inverse.square().sum() + (inverse @ mean).square().sum()
    truths = {"KL(q||p)": float((there - dim) / 2 - log_det), "KL(p||q)": float((back - dim) / 2 + log_det)}
    p = single(torch.zeros_like(mean), torch.eye(dim, dtype=torch.float64))
    return Case(name, Law(p), dressed(single(mean, factor)) | {"map": Affine(mean, factor)}, truths)


def lost_mode(name: str, dim: int, kept: float) -> Case:
    """One of two far modes, which holds the share ``kept`` of the truth, for the whole."""
    eye, away = torch.eye(dim, dtype=torch.float64), torch.zeros(dim, dtype=torch.float64)
    away[0] = APART
    p = Normals(torch.tensor([kept, 1 - kept], dtype=torch.float64), torch.stack([0 * away, away]), torch.stack([eye, eye]))
    lost = 1 - kept
    back = kept * math.log(kept) + lost * math.log(lost) + lost * APART**2 / 2
    return Case(
        name,
        Law(p),
        dressed(single(0 * away, eye)) | {"map": Affine(0 * away, eye)},
        {"KL(q||p)": -math.log(kept), "KL(p||q)": back},
    )


def folding(dim: int) -> Case:
    """A map that folds, beside the same target unfolded; see ``Fold``."""
    fold = Fold(dim)
    return Case("folding map", Waves(dim), dressed(OpenFold(fold)) | {"map": fold}, {"KL(q||p)": fold.divergence()})


@functools.cache
def mirrored() -> Case:
    """The best full-covariance Gaussian for eight-schools-signed and its mirror image, half each: KL(q||p) is 0.484 nats."""
    problem = _schools()
    method = registry.load(registry.find("methods", "gaussian-vb"))(covariance="full")
    best: Any = list(method.run(CountedTarget(problem), Budget(), Generator().manual_seed(0)))[-1]
    flip = torch.ones(problem.dim, dtype=torch.float64)
    flip[1:] = -1  # tau and all eta
    means, factors = (
        torch.stack([best.loc, flip * best.loc]),
        torch.stack([best.scale_tril, flip.unsqueeze(-1) * best.scale_tril * flip]),
    )
    q = Normals(torch.full((2,), 0.5, dtype=torch.float64), means, factors)
    return Case("mirrored Gaussian", problem, dressed(q), {"KL(q||p)": averaged(q, problem)})


def itself(name: str, problem: Problem) -> Case:
    """A truth beside fresh draws of itself."""
    return Case(name, problem, {"draws": TruthItself(problem.truth)}, {}, same=True)


def dressed(q: Approximation) -> dict[Clothes, Approximation]:
    """An approximation that has a density, with it and without."""
    return {"density": q, "draws": Undressed(q)}


def averaged(q: Normals, problem: Problem) -> float:
    """KL(q||p) by two million draws, nats."""
    generator, total = Generator().manual_seed(1), 0.0
    truth = problem.truth
    log_z = truth.log_z or 0.0
    for _ in range(DRAWS // BLOCK):
        z = q.sample(BLOCK, generator)
        total += float((q.log_prob(z) - problem.log_density(z)).mean() + log_z)
    return total / (DRAWS // BLOCK)


def _schools() -> Problem:
    problem: Problem = registry.load(registry.find("problems", "eight-schools-signed"))()
    return problem
