"""Where the log density of an approximation can be had, and what it is worth there: exact, or a
bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Skipped
from bench.metrics.brackets.bracket import SEARCHED, known_draws, log_density_at, own_densities
from methods.base import Pushforward


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


def at_draws(comparison: Comparison) -> Known | Skipped:
    """Densities at draws of the approximation: the shared draws, or fresh ones of a square map."""
    own = own_densities(comparison)
    return _of_map(comparison) if own is None else Known(comparison.draws, *own)


def at_truth(comparison: Comparison) -> Known | Skipped:
    """Densities at draws of the truth. For a map all preimages of a given point would have to be
    found first.
    """
    with torch.no_grad():
        log_q = comparison.approximation.log_prob(comparison.truth)
        if log_q is not None:
            return Known(
                comparison.truth, log_q.double(), comparison.problem.log_density(comparison.truth)
            )
    return Skipped("The approximation has no density at a given point.")


def _of_map(comparison: Comparison) -> Known | Skipped:
    """All draws with the one preimage of each where the map is one-to-one, else those whose
    preimages were looked for.
    """
    approximation = comparison.approximation
    if isinstance(approximation, Pushforward) and approximation.noise_dim > comparison.problem.dim:
        noise, dim = approximation.noise_dim, comparison.problem.dim
        return Skipped(
            f"The map has {noise} noise dimensions for {dim} coordinates: its density has no closed"
            " form."
        )
    found = known_draws(comparison, SEARCHED)
    if isinstance(found, Skipped):
        return found
    log_p, some = log_density_at(comparison, SEARCHED), -len(found.lower)
    if found.kind == "exact":
        return Known(found.points, found.log_q, log_p, "exact", found.note)
    return Known(
        found.points[some:],
        found.log_q[some:] + found.lower,
        log_p[some:],
        "lower bound",
        found.note,
    )
