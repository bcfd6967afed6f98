"""Errors of the first two moments: what most readers of a posterior will use of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped, Worse
from bench.metrics.draws import tails
from bench.metrics.draws.chains import effective, ess_sd
from bench.metrics.draws.coordinates import refused, worst
from bench.metrics.draws.copies import counted_once
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
    draws, truth = draws.double(), truth.double()
    effective = _effective(draws, effective)
    scale = truth.std(0)
    error = (draws.mean(0) - truth.mean(0)) / scale
    stderr = (draws.var(0) / scale.square() / effective + 1 / len(truth)).sqrt()
    return _worst(error, stderr, names)


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
    draws, truth = draws.double(), truth.double()
    effective = _effective(draws, effective)
    ratio = draws.std(0) / truth.std(0)
    stderr = (
        ratio * (_log_sd_variance(draws) / effective + _log_sd_variance(truth) / len(truth)).sqrt()
    )
    found = _worst(ratio - 1, stderr, names)
    if moments is None or moments > 4:
        return found
    return replace(found, note=f"{found.note} The truth has no fourth moment: {TOO_SHORT}.")


def _missing(truth: Tensor, moments: float | None) -> Skipped | None:
    """Why the truth has no standard deviation, or None: without one a mean of draws has no standard
    error and no unit.
    """
    exists = tails.moments(truth, moments)
    return Skipped(tails.without(2, exists)) if exists <= 2 else None


def _effective(draws: Tensor, effective: Tensor | None) -> Tensor:
    return (
        torch.full((draws.shape[1],), float(len(draws)), dtype=torch.float64)
        if effective is None
        else effective
    )


def _log_sd_variance(sample: Tensor) -> Tensor:
    """Variance of log sd, times the number of draws: (kurtosis - 1) / 4 for each coordinate, [D]; 0
    where it is constant.
    """
    squares = (sample - sample.mean(0)).square()
    variance = squares.mean(0)
    return (squares.square().mean(0) / variance.square() - 1).nan_to_num(nan=0.0) / 4


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
    unit: ClassVar[str] = "sd"
    heading: ClassVar[str] = "Mean error, sd"
    meaning: ClassVar[str] = (
        "Error of the posterior mean in the worst coordinate, in units of the true standard"
        " deviation."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return mean_error(
            comparison.draws,
            comparison.truth,
            effective(comparison),
            comparison.problem.coordinates,
            comparison.problem.moments,
        )


@dataclass(frozen=True)
class SdError(Metric):
    r"""Relative error of the posterior standard deviation, worst coordinate, absolute.

    .. math:: \max_j |\mathrm{sd}(x_j) / \mathrm{sd}(y_j) - 1|

    Standard error: by the delta method from the kurtosis, both samples counted, chains by their
    effective size for the standard deviation, widened for the choice of the worst coordinate. An
    ``estimate``, as ``MeanError`` is. Skipped where the truth has no standard deviation.
    """

    name: ClassVar[str] = "sd_error"
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
        return sd_error(
            comparison.draws,
            comparison.truth,
            effective,
            comparison.problem.coordinates,
            comparison.problem.moments,
        )
