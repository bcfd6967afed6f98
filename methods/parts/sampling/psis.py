"""Pareto-smoothed importance weights: what draws of an approximation are worth as draws of the
target, and the evidence they estimate.

Source: A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, Pareto smoothed importance sampling,
2024, arXiv:1507.02646.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from methods.base import Evidence

RELIABLE = 0.7  # k-hat from which no mean of weighted draws is to be trusted
EQUAL = 1e-9  # nats by which weights differ by rounding alone
FEWEST = 25  # weights, of which a fifth makes the tail: a shorter one cannot be fitted


@dataclass(frozen=True, eq=False)
class Weighted:
    """Smoothed weights.

    Args:
        weights: normalised, [n].
        khat: shape of the tail, to be read against ``RELIABLE``. NaN
            where no tail could be fitted, and the weights are as they were.
    """

    weights: Tensor
    khat: float

    def without_replacement(self, n: int, generator: Generator) -> Tensor:
        """Indices of n draws, none twice, each chosen by its weight, [n]; fewer where fewer have
        weight.
        """
        n = min(n, int((self.weights > 0).sum()))
        return torch.multinomial(self.weights, n, replacement=False, generator=generator)


def smoothed(log_ratios: Tensor) -> Weighted:
    """Weights from log p - log q [n], up to a constant; minus infinity, or NaN, is a weight of 0.

    Raises:
        FloatingPointError: if none of them is positive.
    """
    ratios = log_ratios.masked_fill(log_ratios.isnan(), -math.inf)
    positive = ratios.isfinite()
    if not bool(positive.any()):
        raise FloatingPointError("the density is finite at none of the draws to be weighted")
    ratios = ratios - ratios.max()
    spread = float(ratios[positive].max() - ratios[positive].min())
    khat = 0.0 if spread < EQUAL else math.nan  # equal weights have no tail: 0 by convention
    if int(positive.sum()) >= FEWEST and spread >= EQUAL:
        from arviz_stats import base  # takes a second

        arviz: Any = base.array_stats  # type: ignore[attr-defined]
        with np.errstate(all="ignore"):  # tails that end, weights that are equal
            # ArviZ takes a log likelihood, the weight being its inverse
            found, shape = arviz.psislw(-ratios[positive].numpy())
        if math.isfinite(float(shape)) and np.isfinite(found).all():
            ratios = ratios.masked_scatter(positive, torch.as_tensor(np.asarray(found)))
            khat = float(shape)
    return Weighted(ratios.softmax(0), khat)


def evidence(log_ratios: Tensor) -> Evidence:
    """Log of the mean of p/q over independent draws of q, [n], by its standard error to first
    order.
    """
    n = len(log_ratios)
    log_z = float(log_ratios.logsumexp(0)) - math.log(n)
    relative = (log_ratios - log_z).exp()
    return Evidence(log_z, float(relative.std()) / math.sqrt(n))
