r"""KL(q||p) of a map without a density, taken between a bound from below and a bound from above.

With q_1 a density that is known at every draw, by the noise behind it,

.. math:: KL(q \| p) = E_q[\log q_1 - \log p] + \log Z + E_q[\log q - \log q_1]

The first part is an average over many draws. The excess, 0 for a map that does not fold, is bounded
from both sides at fewer of them, because every preimage has to be looked for: see ``preimages`` and
``upper``. Maps of more noise than coordinates are made square first: see ``auxiliary``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.brackets.map_draws import UNLESS, known_draws, log_density_at
from bench.metrics.brackets.own import own_at_draws
from bench.metrics.draws import quasi
from bench.metrics.draws.monte_carlo import divergence

SEARCHED = 1000  # draws of a map whose preimages are looked for, unless said otherwise
LEAST = 20  # of them


@dataclass(frozen=True)
class Bracket:
    """What is known of KL(q||p) of one approximation: a bound from below and one from above.

    Args:
        lower: kind ``exact`` where q has a density, or is a map and nothing speaks against its
            being one-to-one; else ``lower bound``.
        upper: kind ``exact`` where q has a density, else ``upper bound``.
        closed: whether there is no way to the density of q, so that others may be tried: where
            there is one, and the ends are skipped all the same, the reason is a finding.
    """

    lower: Estimate | Skipped
    upper: Estimate | Skipped
    closed: bool = False

    @staticmethod
    def none(reason: Skipped, *, closed: bool) -> Bracket:
        """Without a figure at either end."""
        return Bracket(reason, reason, closed)


@dataclass(frozen=True)
class Searching(Metric):
    """A metric that looks for the preimages of draws of a map.

    Args:
        searched: of how many draws.
    """

    searched: int = SEARCHED

    def __post_init__(self) -> None:
        if self.searched < LEAST:
            raise ValueError(
                f"{type(self).__name__}(searched=...) must be at least {LEAST}, got"
                f" {self.searched}."
            )


def bracket(
    comparison: Comparison,
    searched: int = SEARCHED,
    evidence: tuple[float, float] | Skipped | None = None,
) -> Bracket:
    """Bounds on E_q[log q - log p] + log Z by way of densities; both ends are one figure where q
    can be asked for its own.

    Args:
        searched: draws of a map whose preimages are looked for.
        evidence: log Z and its standard error, nats; those of the truth where not given; (0, 0)
            leaves minus the ELBO.
    """
    evidence = comparison.evidence if evidence is None else evidence
    if isinstance(evidence, Skipped):
        return Bracket.none(evidence, closed=True)
    own = own_at_draws(comparison)
    if isinstance(own, Skipped):
        return Bracket.none(own, closed=False)
    if own is not None:
        known = divergence(
            own.log_q, own.log_p - evidence[0], ("q", "p"), "exact", evidence[1], own.note
        )
        if own.sets and isinstance(known, Estimate):
            own_stderr = quasi.stderr(own.log_q - own.log_p)
            known = replace(known, stderr=math.hypot(own_stderr, evidence[1]))
        return Bracket(known, known)
    drawn = known_draws(comparison, searched)
    if isinstance(drawn, Skipped):
        return Bracket.none(drawn, closed=True)
    log_p = log_density_at(comparison, searched) - evidence[0]
    first = divergence(drawn.log_q, log_p, ("q", "p"), drawn.kind, evidence[1], drawn.note)
    if isinstance(first, Skipped):
        return Bracket.none(first, closed=False)
    lower = with_excess(first, drawn.log_q - log_p, drawn.lower, evidence[1])
    upper = with_excess(first, drawn.log_q - log_p, drawn.upper, evidence[1])
    if isinstance(upper, Estimate):
        upper = replace(upper, kind="upper bound", note=upper.note.removeprefix(UNLESS))
    return Bracket(lower, upper)


def with_excess(
    first: Estimate, ratio: Tensor, more: Tensor, more_stderr: float
) -> Estimate | Skipped:
    """The average of the ratio, [n], plus that of the excess, [m], which is known at the last m
    draws.
    """
    lost = int((~more.isfinite()).sum())
    if lost:
        return Skipped(f"No bound was found at {lost} of {len(more)} draws.")
    n, m = len(ratio), len(more)
    apart, shared = ratio[: n - m] / n, ratio[n - m :] / n + more / m
    variance = m * float(shared.var()) + ((n - m) * float(apart.var()) if n > m + 1 else 0.0)
    return replace(
        first,
        value=float(ratio.mean() + more.mean()),
        stderr=math.hypot(math.sqrt(variance), more_stderr),
    )
