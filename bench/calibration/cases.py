"""Pairs of an approximation q and a truth p whose divergence is known beforehand: what the metrics
are held against.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from bench.calibration import truths as truths_of
from bench.calibration.case import Case, Form
from bench.calibration.fold import Fold, OpenFold, Waves
from bench.calibration.gaussians import Affine, DrawsOnly, Law, Normals, Walk, single
from bench.calibration.heavy import DOFS, heavy_itself, heavy_tails
from bench.fitting.exact import TruthItself
from bench.fitting.target import CountedTarget
from bench.plugins import registry
from methods.base import Approximation, Budget
from problems.base import Problem

DIMS = (2, 5, 10, 30)
SHIFT, SCALE, CORRELATION = 0.7, 1.2, 0.6
# distance of two modes in standard deviations: they share less than 1e-8 of their mass
APART = 12.0
DRAWS = 2_000_000  # behind a figure that has no closed form
BLOCK = 100_000  # of them at a time


def every_case(dims: Sequence[int] = DIMS) -> list[Case]:
    """Every pair at every dimension, and those that have a dimension of their own."""
    everywhere = [case for dim in dims for case in at_dimension(dim)]
    heavy = [*(heavy_tails(dof) for dof in DOFS), heavy_itself(DOFS[0])]
    return [*everywhere, mirrored(), itself("schools themselves", _schools()), shares(), *heavy]


def at_dimension(dim: int) -> list[Case]:
    """The pairs that can be had at any dimension."""
    eye, zero = torch.eye(dim, dtype=torch.float64), torch.zeros(dim, dtype=torch.float64)
    paired = eye.clone()
    paired[0, 1] = paired[1, 0] = CORRELATION
    return [
        gaussian("shift", SHIFT * eye[0], eye, truths_of.best_of_shift(SHIFT)),
        gaussian("scale", zero, SCALE * eye, truths_of.best_of_scale(SCALE, dim)),
        gaussian(
            "correlation",
            zero,
            torch.linalg.cholesky(paired),
            truths_of.best_of_correlation(CORRELATION),
        ),
        lost_mode("lost half", dim, 0.5),
        lost_mode("lost tenth", dim, 0.9),
        folding(dim),
        itself("itself", _halves(dim)),
        narrow("narrow", dim, 0.36),
        narrow("too narrow", dim, 0.7),
        walk("chain itself", dim, 0.0),
        walk("shifted chain", dim, SHIFT),
    ]


def gaussian(name: str, mean: Tensor, factor: Tensor, accuracy: float | None = None) -> Case:
    """N(mean, L L^T) beside a standard normal.

    Args:
        mean: [D]; factor: L, [D, D].
        accuracy: of the best classifier, where it is known.
    """
    dim = len(mean)
    there, log_det = factor.square().sum() + mean.square().sum(), factor.diagonal().log().sum()
    inverse = torch.linalg.inv(factor)
    back = inverse.square().sum() + (inverse @ mean).square().sum()
    truths = {
        "KL(q||p)": float((there - dim) / 2 - log_det),
        "KL(p||q)": float((back - dim) / 2 + log_det),
    }
    if accuracy is not None:
        truths["C2ST accuracy"] = accuracy
    truths["ESS share"] = truths_of.weights_left(factor @ factor.T, mean)
    q, p = single(mean, factor), Law(_standard(dim))
    return Case(
        name,
        p,
        with_and_without(q) | {"map": Affine(mean, factor)},
        of_densities(p, truths) | truths_of.figures(q, p.law),
    )


def narrow(name: str, dim: int, khat: float) -> Case:
    """A standard normal but for two coordinates, in which it is too narrow: weights with a Pareto
    tail of known index.

    With variance 1 - k there, w is e^{k r / 2} times a constant, r being chi-squared with two
    degrees of freedom, so that P(w > t) falls as t^{-1/k}.
    """
    factor = torch.eye(dim, dtype=torch.float64)
    factor[0, 0] = factor[1, 1] = math.sqrt(1 - khat)
    case = gaussian(name, torch.zeros(dim, dtype=torch.float64), factor)
    return replace(
        case,
        forms={"density": case.forms["density"]},
        truths={**case.truths, "tail index": khat},
    )


def walk(name: str, dim: int, shift: float) -> Case:
    """Chains of the truth, or of the truth moved along its first coordinate; its halves are its
    modes.
    """
    loc = torch.zeros(dim, dtype=torch.float64)
    loc[0] = shift
    p, eye = _halves(dim), torch.eye(dim, dtype=torch.float64)
    truths = truths_of.figures(single(loc, eye), p.law)
    truths |= {
        "KL(q||p)": shift**2 / 2,
        "C2ST accuracy": truths_of.best_of_shift(shift),
        "mode distance": truths_of.best_of_shift(2 * shift) - 0.5,
    }
    return Case(name, p, {"chain": Walk(loc)}, truths)


def lost_mode(name: str, dim: int, kept: float) -> Case:
    """One of two far modes, which holds the share ``kept`` of the truth, for the whole."""
    lost, eye = 1 - kept, torch.eye(dim, dtype=torch.float64)
    p = Law(_row((kept, lost), dim), edges=(APART / 2,), shares=(kept, lost))
    q = _standard(dim)
    truths = {
        "KL(q||p)": -math.log(kept),
        "KL(p||q)": kept * math.log(kept) + lost * math.log(lost) + lost * APART**2 / 2,
        "mode distance": lost,
        "C2ST accuracy": 0.5 + 0.5 * lost,
    }
    forms = with_and_without(q) | {"map": Affine(q.means[0], eye)}
    return Case(name, p, forms, of_densities(p, truths) | truths_of.figures(q, p.law))


def shares(dim: int = 2) -> Case:
    """Three far modes, their shares a little off. Divergences are not asked: fitting a density
    model here is dear.
    """
    of_q, of_p = (0.3, 0.3, 0.4), (0.2, 0.3, 0.5)
    q, p = _row(of_q, dim), Law(_row(of_p, dim), edges=(APART / 2, 1.5 * APART), shares=of_p)
    away = 0.5 * sum(abs(a - b) for a, b in zip(of_q, of_p, strict=True))
    truths = {"mode distance": away, "C2ST accuracy": 0.5 + 0.5 * away}
    return Case("three modes", p, {"draws": DrawsOnly(q)}, truths | truths_of.figures(q, p.law))


def folding(dim: int) -> Case:
    """A map that folds, beside the same target unfolded; see ``Fold``."""
    fold, p = Fold(dim), Waves(dim)
    truths = {"KL(q||p)": fold.divergence(), "C2ST accuracy": fold.accuracy()}
    return Case(
        "folding map", p, with_and_without(OpenFold(fold)) | {"map": fold}, of_densities(p, truths)
    )


@functools.cache
def mirrored() -> Case:
    """The best full-covariance Gaussian for eight-schools-signed and its mirror image, half each:
    KL(q||p) is 0.484 nats.
    """
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
    truths = {"KL(q||p)": averaged(q, problem), "C2ST accuracy": told_apart(q, problem)}
    return Case("mirrored Gaussian", problem, with_and_without(q), of_densities(problem, truths))


def itself(name: str, problem: Problem) -> Case:
    """A truth beside fresh draws of itself."""
    return Case(
        name, problem, {"draws": TruthItself(problem.truth)}, {"C2ST accuracy": 0.5}, same=True
    )


def of_densities(p: Problem, truths: Mapping[str, float]) -> dict[str, float]:
    """Figures, and those that follow from KL(q||p) and log Z wherever q has a density."""
    return {**truths, "log Z error": 0.0, "ELBO": (p.truth.log_z or 0.0) - truths["KL(q||p)"]}


def with_and_without(q: Approximation) -> dict[Form, Approximation]:
    """An approximation that has a density, with it and without."""
    return {"density": q, "draws": DrawsOnly(q)}


def averaged(q: Normals, problem: Problem) -> float:
    """KL(q||p) by two million draws, nats."""
    generator, total = Generator().manual_seed(1), 0.0
    truth = problem.truth
    log_z = truth.log_z or 0.0
    for _ in range(DRAWS // BLOCK):
        z = q.sample(BLOCK, generator)
        total += float((q.log_prob(z) - problem.log_density(z)).mean() + log_z)
    return total / (DRAWS // BLOCK)


def told_apart(q: Normals, problem: Problem) -> float:
    """Accuracy of the best classifier, which knows both densities, by 200,000 draws of each: within
    0.001.
    """
    log_z, count, generator = problem.truth.log_z or 0.0, 2 * BLOCK, Generator().manual_seed(2)
    sides = (q.sample(count, generator), problem.truth.sample(count, generator))
    of_q, of_p = (
        float((q.log_prob(z) > problem.log_density(z) - log_z).double().mean()) for z in sides
    )
    return (of_q + 1 - of_p) / 2


def _standard(dim: int) -> Normals:
    return single(torch.zeros(dim, dtype=torch.float64), torch.eye(dim, dtype=torch.float64))


def _halves(dim: int) -> Law:
    return Law(_standard(dim), edges=(0.0,), shares=(0.5, 0.5))


def _row(weights: Sequence[float], dim: int) -> Normals:
    """Far modes in a row along the first axis."""
    count, means = len(weights), torch.zeros(len(weights), dim, dtype=torch.float64)
    means[:, 0] = APART * torch.arange(count, dtype=torch.float64)
    return Normals(
        torch.tensor(weights, dtype=torch.float64),
        means,
        torch.eye(dim, dtype=torch.float64).repeat(count, 1, 1),
    )


def _schools() -> Problem:
    problem: Problem = registry.load(registry.find("problems", "eight-schools-signed"))()
    return problem
