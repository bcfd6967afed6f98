"""The divergence in both directions, by the best route that an approximation allows: densities first, neighbours last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.chains import memory
from bench.metrics.density import at_draws, at_truth, log_evidence
from bench.metrics.knn import NEIGHBOURS, compared, kl_knn_reverse
from bench.metrics.monte_carlo import divergence


@dataclass(frozen=True)
class KlQP(Metric):
    r"""KL(q||p), nats: what q claims and the truth denies. Dominated by mass where p has little; blind to modes that q
    leaves out.

    .. math:: KL(q \| p) = E_q[\log q - \log p] + \log Z

    - q has a density: Monte Carlo over its draws, kind ``exact``.
    - q is a map of as much noise as there are coordinates: fresh noise, and ``log N(eps) - log|det J|`` in place of log q. Kind
      ``exact`` where det J has one sign on all draws, else ``lower bound``, because the other preimages of a point are missing.
    - q is draws alone: nearest neighbours between two samples, kind ``estimate``; see ``KlKnn``.

    Standard error: of the mean over draws, with that of log Z.
    """

    name: ClassVar[str] = "kl_qp"
    unit: ClassVar[str] = "nats"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        known, evidence = at_draws(comparison), log_evidence(comparison.problem.truth)
        if isinstance(known, Skipped):
            return self._by_neighbours(comparison, known)
        if isinstance(evidence, Skipped):
            return self._by_neighbours(comparison, evidence)
        log_z, stderr = evidence
        return divergence(known.log_q, known.log_p - log_z, ("q", "p"), known.kind, stderr, known.note)

    def _by_neighbours(self, comparison: Comparison, missing: Skipped) -> Estimate | Skipped:
        return _explained(compared(comparison, NEIGHBOURS), missing)


@dataclass(frozen=True)
class KlPQ(Metric):
    r"""KL(p||q), nats: what the truth holds and q leaves out. Dominated by tails and modes that q lacks.

    .. math:: KL(p \| q) = E_p[\log p - \log q] - \log Z

    - q has a density: Monte Carlo over draws of the truth, kind ``exact``.
    - otherwise: nearest neighbours between two samples, kind ``estimate``; see ``KlKnn``.

    Standard error: of the mean over draws of the truth, with that of log Z.
    """

    name: ClassVar[str] = "kl_pq"
    unit: ClassVar[str] = "nats"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        known, evidence = at_truth(comparison), log_evidence(comparison.problem.truth)
        if isinstance(known, Skipped):
            return self._by_neighbours(comparison, known)
        if isinstance(evidence, Skipped):
            return self._by_neighbours(comparison, evidence)
        log_z, stderr = evidence
        return divergence(known.log_p - log_z, known.log_q, ("p", "q"), known.kind, stderr, known.note)

    def _by_neighbours(self, comparison: Comparison, missing: Skipped) -> Estimate | Skipped:
        return _explained(kl_knn_reverse(comparison.draws, comparison.truth, memory=memory(comparison)), missing)


def _explained(found: Estimate | Skipped, missing: Skipped) -> Estimate | Skipped:
    if isinstance(found, Skipped):
        return found
    return replace(found, note=f"{missing.reason} Nearest neighbours instead (k = {NEIGHBOURS}).")
