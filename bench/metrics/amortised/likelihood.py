"""How probable the learned model finds data that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.metrics.amortised.base import Pair, PairMetric, sampled_over
from bench.metrics.base import Estimate, Skipped, Worse


@dataclass(frozen=True)
class LogLikelihood(PairMetric):
    r"""Mean log likelihood of the x under the decoder alone, nats per x; the encoder has no part in
    it, but for where annealing starts.

    .. math::
        \frac1N \sum_i \log p_\theta(x_i), \qquad
        \log p_\theta(x) = \log \int p_\theta(x \mid z) N(z; 0, I) dz

    Where z has one or two coordinates: adaptive quadrature, good to 1e-6 nats, kind ``exact``. Else
    annealed importance sampling, kind ``lower bound``: below in expectation. Standard error: of the
    chains, 0 for quadrature.

    Source: Y. Wu et al., 2017, arXiv:1611.04273.
    """

    name: ClassVar[str] = "log_likelihood"
    unit: ClassVar[str] = "nats"
    ideal: ClassVar[float | None] = None
    heading: ClassVar[str] = "log p(x), nats"
    meaning: ClassVar[str] = "Mean log likelihood of test data under the learned decoder."
    worse: ClassVar[Worse] = "below"
    unranked: ClassVar[str] = "its best value is that of the law of the data, another for each"

    def measure(self, pair: Pair) -> Estimate | Skipped:
        found = pair.evidence
        note = "" if found.kind == "exact" else "By annealed importance sampling."
        return sampled_over(found.value, found.stderr, len(pair.x), found.kind, note)
