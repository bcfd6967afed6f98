"""Where the log density of an approximation can be had, and what it is worth there: exact, or a
bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from bench.metrics.base import Comparison, Skipped
from bench.metrics.brackets.bracket import SEARCHED
from bench.metrics.brackets.map_draws import known_draws, log_density_at
from bench.metrics.brackets.own import own_at_draws, own_at_truth
from methods.base import Pushforward


@dataclass(frozen=True, eq=False)
class Known:
    """Log densities of an approximation and of the truth at the same points.

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
    """Densities at fresh draws of the approximation, where it has a density or is a square map."""
    own = own_at_draws(comparison)
    if own is None:
        return _of_map(comparison)
    return (
        own if isinstance(own, Skipped) else Known(own.points, own.log_q, own.log_p, note=own.note)
    )


def at_truth(comparison: Comparison) -> Known | Skipped:
    """Densities at fresh draws of the truth. For a map all preimages of a given point would have
    to be found first.
    """
    own = own_at_truth(comparison)
    if own is None:
        return Skipped("The approximation has no density at a given point.")
    return (
        own if isinstance(own, Skipped) else Known(own.points, own.log_q, own.log_p, note=own.note)
    )


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
    if found.kind == "exact" and not found.guessed:
        return Known(found.points, found.log_q, log_p, "exact", found.note)
    least = found.lower if found.least is None else found.least
    return Known(
        found.points[some:],
        found.log_q[some:] + least,
        log_p[some:],
        "exact" if found.kind == "exact" else "lower bound",
        found.note,
    )
