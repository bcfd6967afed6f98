"""Where the log density of an approximation can be had, and what it is worth there: exact, or a bound."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Skipped
from bench.metrics.pushforward import branch, is_square
from methods.base import Pushforward
from problems.base import Exact, Truth


@dataclass(frozen=True, eq=False)
class Known:
    """Log densities at some points.

    Args:
        points: [n, D].
        log_q: of the approximation, normalised, nats, [n].
        log_p: of the problem, not normalised, nats, [n].
        kind: whether ``log_q`` is exact or a lower bound.
        note: the reason, where one is needed.
    """

    points: Tensor
    log_q: Tensor
    log_p: Tensor
    kind: Literal["exact", "lower bound"] = "exact"
    note: str = ""


@functools.lru_cache(maxsize=1)  # KL, ELBO and its gap ask for the same densities, and a Jacobian is dear
def at_draws(comparison: Comparison) -> Known | Skipped:
    """Densities at draws of the approximation: the shared draws, or fresh ones of a square map with their noise."""
    approximation, draws = comparison.approximation, comparison.draws
    with torch.no_grad():
        log_q = approximation.log_prob(draws)
        if log_q is not None:
            return Known(draws, log_q.double(), comparison.problem.log_density(draws))
        if not isinstance(approximation, Pushforward):
            return Skipped("The approximation is draws alone, without a density.")
        if is_square(approximation, comparison.problem.dim):
            return _of_square_map(approximation, comparison)
    return Skipped(_why_not_square(approximation.noise_dim, comparison.problem.dim))


def at_truth(comparison: Comparison) -> Known | Skipped:
    """Densities at draws of the truth. For a map all preimages of a given point would have to be found first."""
    with torch.no_grad():
        log_q = comparison.approximation.log_prob(comparison.truth)
        if log_q is not None:
            return Known(comparison.truth, log_q.double(), comparison.problem.log_density(comparison.truth))
    return Skipped("The approximation has no density at a given point.")


def log_evidence(truth: Truth) -> tuple[float, float] | Skipped:
    """log Z and its standard error, nats."""
    if isinstance(truth, Exact):
        return truth.log_z, 0.0
    if truth.log_z is None or truth.log_z_stderr is None:
        return Skipped("The reference knows no log Z with a standard error.")
    return truth.log_z, truth.log_z_stderr


def _of_square_map(approximation: Pushforward, comparison: Comparison) -> Known | Skipped:
    n, dim = len(comparison.draws), comparison.problem.dim
    found = branch(approximation, torch.randn(n, dim, generator=comparison.generator(), dtype=torch.float64))
    singular = int((found.sign == 0).sum())
    if singular:
        return Skipped(f"The map is singular at {singular} of {n} draws: it has no density there, and KL(q||p) is infinite.")
    log_p = comparison.problem.log_density(found.points)
    if found.minority == 0:
        note = f"Exact if the map is one-to-one; det J has one sign on all {n} draws."
        return Known(found.points, found.log_q, log_p, "exact", note)
    note = f"The map folds: det J has the rarer sign on {found.minority:.2%} of {n} draws."
    return Known(found.points, found.log_q, log_p, "lower bound", note)


def _why_not_square(noise: int, dim: int) -> str:
    if noise < dim:
        return f"The map has {noise} noise dimensions for {dim} coordinates: it has no density, and KL(q||p) is infinite."
    return f"The map has {noise} noise dimensions for {dim} coordinates: its density has no closed form."
