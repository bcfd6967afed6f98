"""Draws for three purposes that must not mix: to fit a model, to choose between models, and to
judge the one chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Skipped
from bench.metrics.draws.samples import unfit
from methods.base import Draws
from problems.base import Exact

# fresh draws of a kind at most, where draws cost nothing; else five for each one shared
FIT, CHOOSE = (20_000, 5_000)
FOLDS = 4  # of draws that cannot be had afresh: two to fit, one to choose, one to judge, in turn
FEWEST_DRAWS = 400  # draws, below which a fold is too small to judge by


@dataclass(frozen=True, eq=False)
class Part:
    """One side's draws, [., D] each: to fit, to choose and to judge by."""

    fit: Tensor
    choose: Tensor
    test: Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Draws of the approximation, q, and of the truth, p."""

    q: Part
    p: Part


def splits(comparison: Comparison, generator: Generator) -> list[Split] | Skipped:
    """One split where both sides can be drawn afresh, judged by all of the shared draws; else one
    for each fold of these.

    A fold is a run of successive draws: the neighbours in a chain stay together.
    """
    draws, truth = comparison.draws, comparison.truth
    refused = unfit(draws, truth)
    if refused is not None:
        return refused
    if min(len(draws), len(truth)) < FEWEST_DRAWS:
        return Skipped(
            f"{len(draws)} draws are too few to fit a model and judge it; at least {FEWEST_DRAWS}"
            " are needed."
        )
    if _overlap(draws, truth):
        return Skipped(
            "Some draws are draws of the truth as well; only independent samples can be compared."
        )
    count = min(FIT + CHOOSE, 5 * len(draws))
    fresh_p = (
        comparison.problem.truth.sample(count, generator)
        if isinstance(comparison.problem.truth, Exact)
        else None
    )
    fresh_q = None
    if not isinstance(comparison.approximation, Draws):
        fresh_q = comparison.approximation.sample(count, generator)
        if _overlap(fresh_q, draws) or _overlap(
            fresh_q, truth
        ):  # a sampler that hands out stored draws
            fresh_q = None
    folds = FOLDS if fresh_p is None or fresh_q is None else 1
    return [
        Split(*pair)
        for pair in zip(_parts(draws, fresh_q, folds), _parts(truth, fresh_p, folds), strict=True)
    ]


def _overlap(a: Tensor, b: Tensor) -> bool:
    return bool(torch.isin(a[:, 0], b[:, 0]).any() and torch.isin(a[:, -1], b[:, -1]).any())


def _parts(shared: Tensor, fresh: Tensor | None, folds: int) -> list[Part]:
    tests = shared.double().tensor_split(folds)
    if fresh is not None:
        cut = len(fresh) * FIT // (FIT + CHOOSE)
        return [Part(fresh[:cut].double(), fresh[cut:].double(), test) for test in tests]
    turned = [tests[index:] + tests[:index] for index in range(folds)]
    return [Part(torch.cat(turn[2:]), turn[1], turn[0]) for turn in turned]
