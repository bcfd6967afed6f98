"""What figures per coordinate share: when to refuse, how many draws a quantile is worth, and the
worst of many errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Skipped
from bench.metrics.draws.chains import ess_mean
from bench.metrics.draws.samples import constant_coordinates, unfit
from methods.base import Draws


def refused(draws: Tensor, truth: Tensor) -> Skipped | None:
    """Why samples [n, D] and [m, D] cannot be compared coordinate by coordinate, or None where they
    can.

    Raises:
        ValueError: if they are not both matrices with the same number of columns.
    """
    found = unfit(draws, truth)
    if found is None and (constant := constant_coordinates(truth)):
        return Skipped(
            f"Coordinate {constant[0]} is constant in the draws of the truth: there is no scale to"
            " measure it by."
        )
    return found


def unstretched(draws: Tensor, count: int) -> Tensor:
    r"""Draws [n, D] on the scale of the covariance S of ``count`` others, less what that scale
    stretches them by.

    .. math:: E[S^{-1}] = \frac{m - 1}{m - D - 2} \Sigma^{-1}

    for m normal draws (the inverse Wishart law). The m draws themselves have covariance I in these
    coordinates, exactly, and fresh ones of the same law have more: 1.03 times at D = 30, m = 1,000.
    A distance between the two would count that.

    Source: Hartlap, Simon & Schneider, "Why your model parameter confidences might be too
    optimistic - unbiased estimation of the inverse covariance matrix" (2007), arXiv
    astro-ph/0608064.
    """
    return draws * math.sqrt(max(count - draws.shape[1] - 2, 1) / (count - 1))


def quantiles(sample: Tensor, levels: Tensor) -> Tensor:
    """Quantiles of each coordinate, linear between order statistics: [n, D], levels [P, D] -> [P,
    D].
    """
    found = [
        np.quantile(sample[:, j].numpy(), levels[:, j].numpy()) for j in range(sample.shape[1])
    ]
    return torch.from_numpy(np.stack(found, -1))


def effective_at(comparison: Comparison, levels: Tensor) -> Tensor:
    """Independent draws that the share below each quantile is worth: levels [P] -> [P, D]; n unless
    the draws are chains.
    """
    q = comparison.approximation
    return worth(comparison.draws, q.chains if isinstance(q, Draws) else None, levels)


def worth(draws: Tensor, chains: Tensor | None, levels: Tensor) -> Tensor:
    """The same of draws [n, K] that were taken from chains [chains, draws, K], if from any."""
    n, dim = draws.shape
    plain = torch.full((len(levels), dim), float(n), dtype=torch.float64)
    if chains is None or not bool(torch.isfinite(draws).all()) or n == 0:
        return plain
    at = quantiles(draws.double(), levels[:, None].expand(-1, dim))
    below = (chains.double().unsqueeze(2) <= at).double().flatten(2)  # [chains, draws, P D]
    return ess_mean(below).reshape(len(levels), dim).minimum(plain)


def spread(levels: Tensor, effective: Tensor | float) -> Tensor:
    """Standard error of the share of a sample below the true quantile of each level."""
    return (levels * (1 - levels) / effective).sqrt()


def worst(error: Tensor, stderr: Tensor, labels: Sequence[str]) -> Estimate:
    """The largest of many absolute errors [K], with a standard error that allows for the choice.

    All K errors lie within ``reach`` standard errors of the truth at once in 95% of cases (Sidak),
    so that the largest one does, too.

    Args:
        labels: of the errors, for the note.
    """
    usual, reach = _quantile(1), _quantile(len(error))
    size = error.abs()
    at = int(size.argmax())
    above, below = float((size + reach * stderr).max() - size[at]), reach * float(stderr[at])
    return Estimate(
        float(size[at]),
        max(above, below) / usual,
        "estimate",
        f"Worst in {labels[at]}: {float(error[at]):+.3g}.",
    )


def _quantile(count: int) -> float:
    """Normal quantile that bounds ``count`` independent absolute values at once in 95% of cases."""
    return math.sqrt(2) * float(
        torch.special.erfinv(torch.tensor(0.95 ** (1 / count), dtype=torch.float64))
    )
