"""The divergence in both directions, by the best route that an approximation allows: densities
first, neighbours last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from bench.metrics.base import Comparison, Estimate, Metric, Skipped, Worse
from bench.metrics.brackets.bracket import Searching, bracket
from bench.metrics.brackets.density import at_truth
from bench.metrics.brackets.own import own_at_truth
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.monte_carlo import divergence, possible
from bench.metrics.knn import NEIGHBOURS, compared, compared_reverse


@dataclass(frozen=True)
class KlQP(Searching):
    r"""KL(q||p), nats: what q claims and the truth denies. Dominated by mass where p has little;
    blind to modes that q leaves out.

    .. math:: KL(q \| p) = E_q[\log q - \log p] + \log Z

    - q has a density: Monte Carlo over its draws, kind ``exact``.
    - q is a map of at least as much noise as there are coordinates: every preimage that a search
      finds counts, kind ``exact`` where nothing speaks against the map being one-to-one, else
      ``lower bound``. ``kl_upper`` is the other end, from the same search; see docs/brackets.md.
    - q is draws alone: nearest neighbours between two samples, kind ``estimate``; see ``KlKnn``.
      ``kl_lower`` and ``kl_classifier`` bound it from below.

    Standard error: of the means over draws, with that of log Z.

    Args:
        searched: draws of a map whose preimages are looked for.

    Example:
        >>> import torch
        >>> from bench.metrics.base import Comparison
        >>> from methods import Gaussian
        >>> from problems.gaussian import Isotropic2
        >>> problem, generator = Isotropic2(), torch.Generator().manual_seed(0)
        >>> q = Gaussian(torch.tensor([1.0, 0.0]).double(), torch.ones(2).double())
        >>> draws, truth = q.sample(4000, generator), problem.truth.sample(4000, generator)
        >>> figure = KlQP().measure(Comparison(problem, q, draws, truth))
        >>> figure.kind, abs(figure.value - 0.5) < 4 * figure.stderr  # shifted by 1: half a nat
        ('exact', True)
    """

    name: ClassVar[str] = "kl_qp"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL(q‖p), nats"
    meaning: ClassVar[str] = (
        "Kullback–Leibler divergence from the approximation q to the true posterior p, in units"
        " of the natural logarithm: large where q puts mass that p lacks."
    )
    worse: ClassVar[Worse] = "above"
    astray: ClassVar[bool] = True

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        found = bracket(comparison, self.searched)
        lost = isinstance(found.lower, Skipped) and isinstance(found.upper, Estimate)
        if isinstance(found.lower, Skipped) and (found.closed or lost):
            return self._by_neighbours(comparison, found.lower)
        return possible(found.lower)

    def _by_neighbours(self, comparison: Comparison, missing: Skipped) -> Estimate | Skipped:
        return _explained(compared(comparison, NEIGHBOURS), missing)


@dataclass(frozen=True)
class KlPQ(Metric):
    r"""KL(p||q), nats: what the truth holds and q leaves out. Dominated by tails and modes that q
    lacks.

    .. math:: KL(p \| q) = E_p[\log p - \log q] - \log Z

    - q has a density: Monte Carlo over draws of the truth, kind ``exact``.
    - otherwise: nearest neighbours between two samples, kind ``estimate``; see ``KlKnn``.

    Standard error: of the mean over draws of the truth, with that of log Z.
    """

    name: ClassVar[str] = "kl_pq"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL(p‖q), nats"
    meaning: ClassVar[str] = (
        "The same in the other direction; large where q misses mass that p has, a lost mode for"
        " example."
    )
    worse: ClassVar[Worse] = "above"
    astray: ClassVar[bool] = True

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        known, evidence = at_truth(comparison), comparison.evidence
        if isinstance(known, Skipped):
            hidden = own_at_truth(comparison) is None
            return self._by_neighbours(comparison, known) if hidden else known
        if isinstance(evidence, Skipped):
            return self._by_neighbours(comparison, evidence)
        log_z, stderr = evidence
        return possible(
            divergence(known.log_p - log_z, known.log_q, ("p", "q"), known.kind, stderr, known.note)
        )

    def _by_neighbours(self, comparison: Comparison, missing: Skipped) -> Estimate | Skipped:
        return _explained(compared_reverse(comparison, NEIGHBOURS), missing)


def _explained(found: Estimate | Skipped, missing: Skipped) -> Estimate | Skipped:
    if isinstance(found, Skipped):
        return found
    note = f"{missing.reason} Nearest neighbours instead (k = {NEIGHBOURS}). {found.note}".strip()
    return replace(found, note=note)
