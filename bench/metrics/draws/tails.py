r"""Whether the moments that a figure is made of exist at all: a law with heavy tails may have no
variance, and its draws have one all the same, another one every time.

The problem says below which order its moments exist, where it knows. Else the draws of the truth
tell, if they can: where Hill's estimate of a tail index

.. math:: \hat\alpha^{-1} = \frac 1 k \sum_{i=1}^k \log \frac{|y|_{(i)}}{|y|_{(k+1)}}

over the k = sqrt(m) draws farthest from the median is below two by two standard errors in some
coordinate, there is no variance to be had from them. Normal draws read five and more.

Source: Hill, "A simple general approach to inference about the tail of a distribution" (1975), doi
10.1214/aos/1176343247.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST = 1_000_000  # rows that torch.quantile can take
FEWEST_DRAWS = 400  # draws whose twenty farthest tell nothing about a tail
QUARTILES = 1.3489795003921634  # distance of the quartiles of a standard normal law
ERRORS = 2.0  # standard errors by which an index must be below the order


def moments(truth: Tensor, declared: float | None) -> float:
    """Moments of orders below this one exist: as the problem declares, else as draws of the truth,
    [m, D], show; infinity where nothing speaks against any.
    """
    if declared is not None:
        return declared
    index, stderr = tail_index(truth)
    return index if index + ERRORS * stderr < 2.0 else math.inf


def tail_index(sample: Tensor) -> tuple[float, float]:
    """Hill's index of the heaviest tail of any coordinate of [m, D], and its standard error;
    infinite where there are too few draws.
    """
    if len(sample) < FEWEST_DRAWS:
        return math.inf, 0.0
    index = float(_indices(sample).min())
    return index, index / math.sqrt(math.isqrt(len(sample)))


def heavy(sample: Tensor) -> Tensor:
    """Which columns of [m, K] show that they have no standard deviation, [K]: the rule of
    ``moments``, column by column.
    """
    if len(sample) < FEWEST_DRAWS:
        return torch.zeros(sample.shape[1], dtype=torch.bool)
    index = _indices(sample)
    return index * (1 + ERRORS / math.sqrt(math.isqrt(len(sample)))) < 2.0


def _indices(sample: Tensor) -> Tensor:
    """Hill's index of each column of [m, D], [D]."""
    k = math.isqrt(len(sample))
    away = (sample.double() - sample.double().median(0).values).abs()
    top = away.topk(k + 1, dim=0).values
    shape = (top[:-1].log() - top[-1].log()).mean(0).nan_to_num(nan=0.0)
    return 1 / shape.clamp(min=1e-300)


def without(order: int, exists: float) -> str:
    """Why a figure made of moments of an order cannot be had."""
    what = {1: "mean", 2: "standard deviation"}[order]
    return f"The truth has no {what}: of its moments only those of orders below {exists:.2g} exist."


def middle_scale(sample: Tensor) -> Tensor:
    """The scale of each coordinate of [m, D] by its quartiles: their distance over that of a normal
    law's, which is the standard deviation of a normal law.
    """
    levels = torch.tensor([0.25, 0.75], dtype=torch.float64)
    ends = torch.quantile(sample.double()[:LARGEST], levels, dim=0)
    return ends.diff(dim=0)[0] / QUARTILES


def rank_correlation(sample: Tensor) -> Tensor:
    """Correlation of normal scores, [m, D] -> [D, D]: what it is for a normal law, whatever the
    tails.
    """
    m, dim = sample.shape
    ranks = sample.argsort(0).argsort(0).double()
    scores = torch.special.ndtri((ranks + 0.5) / m)
    return torch.corrcoef(scores.T).reshape(dim, dim)
