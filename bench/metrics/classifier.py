r"""The divergence that a classifier can prove from draws alone: whoever tells two samples apart has bounded it from below.

.. math:: KL(q \| p) \ge E_q[T] + 1 - E_p[e^T] \quad \text{for every function } T,

with equality for T = log q - log p, which the log odds of a classifier estimate. Donsker and Varadhan have log E_p[e^T] in
place of E_p[e^T] - 1: tighter, but with an average in place of E_p it is too high in expectation. Here T is shifted so that
E_p[e^T] is 1 on draws set apart, where both agree; on the draws that judge the figure is without bias. No bound of this kind
reaches far beyond log n: McAllester & Stratos, "Formal limitations on the measurement of mutual information" (2020), arXiv
1811.04251.

Source: Nguyen, Wainwright & Jordan, "Estimating divergence functionals and the likelihood ratio by convex risk minimization"
(2010), arXiv 0809.0853.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.chains import autocorrelation_time
from bench.metrics.held_out import Split, splits
from bench.metrics.samples import standardise, unfit_alone
from bench.metrics.scores import best_score
from methods.base import Draws


def classified(comparison: Comparison) -> Estimate | Skipped:
    """The bound that ``KlClassifier`` reports."""
    refused = standardise(comparison.draws, comparison.truth)
    if isinstance(refused, Skipped):
        return refused
    generator = comparison.generator()
    parts = splits(comparison, generator)
    if isinstance(parts, Skipped):
        return parts
    judged = [_judged(split, comparison, generator) for split in parts]
    return bound([q for q, _ in judged], [p for _, p in judged], comparison)


def _judged(split: Split, comparison: Comparison, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    score = best_score(split, comparison.problem.log_density, generator)
    with torch.no_grad():
        return score(split.q.test), score(split.p.test)


def bound(at_q: list[Tensor], at_p: list[Tensor], comparison: Comparison) -> Estimate | Skipped:
    """The average over folds of what each score proves on the draws that judge it.

    Args:
        at_q, at_p: values of the score of each fold at its draws of q and of p.
    """
    refused = unfit_alone(torch.cat(at_q), "log density ratios") or unfit_alone(torch.cat(at_p), "log density ratios")
    if refused is not None:
        return refused
    time, folds, value, variance = walk(torch.cat(at_q), comparison), len(at_q), 0.0, 0.0
    for q, p in zip(at_q, at_p, strict=True):
        value += float(q.mean() + 1 - p.exp().mean()) / folds
        variance += float(q.var() * time / len(q) + p.exp().var() / len(p)) / folds**2
    return Estimate(value, math.sqrt(variance), "lower bound")


def walk(series: Tensor, comparison: Comparison) -> float:
    """How many successive draws are worth one, for the mean of a series of values at them; 1 for independent draws.

    The longer of the series' own autocorrelation time and that of the slowest coordinate.
    """
    if not isinstance(comparison.approximation, Draws):
        return 1.0
    slowest = len(comparison.draws) / float(comparison.effective.min())
    return max(slowest, autocorrelation_time(series))


@dataclass(frozen=True)
class KlClassifier(Metric):
    r"""Lower bound on KL(q||p), nats, that a classifier proves from draws alone, whatever else is known of q.

    .. math:: E_q[T] + 1 - E_p[e^T]

    with T learnt from draws used neither to choose between scores nor to judge: fresh ones where the approximation and the
    truth hand them out (five for each shared draw, at most 25,000), else by four-fold cross-fitting. Standard error: of both
    means; for chains by the effective number of draws. Weak where q and p differ on a scale that n draws do not resolve, and
    below 0 where there is nothing to prove.
    """

    name: ClassVar[str] = "kl_classifier"
    unit: ClassVar[str] = "nats"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return classified(comparison)
