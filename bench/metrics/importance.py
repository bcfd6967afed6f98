"""How far an approximation can be repaired by weighting its draws: the tail of the weights, and
what they leave of n draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped, Worse
from bench.metrics.brackets.density import Known, at_draws

FEWEST_DRAWS = (
    25  # draws; the tail is a fifth of them, and a tail of fewer than five cannot be fitted
)
LEVEL = 1e-9  # nats; log weights that differ by less are equal but for rounding
# k-hat above which the squares of the weights have no variance, and their mean no standard error
UNSTEADY = 0.25
# k-hat above which no number of draws that anyone has makes the weighted mean reliable
UNRELIABLE = 0.7


@dataclass(frozen=True, eq=False)
class Tail:
    """Importance weights after their largest were smoothed by a generalised Pareto law.

    Args:
        log_weights: normalised, [n]; khat: shape of the tail; size: how many weights the tail was
            fitted to.
    """

    log_weights: Tensor
    khat: float
    size: int


def psis_khat(log_ratios: Tensor) -> Estimate | Skipped:
    """Shape of the upper tail of weights from their logs [n], up to a constant; see
    ``PsisKhat``.
    """
    tail = smooth(log_ratios)
    if isinstance(tail, Skipped):
        return tail
    note = f"Above {UNRELIABLE}: weighting does not repair this." if tail.khat > UNRELIABLE else ""
    return Estimate(tail.khat, (1 + abs(tail.khat)) / math.sqrt(tail.size), "estimate", note)


def importance_ess(log_ratios: Tensor) -> Estimate | Skipped:
    """Share of draws that is left after weighting, from log weights [n], up to a constant; see
    ``ImportanceEss``.
    """
    tail = smooth(log_ratios)
    if isinstance(tail, Skipped):
        return tail
    weights = (tail.log_weights - tail.log_weights.max()).exp()
    first, second = weights.mean(), weights.square().mean()
    share = first.square() / second
    influence = 2 * (weights - first) / first - (weights.square() - second) / second
    stderr = float(share * influence.std() / math.sqrt(len(weights)))
    note = "" if tail.khat <= UNSTEADY else f"k-hat is {tail.khat:.2f}: the interval is too short."
    if tail.khat > UNRELIABLE:
        note = f"k-hat is {tail.khat:.2f}: the share is too high."
    return Estimate(float(share), stderr, "estimate", note)


def smooth(log_ratios: Tensor) -> Tail | Skipped:
    """Pareto-smoothed log weights [n] by ArviZ, or why their tail cannot be fitted. A weight of 0
    is minus infinity.
    """
    ratios = log_ratios.double()
    if len(ratios) < FEWEST_DRAWS:
        return Skipped(
            f"{len(ratios)} draws are too few for the tail of the weights; at least {FEWEST_DRAWS}"
            " are needed."
        )
    bad = int((torch.isnan(ratios) | (ratios == math.inf)).sum())
    if bad:
        return Skipped(f"{bad} of the {len(ratios)} weights are not finite.")
    size = int(3 * math.sqrt(len(ratios)) if len(ratios) > 225 else len(ratios) // 5)
    ratios = ratios - ratios.max()
    tail = ratios.sort().values[-size - 1 :]
    if not bool(torch.isfinite(tail).all()):
        positive = int((ratios > -math.inf).sum())
        return Skipped(
            f"Only {positive} of {len(ratios)} draws have any weight: too few for the tail of"
            f" {size}."
        )
    if tail[-1] - tail[0] < LEVEL:  # equal weights have no tail, and a shape of 0 by convention
        return Tail(ratios - ratios.logsumexp(0), 0.0, size)
    return _fit(ratios, size)


def _fit(ratios: Tensor, size: int) -> Tail | Skipped:
    from arviz_stats.base.array import array_stats  # 1.4 seconds to import

    psislw: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], float]] = array_stats.psislw
    with np.errstate(all="ignore"):  # weights of 0, and tails that end
        # ArviZ takes a log likelihood, the weight being its inverse
        smoothed, khat = psislw(-ratios.numpy())
    weights = torch.as_tensor(np.asarray(smoothed, dtype=np.float64))
    if not math.isfinite(float(khat)) or bool(torch.isnan(weights).any()):
        return Skipped(
            f"The {size} largest weights repeat each other: no tail can be fitted to them."
        )
    return Tail(weights, float(khat), size)


def _log_ratios(comparison: Comparison) -> tuple[Tensor, Known] | Skipped:
    known = at_draws(comparison)
    return known if isinstance(known, Skipped) else (known.log_p - known.log_q, known)


def _noted(found: Estimate | Skipped, known: Known) -> Estimate | Skipped:
    if isinstance(found, Skipped):
        return found
    note = f"{found.note} {known.note}".strip()
    return Estimate(found.value, found.stderr, found.kind, note, len(known.log_q))


@dataclass(frozen=True)
class PsisKhat(Metric):
    r"""Shape k of the Pareto tail that the largest importance weights p/q follow: their moments
    below 1/k are finite.

    .. math:: w_i = p(x_i) / q(x_i), \quad P(w > u + t \mid w > u) = (1 + k t / \sigma)^{-1/k}

    fitted to the 3 sqrt(n) largest of n weights. Below 0.5 their variance is finite; above 0.7
    neither weighting nor any mean by q's draws is to be trusted. It sees tails that q lacks where q
    has draws, and no mode that it leaves out. Equal weights have no tail and read 0. Direction: p
    over q. There is no ideal value: less is better, and below 0 the weights are bounded. ArviZ's
    fit leans to 0.5, as by ten more weights.

    Standard error: asymptotic, of the shape of a Pareto tail, (1 + k) / sqrt(number of weights
    fitted).

    Source: Vehtari, Simpson, Gelman, Yao & Gabry, "Pareto smoothed importance sampling" (2024),
    JMLR 25, arXiv 1507.02646; as a figure of merit in Yao, Vehtari, Simpson & Gelman, "Yes, but did
    it work?: Evaluating variational inference" (2018), arXiv 1802.02538.
    """

    name: ClassVar[str] = "psis_khat"
    ideal: ClassVar[float | None] = None
    heading: ClassVar[str] = "Pareto k-hat"
    meaning: ClassVar[str] = (
        "Tail of the weights p/q: above 0.7 weighting does not repair the approximation; blind to"
        " modes that q leaves out."
    )
    worse: ClassVar[Worse] = "above"
    unranked: ClassVar[str] = "no value is ideal; what counts is whether it is below 0.7"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        ratios = _log_ratios(comparison)
        return ratios if isinstance(ratios, Skipped) else _noted(psis_khat(ratios[0]), ratios[1])


@dataclass(frozen=True)
class ImportanceEss(Metric):
    r"""Share of q's draws that is left after they are weighted to p, from 0 to 1.

    .. math::
        \frac{(\sum_i w_i)^2}{n \sum_i w_i^2} \to \frac{1}{1 + \chi^2(p \| q)}, \quad w_i = p(x_i) /
        q(x_i)

    with the largest weights smoothed as for ``PsisKhat``. Standard error: by the delta method from
    the scatter of w and of its square, for independent draws. Where k-hat is above 0.25 the squares
    have no variance and the interval is too short (with k = 0.36 it held in 6 of 10 cases), where
    it is above 0.7 the share itself is too high, and the note says so.

    Source: Kong, "A note on importance sampling using standardized weights" (1992), University of
    Chicago, technical report 348; smoothing as in arXiv 1507.02646.
    """

    name: ClassVar[str] = "importance_ess"
    ideal: ClassVar[float | None] = 1.0
    heading: ClassVar[str] = "Importance ESS"
    meaning: ClassVar[str] = (
        "Share of q's draws that is left after weighting them to p; blind to mass that q leaves"
        " out."
    )
    worse: ClassVar[Worse] = "below"
    density: ClassVar[bool] = True

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        ratios = _log_ratios(comparison)
        return (
            ratios if isinstance(ratios, Skipped) else _noted(importance_ess(ratios[0]), ratios[1])
        )
