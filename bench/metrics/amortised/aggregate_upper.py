"""The codes of all data together, bounded from above where q has no density."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from bench.metrics.amortised.aggregate import AggregateKl
from bench.metrics.amortised.base import Pair
from bench.metrics.amortised.posterior import OfSome
from bench.metrics.amortised.told import told
from bench.metrics.base import Comparison, Estimate, Skipped, Worse
from bench.metrics.brackets.bracket import with_excess
from bench.metrics.brackets.map_draws import known_draws
from bench.metrics.draws.monte_carlo import divergence
from problems.generative.parts.latent_grid import log_prior


@dataclass(frozen=True)
class AggregateKlUpper(OfSome):
    r"""The upper end of the bracket of ``aggregate_kl``, nats; equal to it where q has a density.

    .. math::
        KL(q(z) \| p(z)) = \frac1N \sum_i KL(q(z \mid x_i) \| p(z)) - I_q(x; z)

    Where q is a map of noise into a plane: the first part from above on some x, by the search for
    preimages of ``brackets``; the second from below on all x, see ``told``. Kind ``upper bound``;
    standard error: of the draws, and of the choice of the x where they are not all.

    Args:
        count: of how many x, where q has no density.

    Source: M. D. Hoffman, M. J. Johnson, ELBO surgery, 2016.
    """

    name: ClassVar[str] = "aggregate_kl_upper"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL(q(z)‖p(z)) from above, nats"
    meaning: ClassVar[str] = "A bound from above on the same, of an encoder without a density."
    worse: ClassVar[Worse] = "above"

    def measure(self, pair: Pair) -> Estimate | Skipped:
        if pair.log_q is not None:
            return AggregateKl().measure(pair)
        each = self.some(pair, above_prior)
        if isinstance(each, Skipped):
            return each
        information = told(pair)
        value, stderr = each.value - information.value, math.hypot(each.stderr, information.stderr)
        return replace(each, value=value, stderr=stderr)


def above_prior(one: Comparison, searched: int) -> Estimate | Skipped:
    """KL from one code to the prior, from above; of the same draws as the KL to its posterior."""
    drawn = known_draws(one, searched)
    if isinstance(drawn, Skipped):
        return drawn
    log_p = log_prior(drawn.points)
    first = divergence(drawn.log_q, log_p, ("q(z | x)", "the prior"), "upper bound", 0.0, "")
    if isinstance(first, Skipped):
        return first
    return with_excess(first, drawn.log_q - log_p, drawn.upper, 0.0)
