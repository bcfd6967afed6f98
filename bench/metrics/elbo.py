"""The bound that variational methods climb, and how far below log Z they stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bench.metrics.base import Comparison, Estimate, Kind, Metric, Skipped
from bench.metrics.density import at_draws, log_evidence
from bench.metrics.monte_carlo import divergence

OPPOSITE: dict[Kind, Kind] = {"lower bound": "upper bound", "upper bound": "lower bound"}


@dataclass(frozen=True)
class Elbo(Metric):
    r"""Evidence lower bound, nats: what a variational method maximises; log Z for a perfect approximation.

    .. math:: \mathrm{ELBO} = E_q[\log p - \log q] = \log Z - KL(q \| p)

    with p not normalised. Where q has a density: Monte Carlo over its draws, kind ``exact``. For a map of as much noise as
    there are coordinates: ``log N(eps) - log|det J|`` in place of log q; where det J changes sign that is too small a
    density and the figure an ``upper bound`` on the ELBO. Draws alone have no ELBO. Standard error: of the mean over draws.
    """

    name: ClassVar[str] = "elbo"
    unit: ClassVar[str] = "nats"
    ideal: ClassVar[float | None] = None

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        known = at_draws(comparison)
        if isinstance(known, Skipped):
            return known
        found = divergence(known.log_q, known.log_p, ("q", "p"), known.kind, 0.0, known.note)
        if isinstance(found, Skipped):
            return found
        return replace(found, value=-found.value, kind=OPPOSITE.get(found.kind, found.kind))


@dataclass(frozen=True)
class ElboGap(Metric):
    r"""Log Z less the ELBO, nats: KL(q||p) by the route of densities, and nothing where that is closed.

    .. math:: \log Z - E_q[\log p - \log q]

    Kind and standard error as of ``KlQP``, which reads the same where q has a density, and falls back on neighbours where not.
    """

    name: ClassVar[str] = "elbo_gap"
    unit: ClassVar[str] = "nats"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        known, evidence = at_draws(comparison), log_evidence(comparison.problem.truth)
        if isinstance(known, Skipped):
            return known
        if isinstance(evidence, Skipped):
            return evidence
        log_z, stderr = evidence
        return divergence(known.log_q, known.log_p - log_z, ("q", "p"), known.kind, stderr, known.note)
