"""Whether each mode holds the share that it should: the failure that moments and neighbours are
slowest to show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped, Worse
from bench.metrics.draws.chains import ess_mean
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.samples import unfit_alone
from methods.base import Draws

ONE_SIDED, TWO_SIDED = 1.645, 1.960  # normal quantiles of a 95% interval


def mode_balance(
    labels: Tensor, weights: Tensor, effective: float | None = None
) -> Estimate | Skipped:
    """Total variation between the shares of modes and their true weights; see ``ModeBalance``.

    Args:
        labels: the mode of each draw, integers, [n]; weights: true shares, [K].
        effective: independent draws that the shares are worth; n where not given.

    Raises:
        ValueError: if a label has no weight.
    """
    refused = unfit_alone(labels, "mode labels")
    if refused is not None:
        return refused
    counts = torch.bincount(labels.long(), minlength=len(weights)).double()
    if len(counts) > len(weights):
        raise ValueError(
            f"Mode label {len(counts) - 1} has no weight: the problem names {len(weights)} modes,"
            " counted from 0."
        )
    n = effective or len(labels)
    error = counts / len(labels) - weights
    return Estimate(0.5 * float(error.abs().sum()), _stderr(counts, error.sign(), n), "estimate")


def _stderr(counts: Tensor, sign: Tensor, n: float) -> float:
    """The larger of two: of the sum with its signs as they are, and of a sum of absolute values
    whose signs are all noise.

    For two modes both are the same; for many balanced ones the figure is noise of positive mean,
    which the second allows for.
    """
    # all draws in one mode do not prove a share of exactly 1
    shares = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    of_signs = math.sqrt(float((shares * sign.square()).sum() - (shares * sign).sum().square()) / n)
    scale = (shares * (1 - shares) / n).sqrt()
    mean, sd = (
        math.sqrt(2 / math.pi) * float(scale.sum()),
        math.sqrt((1 - 2 / math.pi) * float(scale.square().sum())),
    )
    return 0.5 * max(of_signs, (mean + ONE_SIDED * sd) / TWO_SIDED)


@dataclass(frozen=True)
class ModeBalance(Metric):
    r"""Total variation distance between the shares of the modes that a problem names and their true
    weights, 0 to 1.

    .. math:: \frac{1}{2} \sum_k |s_k - w_k|

    for the share s_k of draws in mode k: the mass that would have to move. Standard error:
    multinomial, wide enough for the interval to hold the true distance although a sum of absolute
    values is never 0; chains by the effective size of the mode that they visit most unevenly. That
    bias makes it an ``estimate``: compare with the noise floor. Chains that never leave one mode
    look certain of it: the figure is then right and its standard error meaningless.
    """

    name: ClassVar[str] = "mode_balance"
    heading: ClassVar[str] = "Mode balance"
    meaning: ClassVar[str] = (
        "How far the shares of the posterior's named modes are from the true shares."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        modes = comparison.problem.modes
        if modes is None:
            return Skipped("The problem names no modes.")
        weights = torch.tensor(modes.weights, dtype=torch.float64)
        effective = float(len(comparison.draws))
        if isinstance(comparison.approximation, Draws):
            visits = modes.label(comparison.approximation.chains).unsqueeze(-1) == torch.arange(
                len(weights)
            )
            effective = min(effective, float(ess_mean(visits.double()).min()))
        return mode_balance(modes.label(comparison.draws), weights, effective)
