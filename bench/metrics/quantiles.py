"""Errors of the quantiles that a posterior is summarised by: what moments do not show of tails and
skew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Resolves, Skipped, Worse
from bench.metrics.draws import tails
from bench.metrics.draws.coordinates import effective_at, quantiles, refused, spread, worst
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.stream import Audit, audit

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
UNIT = (
    "The truth has no standard deviation: the unit is the distance of its quartiles over 1.35, as"
    " for a normal law."
)


def quantile_error(
    draws: Tensor,
    truth: Tensor,
    effective: Tensor | None = None,
    names: Sequence[str] = (),
    moments: float | None = None,
) -> Estimate | Skipped:
    """Largest error of a quantile, in sd of the truth, from draws [n, D] and [m, D]; see
    ``QuantileError``.

    Args:
        effective: independent draws that each quantile is worth, [5, D]; n where not given.
        names: of the coordinates, for the note.
        moments: of the truth exist below this order; None: as its draws show.
    """
    if (refusal := refused(draws, truth)) is not None:
        return refusal
    heavy = torch.full((truth.shape[1],), tails.moments(truth, moments) <= 2)
    return error_of_quantiles(draws, truth, effective, names, heavy)


def error_of_quantiles(
    draws: Tensor,
    truth: Tensor,
    effective: Tensor | None,
    names: Sequence[str],
    heavy: Tensor,
    whole: Audit | None = None,
) -> Estimate:
    """The same of draws that may be compared.

    Args:
        heavy: columns whose unit is not their sd, [D].
        whole: what all draws say that were asked for, where they are more than are held.
    """
    draws, truth = draws.double(), truth.double()
    dim = draws.shape[1]
    scale = torch.where(heavy, tails.middle_scale(truth), truth.std(0))
    levels = torch.tensor(LEVELS, dtype=torch.float64)[:, None].expand(-1, dim)
    x, y = quantiles(draws, levels), quantiles(truth, levels)
    of_draws = _stderr(draws, levels, float(len(draws)) if effective is None else effective)
    of_truth = _stderr(truth, levels, float(len(truth)))
    if whole is not None:  # errors fall with the root of the number of draws
        x, y = whole.draws.quantiles(levels), whole.truth.quantiles(levels)
        of_draws = of_draws * math.sqrt(len(draws) / whole.draws.count)
        of_truth = of_truth * math.sqrt(len(truth) / whole.truth.count)
    labels = [
        f"the {level:.0%} quantile of {names[j] if names else f'z[{j + 1}]'}"
        for level in LEVELS
        for j in range(dim)
    ]
    stderr = torch.hypot(of_draws, of_truth) / scale
    found = worst(((x - y) / scale).flatten(), stderr.flatten(), labels)
    said = [found.note, UNIT if bool(heavy.all()) else "", whole.note if whole else ""]
    count = whole.draws.count if whole else None
    return replace(found, note=" ".join(filter(None, said)), draws=count)


def _stderr(sample: Tensor, levels: Tensor, effective: Tensor | float) -> Tensor:
    """Half the distance of the quantiles one standard error of the level to either side: [P, D],
    without any density.
    """
    aside = spread(levels, effective)
    high, low = (quantiles(sample, (levels + sign * aside).clamp(0, 1)) for sign in (1, -1))
    return (high - low) / 2


@dataclass(frozen=True)
class QuantileError(Metric):
    r"""Error of the quantiles at 5, 25, 50, 75 and 95%, in units of the truth's sd; the worst of
    all coordinates, absolute.

    .. math:: \max_{j, p} |Q_{x_j}(p) - Q_{y_j}(p)| / \mathrm{sd}(y_j)

    Standard error: of the difference, both samples counted, from the quantiles one binomial
    standard error of the level to either side (the distribution-free interval of order statistics:
    Conover, "Practical Nonparametric Statistics" (1999), section 3.2); chains by the effective size
    of each quantile (Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, arXiv 1903.08008);
    widened for the choice of the worst of 5 D. The largest of many noisy absolute values is never
    0, so an ``estimate``: compare with the noise floor, some 0.10 at n = 4,000, D = 10. Where the
    truth has no sd, the unit is the distance of its quartiles over 1.35.
    """

    name: ClassVar[str] = "quantile_error"
    resolves: ClassVar[Resolves] = 2.11  # sqrt(0.05 * 0.95) over the density there
    unit: ClassVar[str] = "sd"
    heading: ClassVar[str] = "Quantile error, sd"
    meaning: ClassVar[str] = (
        "Error of the 5, 25, 50, 75 and 95% quantiles in standard deviations of the truth; the"
        " worst of all."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        effective = effective_at(comparison, torch.tensor(LEVELS, dtype=torch.float64))
        draws, truth, problem = comparison.draws, comparison.truth, comparison.problem
        names, moments = problem.coordinates, problem.moments
        found = quantile_error(draws, truth, effective, names, moments)
        whole = audit(comparison)
        if whole is None or isinstance(found, Skipped):
            return found
        heavy = torch.full((truth.shape[1],), tails.moments(truth, moments) <= 2)
        return whole.refused or error_of_quantiles(draws, truth, effective, names, heavy, whole)
