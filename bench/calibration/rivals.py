"""Estimators that papers and libraries use, calibrated beside ours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import digamma
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.brackets.pushforward import branch
from methods.base import Pushforward


@dataclass(frozen=True)
class OnePreimage(Metric):
    """KL(q||p) of a map by the preimage that is known, and no look for others."""

    name: ClassVar[str] = "one preimage"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        approximation, evidence = comparison.approximation, comparison.evidence
        if not isinstance(approximation, Pushforward) or isinstance(evidence, Skipped):
            return Skipped("No map, or no log Z.")
        n, dim = comparison.draws.shape
        found = branch(
            approximation,
            torch.randn(n, dim, generator=comparison.generator(), dtype=torch.float64),
        )
        return _averaged(found.log_q - comparison.problem.log_density(found.points) + evidence[0])


@dataclass(frozen=True)
class RawNeighbours(Metric):
    """KL(q||p) by first neighbours in the units that the draws come in: Wang, Kulkarni & Verdu
    (2009).
    """

    name: ClassVar[str] = "kNN, k = 1"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        x, y = comparison.draws.numpy(), comparison.truth.numpy()
        own, other = _distance(x, x, 2), _distance(y, x, 1)
        ratios = x.shape[1] * np.log(other / own) + math.log(len(y) / (len(x) - 1))
        return _averaged(torch.from_numpy(ratios))


@dataclass(frozen=True)
class NeighbourEntropy(Metric):
    """KL(q||p) by the exact log p and log Z, and an entropy from first neighbours: Kozachenko &
    Leonenko (1987).
    """

    name: ClassVar[str] = "kNN entropy"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        evidence = comparison.evidence
        if isinstance(evidence, Skipped):
            return evidence
        x, (n, dim) = comparison.draws.numpy(), comparison.draws.shape
        own = torch.from_numpy(_distance(x, x, 2))
        ball = 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim + 1)
        surprise = dim * own.log() + ball + float(digamma(n) - digamma(1))
        return _averaged(evidence[0] - comparison.problem.log_density(comparison.draws) - surprise)


@dataclass(frozen=True)
class GaussianFit(Metric):
    """KL(q||p) between Gaussians with the moments of the two samples."""

    name: ClassVar[str] = "Gaussian fit"

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        (mean_q, factor_q), (mean_p, factor_p) = (
            _moments(part) for part in (comparison.draws, comparison.truth)
        )
        spread = torch.linalg.solve_triangular(factor_p, factor_q, upper=False)
        shift = torch.linalg.solve_triangular(
            factor_p, (mean_q - mean_p).unsqueeze(-1), upper=False
        )
        value = (
            0.5 * (spread.square().sum() + shift.square().sum() - len(mean_q))
            - spread.diagonal().log().sum()
        )
        return Estimate(float(value), 0.0, "estimate")


def _distance(among: NDArray[np.float64], of: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    return np.asarray(cKDTree(among).query(of, k=[k], workers=1)[0])[:, 0]


def _moments(sample: Tensor) -> tuple[Tensor, Tensor]:
    return sample.mean(0), torch.linalg.cholesky(sample.T.cov())


def _averaged(values: Tensor) -> Estimate:
    """With the interval that one would write down without a second thought."""
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)), "estimate")
