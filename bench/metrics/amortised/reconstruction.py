"""How well x comes back from its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from bench.metrics.amortised.base import Pair, PairMetric, mean_over
from bench.metrics.base import Estimate, Skipped, Worse


@dataclass(frozen=True)
class ReconstructionError(PairMetric):
    r"""The paper's reconstruction error, nats per x: the first part of the ELBO, with its sign
    turned.

    .. math:: -\frac1N \sum_i E_{q(z \mid x_i)} \log p_\theta(x_i \mid z)

    Monte Carlo, kind ``exact``; standard error: of the draws of z.

    Source: L. Mescheder, S. Nowozin, A. Geiger, 2017, arXiv:1701.04722, table 1.
    """

    name: ClassVar[str] = "reconstruction_error"
    unit: ClassVar[str] = "nats"
    ideal: ClassVar[float | None] = None
    heading: ClassVar[str] = "reconstruction error, nats"
    meaning: ClassVar[str] = "Minus the mean log likelihood of x given draws of its own code."
    worse: ClassVar[Worse] = "above"
    unranked: ClassVar[str] = "a code that says all of x need not be one that the prior would draw"

    def measure(self, pair: Pair) -> Estimate | Skipped:
        return mean_over(-pair.log_likelihood, "exact")


@dataclass(frozen=True)
class SquaredError(PairMetric):
    r"""Squared error of the decoder's mean, summed over the entries of x, in units of x squared.

    .. math:: \frac1N \sum_i E_{q(z \mid x_i)} \| x_i - E_\theta[x \mid z] \|^2

    Monte Carlo, kind ``exact``; standard error: of the draws of z.
    """

    name: ClassVar[str] = "squared_error"
    ideal: ClassVar[float | None] = None
    heading: ClassVar[str] = "squared error"
    meaning: ClassVar[str] = "Squared distance of x from the decoder's mean at its own code."
    worse: ClassVar[Worse] = "above"
    unranked: ClassVar[str] = "noise of the data cannot be reconstructed"

    def measure(self, pair: Pair) -> Estimate | Skipped:
        with torch.no_grad():
            rows = [
                (pair.decoder.mean(z) - x).flatten(1).square().sum(1)
                for x, z in zip(pair.x, pair.z, strict=True)
            ]
        return mean_over(torch.stack(rows), "exact")
