"""Errors of the first two moments: what most readers of a posterior will use of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Resolves, Skipped, Worse
from bench.metrics.draws import tails
from bench.metrics.draws.chains import effective, ess_sd
from bench.metrics.draws.coordinates import refused, worst
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.stream import Moments, audit, held_moments
from methods.base import Draws

TOO_SHORT = "the interval is too short"


def mean_error(
    draws: Tensor,
    truth: Tensor,
    effective: Tensor | None = None,
    names: Sequence[str] = (),
    moments: float | None = None,
) -> Estimate | Skipped:
    """Largest error of a mean, in sd of the truth, from draws [n, D] and [m, D]; see ``MeanError``.

    Args:
        effective: independent draws that the mean of each coordinate is worth, [D]; n where not
            given.
        names: of the coordinates, for the note.
        moments: of the truth exist below this order; None: as its draws show.
    """
    if (refusal := refused(draws, truth) or _missing(truth, moments)) is not None:
        return refusal
    return error_of_mean(held_moments(draws, effective), held_moments(truth), names)


def sd_error(
    draws: Tensor,
    truth: Tensor,
    effective: Tensor | None = None,
    names: Sequence[str] = (),
    moments: float | None = None,
) -> Estimate | Skipped:
    """Largest relative error of a standard deviation, from draws [n, D] and [m, D]; see
    ``SdError``.

    Args:
        effective: independent draws that the sd of each coordinate is worth, [D]; n where not
            given.
        names: of the coordinates, for the note.
        moments: of the truth exist below this order; None: as its draws show.
    """
    if (refusal := refused(draws, truth) or _missing(truth, moments)) is not None:
        return refusal
    found = error_of_sd(held_moments(draws, sd_count=effective), held_moments(truth), names)
    if moments is None or moments > 4:
        return found
    return replace(found, note=f"{found.note} The truth has no fourth moment: {TOO_SHORT}.")


def error_of_mean(x: Moments, y: Moments, names: Sequence[str]) -> Estimate:
    """The largest error of a mean by the moments of q and of the truth; see ``MeanError``."""
    stderr = (x.variance / y.variance / x.count + 1 / y.count).sqrt()
    return _worst((x.mean - y.mean) / y.variance.sqrt(), stderr, names)


def error_of_sd(x: Moments, y: Moments, names: Sequence[str]) -> Estimate:
    """The largest error of a standard deviation; see ``SdError``."""
    ratio = (x.variance / y.variance).sqrt()
    stderr = ratio * (x.log_sd / x.sd_count + y.log_sd / y.sd_count).sqrt()
    return _worst(ratio - 1, stderr, names)


def audited(
    comparison: Comparison,
    found: Estimate | Skipped,
    work: Callable[[Moments, Moments, Sequence[str]], Estimate],
) -> Estimate | Skipped:
    """The figure by all draws that were asked for, where they are more than are held."""
    whole = audit(comparison)
    if whole is None or isinstance(found, Skipped):
        return found
    if whole.refused is not None:
        return whole.refused
    better = work(*whole.moments, comparison.problem.coordinates)
    return replace(better, note=f"{better.note} {whole.moments_note}", draws=whole.draws.count)


def _missing(truth: Tensor, moments: float | None) -> Skipped | None:
    """Why the truth has no standard deviation, or None: without one a mean of draws has no standard
    error and no unit.
    """
    exists = tails.moments(truth, moments)
    return Skipped(tails.without(2, exists)) if exists <= 2 else None


def _worst(error: Tensor, stderr: Tensor, names: Sequence[str]) -> Estimate:
    return worst(error, stderr, names or [f"z[{j + 1}]" for j in range(len(error))])


@dataclass(frozen=True)
class MeanError(Metric):
    r"""Error of the posterior mean in units of the truth's sd, worst coordinate, absolute.

    .. math:: \max_j |\bar x_j - \bar y_j| / \mathrm{sd}(y_j)

    Standard error: of the difference of means, both samples counted, chains by their effective
    size, widened for the choice of the worst of D coordinates so that the interval holds. The
    largest of D noisy absolute values is never 0, so an ``estimate``: compare with the noise floor,
    some 0.04 at n = 4,000, D = 10. Skipped where the truth has no standard deviation.
    """

    name: ClassVar[str] = "mean_error"
    resolves: ClassVar[Resolves] = 1.0
    unit: ClassVar[str] = "sd"
    heading: ClassVar[str] = "Mean error, sd"
    meaning: ClassVar[str] = (
        "Error of the posterior mean in the worst coordinate, in units of the true standard"
        " deviation."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        found = mean_error(
            comparison.draws,
            comparison.truth,
            effective(comparison),
            comparison.problem.coordinates,
            comparison.problem.moments,
        )
        return audited(comparison, found, error_of_mean)


@dataclass(frozen=True)
class SdError(Metric):
    r"""Relative error of the posterior standard deviation, worst coordinate, absolute.

    .. math:: \max_j |\mathrm{sd}(x_j) / \mathrm{sd}(y_j) - 1|

    Standard error: by the delta method from the kurtosis, both samples counted, chains by their
    effective size for the standard deviation, widened for the choice of the worst coordinate. An
    ``estimate``, as ``MeanError`` is. Skipped where the truth has no standard deviation.
    """

    name: ClassVar[str] = "sd_error"
    resolves: ClassVar[Resolves] = 0.71  # 1 / sqrt(2)
    unit: ClassVar[str] = "sd"
    heading: ClassVar[str] = "SD error, sd"
    meaning: ClassVar[str] = (
        "Error of the posterior standard deviation in the worst coordinate, in units of the true"
        " one."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        effective = None
        if isinstance(comparison.approximation, Draws):
            effective = ess_sd(comparison.approximation.chains).clamp(
                max=float(len(comparison.draws))
            )
        found = sd_error(
            comparison.draws,
            comparison.truth,
            effective,
            comparison.problem.coordinates,
            comparison.problem.moments,
        )
        return audited(comparison, found, error_of_sd)
