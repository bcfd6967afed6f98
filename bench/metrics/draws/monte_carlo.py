"""Averages with their standard errors: what every figure built on known densities comes down to."""

from __future__ import annotations

import math

from torch import Tensor

from bench.metrics.base import Estimate, Kind, Skipped
from bench.metrics.draws.samples import unfit_alone

# share of the sum of squares that one draw may carry before the interval is called too short
HEAVY = 0.1
SIGMAS = 5.0  # standard errors below 0 that no divergence is by chance
UNSEEN = 10.0  # draws that are met in every sample but for one in 20,000
ROUNDING = 1e-9  # nats
MANY = 100  # of fewer draws than this one may well carry a tenth


def average(values: Tensor, kind: Kind, *, more_stderr: float = 0.0, note: str = "") -> Estimate:
    """Mean of independent values [n], finite, with the standard error of the mean.

    Args:
        kind: of the figure; note: the reason for it.
        more_stderr: standard error of a constant that was added to every value (an estimated log
            Z).
    """
    n, squares = len(values), (values - values.mean()).square()
    total = float(squares.sum())
    heaviest = float(squares.max()) / total if total > 0 else 0.0
    if n >= MANY and heaviest > HEAVY:
        note = (
            f"{note} One of {n} draws carries {heaviest:.0%} of the variance: the interval is too"
            " short."
        ).strip()
    stderr = math.hypot(math.sqrt(total / (n - 1) / n), more_stderr)
    return Estimate(float(values.mean()), stderr, kind, note, n)


def divergence(
    log_a: Tensor, log_b: Tensor, names: tuple[str, str], kind: Kind, more_stderr: float, note: str
) -> Estimate | Skipped:
    r"""KL(a||b) in nats from normalised log densities at independent draws of a, both [n].

    .. math:: KL(a \| b) = E_a[\log a - \log b]

    Nothing is clamped: where b has no mass at a draw of a the divergence is infinite, and the
    reason says so.

    Args:
        names: of a and b, for the reason.
    """
    infinite = int((log_b == -math.inf).sum())
    if infinite:
        a, b = names
        return Skipped(
            f"KL({a}||{b}) is infinite: the density of {b} is 0 at {infinite} of {len(log_b)} draws"
            f" of {a}."
        )
    ratio = log_a - log_b
    refused = unfit_alone(ratio, "log density ratios")
    return (
        refused if refused is not None else average(ratio, kind, more_stderr=more_stderr, note=note)
    )


def possible(found: Estimate | Skipped) -> Estimate | Skipped:
    """A divergence, unless it is negative beyond its noise, which none can be.

    Mass that n draws do not meet may add to it what they do not show: some 10 / n at most.
    """
    if isinstance(found, Skipped) or found.kind != "exact":
        return found
    if found.value >= -(SIGMAS * found.stderr + UNSEEN / (found.draws or 1)) - ROUNDING:
        return found
    return Skipped(
        f"It reads {found.value:.4g} +- {found.stderr:.2g} nats, and no divergence is negative:"
        " log_prob is not normalised, or log Z is wrong."
    )
