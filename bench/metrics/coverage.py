"""Whether the intervals that an approximation would print hold what they claim: overconfidence, in
the reader's own terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Resolves, Skipped, Worse
from bench.metrics.draws.coordinates import effective_at, quantiles, refused, spread, worst
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.stream import Audit, audit

CLAIMS = (0.5, 0.9, 0.95)
# lower ends, then upper
ENDS = tuple((1 - claim) / 2 for claim in CLAIMS) + tuple((1 + claim) / 2 for claim in CLAIMS)


def coverage(
    draws: Tensor, truth: Tensor, effective: Tensor | None = None, names: Sequence[str] = ()
) -> Estimate | Skipped:
    """Largest miss of a central interval's share, from draws [n, D] of q and [m, D] of p; see
    ``Coverage``.

    Args:
        effective: independent draws that each end of an interval is worth, [6, D]; n where not
            given.
        names: of the coordinates, for the note.
    """
    if (refusal := refused(draws, truth)) is not None:
        return refusal
    return error_of_coverage(draws, truth, effective, names)


def error_of_coverage(
    draws: Tensor,
    truth: Tensor,
    effective: Tensor | None,
    names: Sequence[str],
    whole: Audit | None = None,
) -> Estimate:
    """The same of draws that may be compared.

    Args:
        whole: what all draws say that were asked for, where they are more than are held.
    """
    draws, truth = draws.double(), truth.double()
    dim, m = draws.shape[1], float(len(truth))
    claims = torch.tensor(CLAIMS, dtype=torch.float64)[:, None].expand(-1, dim)
    levels = torch.tensor(ENDS, dtype=torch.float64)[:, None].expand(-1, dim)
    of_ends = _of_ends(draws, truth, effective)
    if whole is None:
        low, high = quantiles(draws, levels).chunk(2)
        share = torch.stack(
            [((truth >= a) & (truth <= b)).double().mean(0) for a, b in zip(low, high, strict=True)]
        )
    else:
        below, above = whole.truth.share_below(whole.draws.quantiles(levels)).chunk(2)
        share, m = above - below, float(whole.truth.count)
        of_ends = of_ends * math.sqrt(len(draws) / whole.draws.count)
    inside = (share * m + 1) / (m + 2)  # a share of 0 in m draws is not known to be 0
    stderr = torch.hypot(spread(inside, m), of_ends)
    labels = [
        f"the {claim:.0%} interval of {names[j] if names else f'z[{j + 1}]'}"
        for claim in CLAIMS
        for j in range(dim)
    ]
    found = worst((share - claims).flatten(), stderr.flatten(), labels)
    if whole is None:
        return found
    return replace(found, note=f"{found.note} {whole.note}", draws=whole.draws.count)


def _of_ends(draws: Tensor, truth: Tensor, effective: Tensor | None) -> Tensor:
    """Standard error of the share because the ends of each interval are estimates, [3, D]."""
    levels = torch.tensor(ENDS, dtype=torch.float64)[:, None].expand(-1, draws.shape[1])
    aside = spread(levels, float(len(draws)) if effective is None else effective)
    above, below = (
        _share_below(truth, quantiles(draws, (levels + sign * aside).clamp(0, 1)))
        for sign in (1, -1)
    )
    low, high = ((above - below) / 2).chunk(2)
    claims = torch.tensor(CLAIMS, dtype=torch.float64)[:, None]
    # correlation of two order statistics at levels a and 1 - a: a / (1 - a)
    shared = (1 - claims) / (1 + claims)
    return (low.square() + high.square() - 2 * shared * low * high).clamp(min=0.0).sqrt()


def _share_below(sample: Tensor, at: Tensor) -> Tensor:
    """Share of each coordinate of [m, D] up to the points [P, D]: [P, D]."""
    ordered = sample.T.contiguous().sort(1).values
    return torch.searchsorted(ordered, at.T.contiguous(), right=True).T.double() / len(sample)


@dataclass(frozen=True)
class Coverage(Metric):
    r"""How far the central 50, 90 and 95% intervals of q are from holding that share of p; the
    worst of all coordinates.

    .. math::
        \max_{j, \alpha} |P_p(Q_{x_j}(\tfrac{1 - \alpha}{2}) \le y_j \le Q_{x_j}(\tfrac{1 +
        \alpha}{2})) - \alpha|

    A share, from 0 to 0.95; the note says which interval and whether it holds too little (-) or too
    much (+). Standard error: binomial for the draws of the truth, and for the ends of the intervals
    by moving them one standard error of their level; chains by the effective size of each end
    (Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, arXiv 1903.08008); widened for the choice
    of the worst of 3 D. Never 0, so an ``estimate``: compare with the noise floor, some 0.02 at n =
    4,000, D = 10.

    Source: the calibration of intervals as in Rubin, "Bayesianly justifiable and relevant frequency
    calculations for the applied statistician" (1984), doi 10.1214/aos/1176346785, here for one
    known posterior.
    """

    name: ClassVar[str] = "coverage"
    resolves: ClassVar[Resolves] = 0.5
    heading: ClassVar[str] = "Coverage error"
    meaning: ClassVar[str] = (
        "By how much the central 50, 90 and 95% intervals of q miss that share of p; worst"
        " coordinate."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        effective = effective_at(comparison, torch.tensor(ENDS, dtype=torch.float64))
        draws, truth = comparison.draws, comparison.truth
        names = comparison.problem.coordinates
        found = coverage(draws, truth, effective, names)
        whole = audit(comparison)
        if whole is None or isinstance(found, Skipped):
            return found
        return whole.refused or error_of_coverage(draws, truth, effective, names, whole)
