r"""The divergence that a classifier can prove from draws alone: whoever tells two samples apart has
bounded it from below.

.. math:: KL(q \| p) \ge E_q[T] + 1 - E_p[e^T] \quad \text{for every function } T,

with equality for T = log q - log p, which the log odds of a classifier estimate. Donsker and
Varadhan have log E_p[e^T] in place of E_p[e^T] - 1: tighter, but with an average in place of E_p it
is too high in expectation. Here T is shifted so that E_p[e^T] is 1 on draws set apart, where both
agree; on the draws that judge the figure is without bias. No bound of this kind reaches far beyond
log n: McAllester & Stratos, "Formal limitations on the measurement of mutual information" (2020),
arXiv 1811.04251.

Source: Nguyen, Wainwright & Jordan, "Estimating divergence functionals and the likelihood ratio by
convex risk minimization" (2010), arXiv 0809.0853.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from bench.metrics.base import Comparison, Estimate, Metric, Resolves, Skipped, Worse
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.samples import standardise
from bench.metrics.models.scores import bound, scored


def classified(comparison: Comparison) -> Estimate | Skipped:
    """The lower bound on KL(q||p) that a classifier proves, as ``KlClassifier`` reports it."""
    refused = standardise(comparison.draws, comparison.truth, comparison.problem.moments)
    if isinstance(refused, Skipped):
        return refused
    found = scored(comparison)
    if isinstance(found, Skipped):
        return found
    with torch.no_grad():
        judged = [(score(split.q.test), score(split.p.test)) for split, score in found]
    return bound([q for q, _ in judged], [p for _, p in judged], comparison)


@dataclass(frozen=True)
class KlClassifier(Metric):
    r"""Lower bound on KL(q||p), nats, that a classifier proves from draws alone, whatever else is
    known of q.

    .. math:: E_q[T] + 1 - E_p[e^T]

    with T learnt from draws used neither to choose between scores nor to judge: fresh ones where
    the approximation and the truth hand them out (five for each shared draw, at most 25,000), else
    by four-fold cross-fitting. Standard error: of both means; for chains by the effective number of
    draws. Weak where q and p differ on a scale that n draws do not resolve, and below 0 where there
    is nothing to prove.
    """

    name: ClassVar[str] = "kl_classifier"
    resolves: ClassVar[Resolves] = "floor"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL(q‖p) by a classifier, nats"
    meaning: ClassVar[str] = (
        "A lower bound on KL(q‖p) from how well a classifier tells draws of q from those of p:"
        " one metric for every method."
    )
    worse: ClassVar[Worse] = "above"
    costly: ClassVar[bool] = True

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return classified(comparison)
