"""Where the log density of an approximation can be had, and what it is worth there: exact, or a bound."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Skipped
from bench.metrics.brackets import SEARCHED, known_draws
from methods.base import Approximation, Pushforward
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


@functools.lru_cache(maxsize=1)  # several metrics ask for the same densities
def at_draws(comparison: Comparison) -> Known | Skipped:
    """Densities at draws of the approximation: the shared draws, or fresh ones of a square map."""
    approximation, draws = comparison.approximation, comparison.draws
    with torch.no_grad():
        log_q = approximation.log_prob(draws)
        if log_q is not None:
            return Known(draws, log_q.double(), comparison.problem.log_density(draws))
        return _of_map(approximation, comparison)


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


def _of_map(approximation: Approximation, comparison: Comparison) -> Known | Skipped:
    """All draws with the one preimage of each where the map is one-to-one, else those whose preimages were looked for."""
    if isinstance(approximation, Pushforward) and approximation.noise_dim > comparison.problem.dim:
        noise, dim = approximation.noise_dim, comparison.problem.dim
        return Skipped(f"The map has {noise} noise dimensions for {dim} coordinates: its density has no closed form.")
    found = known_draws(comparison, SEARCHED)
    if isinstance(found, Skipped):
        return found
    points, log_q = found.points, found.log_q
    if found.kind != "exact":
        points, log_q = points[-len(found.lower) :], log_q[-len(found.lower) :] + found.lower
    kind: Literal["exact", "lower bound"] = "exact" if found.kind == "exact" else "lower bound"
    return Known(points, log_q, comparison.problem.log_density(points), kind, found.note)
