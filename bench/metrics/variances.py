"""Whether all variances are off by a little in the same way: what the worst of many coordinates
hides in its noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Kind, Metric, Resolves, Skipped, Worse
from bench.metrics.draws import chains, tails
from bench.metrics.draws.coordinates import refused
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.stream import Audit, audit


def variance_error(
    draws: Tensor, truth: Tensor, *, memory: int = 0, moments: float | None = None
) -> Estimate | Skipped:
    """Mean relative error of the variances, from draws [n, D] and [m, D]; see ``VarianceError``.

    Args:
        memory: more than 0 if the rows of ``draws`` are chains.
        moments: of the truth exist below this order; None: as its draws show.
    """
    if (refusal := refused(draws, truth)) is not None:
        return refusal
    exists = tails.moments(truth, moments)
    if exists <= 2:
        return Skipped(tails.without(2, exists))
    x, y = (
        (part.double() - part.double().mean(0)).square() / truth.double().var(0)
        for part in (draws, truth)
    )
    # what each draw adds to the mean of the ratios, [n] and [m]
    ratio = x.sum(0) / (len(x) - 1)
    of_x, of_y = x.mean(1), (ratio * y).mean(1)
    moves = memory and float(of_x.std()) > 0
    time = chains.autocorrelation_time(of_x) if moves else 1.0
    variance = float(of_x.var()) * time / len(x) + float(of_y.var()) / len(y)
    note = "The truth has no fourth moment: the interval is too short." if exists <= 4 else ""
    return Estimate(float(ratio.mean()) - 1, math.sqrt(variance), "estimate", note)


def _audited(whole: Audit, note: str) -> Estimate:
    """The same of more draws than are held. Where the truth's variances are known its draws have no
    part in it, neither bias nor noise, so that it is ``exact`` and needs no noise floor.
    """
    x, y = whole.moments
    variance = whole.draws.squares / whole.draws.count
    if whole.exact is None:
        variance += whole.truth.squares / whole.truth.count
    value = float((x.variance / y.variance).mean()) - 1
    said = f"{note} {whole.moments_note}".strip()
    kind: Kind = "estimate" if whole.exact is None else "exact"
    return Estimate(value, math.sqrt(variance), kind, said, whole.draws.count)


@dataclass(frozen=True)
class VarianceError(Metric):
    r"""Relative error of the variances, with its sign, mean over coordinates.

    .. math:: \frac{1}{D} \sum_j \frac{\mathrm{var}(x_j)}{\mathrm{var}(y_j)} - 1

    Below 0 where q is too narrow. An error that all coordinates share stands out, as the noise of D
    coordinates averages; errors of opposite signs cancel, and ``SdError`` is for those. Standard
    error: by the delta method, from the scatter of what each draw adds to the mean, both samples
    counted, chains by its autocorrelation; some 0.010 at n = 4,000, D = 10. Biased by 2 / m for m
    draws of a normal truth, so an ``estimate``. Skipped where the truth has no variance.
    """

    name: ClassVar[str] = "variance_error"
    resolves: ClassVar[Resolves] = 1.41  # sqrt(2)
    heading: ClassVar[str] = "Variance error"
    meaning: ClassVar[str] = (
        "Relative error of the posterior variances, mean over coordinates: below 0 where the"
        " approximation is too narrow."
    )
    worse: ClassVar[Worse] = "both"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        found = variance_error(
            comparison.draws,
            comparison.truth,
            memory=chains.memory(comparison),
            moments=comparison.problem.moments,
        )
        whole = audit(comparison)
        if whole is None or isinstance(found, Skipped):
            return found
        return whole.refused or _audited(whole, found.note)
