"""How often a classifier can tell the draws from the truth: the one figure that looks the same for
every posterior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Resolves, Skipped, Worse
from bench.metrics.draws import chains
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.samples import standardise, thinned, thinned_note
from bench.metrics.models.network_classifier import network
from bench.metrics.models.scores import log_normal

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]
FOLDS = 5
MOST = 20_000  # draws of each sample that are learnt from and guessed
# of the trees: shallow, as differences between posteriors are faint
ROUNDS, LEAVES, RATE = (60, 15, 0.1)
RIDGE = 1e-6  # share of the mean variance, for directions in which draws do not vary


@dataclass(frozen=True, eq=False)
class Labelled:
    """Both samples together, half and half.

    Args:
        points: [2 n, D], draws of q first.
        of_q: [2 n].
        place: number of the distinct row, [2 n]: copies of one row share a place, and never are on
            both sides of a split.
        fold: [2 n], contiguous blocks of each sample, so that a chain is not learnt from its
            neighbours.
    """

    points: Floats
    of_q: Flags
    place: Integers
    fold: Integers

    def split(self, fold: int, memory: int) -> tuple[Flags, Flags]:
        """Rows to learn from, and rows to be tested on; draws of q within ``memory`` rows of a
        tested one are neither.
        """
        test = self.fold == fold
        near = (
            np.convolve(test[self.of_q], np.ones(2 * memory + 1), mode="full")[
                memory : memory + int(self.of_q.sum())
            ]
            > 0.5
        )
        return ~(test | np.concatenate([near, np.zeros(len(test) - len(near), dtype=bool)])), test


def c2st(
    draws: Tensor, truth: Tensor, *, memory: int = 0, moments: float | None = None
) -> Estimate | Skipped:
    """Accuracy of the best of three classifiers on draws of q [n, D] and of p [m, D]; see ``C2st``.

    Args:
        memory: rows of ``draws`` up to this far apart are one walk.
        moments: of the truth exist below this order; None: as its draws show.
    """
    note, step = thinned_note(draws, truth, MOST), max(1.0, len(draws) / MOST)
    draws, truth, memory = thinned(draws, MOST), thinned(truth, MOST), math.ceil(memory / step)
    scaled = standardise(draws, truth, moments)
    if isinstance(scaled, Skipped):
        return scaled
    data = _labelled(*scaled, draws.double(), truth.double())
    guesses = np.zeros((len(CLASSIFIERS), len(data.fold)), dtype=bool)
    for fold in range(FOLDS):
        learn, test = data.split(fold, memory)
        fewest = min(int((learn & data.of_q).sum()), int((learn & ~data.of_q).sum()))
        if fewest < 2:
            return Skipped(
                "Too few distinct draws are left to learn from when a fifth is set apart."
            )
        if test.any():
            train = data.points[learn], data.of_q[learn]
            guesses[:, test] = [
                classify(*train, data.points[test]) for classify in CLASSIFIERS.values()
            ]
    right, chosen = _choose(guesses == data.of_q, data)
    stderr = math.sqrt(0.5) * math.hypot(
        _stderr(right, data, data.of_q, memory), _stderr(right, data, ~data.of_q, 0)
    )
    shares = (f"{name} in {chosen.count(name)} of {FOLDS} folds" for name in sorted({*chosen}))
    note = f"Guessed by {', '.join(shares)}. {note}".strip()
    return Estimate(_balanced(right, data.of_q), stderr, "lower bound", note)


def _labelled(x: Tensor, y: Tensor, draws: Tensor, truth: Tensor) -> Labelled:
    """The larger sample is thinned to the size of the smaller."""
    size = min(len(x), len(y))
    at = [
        torch.linspace(0, len(part) - 1, size, dtype=torch.float64).round().long()
        for part in (x, y)
    ]
    # scaled, two equal rows may differ by rounding
    raw = torch.cat([draws[at[0]], truth[at[1]]]).numpy()
    _, first, place = np.unique(raw, axis=0, return_index=True, return_inverse=True)
    blocks = np.tile(np.arange(size) * FOLDS // size, 2)
    place = place.reshape(-1).astype(np.int64)
    return Labelled(
        torch.cat([x[at[0]], y[at[1]]]).numpy(),
        np.arange(2 * size) < size,
        place,
        blocks[first][place],
    )


def _choose(right: Flags, data: Labelled) -> tuple[Flags, list[str]]:
    """For each fold the classifier that did best on the others, so that the choice does not flatter
    the figure.
    """
    best, chosen = np.zeros_like(right[0]), []
    for fold in range(FOLDS):
        test = data.fold == fold
        at = int(np.argmax([_balanced(each[~test], data.of_q[~test]) for each in right]))
        best[test] = right[at, test]
        chosen.append(list(CLASSIFIERS)[at])
    return best, chosen


def _balanced(right: Flags, of_q: Flags) -> float:
    return 0.5 * float(right[of_q].mean() + right[~of_q].mean())


def _stderr(right: Flags, data: Labelled, which: Flags, memory: int) -> float:
    """Of the share of right guesses in one sample: copies of a row count together, chains by their
    autocorrelation.
    """
    hits, n = right[which].astype(np.float64), int(which.sum())
    excess = hits - hits.mean()
    copies = math.sqrt(float(np.square(np.bincount(data.place[which], excess)).sum())) / n
    smoothed = (hits.sum() + 1) / (n + 2)  # n right guesses do not prove a share of exactly 1
    time = chains.autocorrelation_time(torch.from_numpy(hits)) if memory else 1.0
    return max(copies, math.sqrt(smoothed * (1 - smoothed) * time / n))


def _trees(points: Floats, of_q: Flags, at: Floats) -> Flags:
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,  # seconds to import, and needed here alone
    )

    model = HistGradientBoostingClassifier(
        max_iter=ROUNDS,
        max_leaf_nodes=LEAVES,
        learning_rate=RATE,
        early_stopping=False,
        random_state=0,  # only used to find the bins of very large samples
    )
    # copies may unbalance a split
    guesses: Flags = np.asarray(model.fit(points, of_q).predict_proba(at))[:, 1] > of_q.mean()
    return guesses


def _quadratic(points: Floats, of_q: Flags, at: Floats) -> Flags:
    """The likelihood ratio of two fitted Gaussians: the best there is, if both samples are
    Gaussian.
    """
    levels = [
        _fitted(torch.from_numpy(points[which]), torch.from_numpy(at)) for which in (of_q, ~of_q)
    ]
    guesses: Flags = (levels[0] > levels[1]).numpy()
    return guesses


def _fitted(sample: Tensor, at: Tensor) -> Tensor:
    mean, dim = sample.mean(0), sample.shape[1]
    cov = sample.T.cov().reshape(dim, dim)
    ridge = RIDGE * float(cov.diagonal().mean()) or RIDGE
    factor = torch.linalg.cholesky(cov + ridge * torch.eye(dim, dtype=cov.dtype))
    return log_normal(at, mean, factor)


CLASSIFIERS = {
    "a quadratic discriminant": _quadratic,
    "a network": network,
    "boosted trees": _trees,
}


@dataclass(frozen=True)
class C2st(Metric):
    r"""Classifier two-sample test: share of right guesses, of draws of q or draws of p, on draws
    that were set apart.

    .. math::
        \tfrac12 P_q(c(x) = q) + \tfrac12 P_p(c(y) = p) \le \tfrac12 + \tfrac12 \mathrm{TV}(p, q)

    0.5 where none can be told from the other, 1 where all can. One definition: five folds; in each,
    gradient-boosted trees (60 of 15 leaves, rate 0.1), a quadratic discriminant (a Gaussian fitted
    to each sample) and a network (two hidden layers of 64, 30 epochs and at most 400 steps of 256
    draws) learn from the other four, and that one guesses which was right most often on those four
    when they were set apart. Samples are put on the scale of the truth's covariance, and are of one
    size. Folds are contiguous blocks, copies of a row are all in one, and draws of a walk near a
    block are left out, so that chains are not recognised by their neighbours. A ``lower bound`` of
    the best classifier's accuracy, and so on (1 + TV) / 2; it may be below 0.5 by noise, and is not
    clamped.

    Standard error: binomial, of both samples, times the root of 2, as every pair of draws is met
    twice, once to learn and once to test: between equal laws the folds agree by chance, and the
    binomial alone is 1.4 times too small. Copies of a row count together, chains by the
    autocorrelation of the guesses.

    Source: Lopez-Paz & Oquab, "Revisiting classifier two-sample tests" (2017), arXiv 1610.06545; as
    a figure of merit of posteriors in Lueckmann, Boelts, Greenberg, Goncalves & Macke,
    "Benchmarking simulation-based inference" (2021), arXiv 2101.04653; trees as in Ke et al.,
    "LightGBM" (2017), by scikit-learn.
    """

    name: ClassVar[str] = "c2st"
    resolves: ClassVar[Resolves] = "floor"
    ideal: ClassVar[float | None] = 0.5
    heading: ClassVar[str] = "C2ST accuracy"
    meaning: ClassVar[str] = (
        "Share of draws that the best of three classifiers sorts rightly into q and p: 0.5 is"
        " guessing. A bound from below on what any classifier could do, so that a small one is no"
        " praise."
    )
    worse: ClassVar[Worse] = "above"
    costly: ClassVar[bool] = True

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return c2st(
            comparison.draws,
            comparison.truth,
            memory=chains.memory(comparison),
            moments=comparison.problem.moments,
        )
