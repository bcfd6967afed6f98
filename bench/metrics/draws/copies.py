"""Rows that several chains share: chains that started from one seed, or that copied each other, are
worth one of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped, kept
from methods.base import Draws

M = TypeVar("M", bound=Metric)
FEW = 0.01  # share of copied rows that rounding may make, and that is not worth a word


def counted_once(
    measure: Callable[[M, Comparison], Estimate | Skipped],
) -> Callable[[M, Comparison], Estimate | Skipped]:
    """Decorate ``Metric.measure``: it is shown every row that several chains share once, and its
    note says so.
    """

    @functools.wraps(measure)
    def measured(self: M, comparison: Comparison) -> Estimate | Skipped:
        apart, note = without_copies(comparison)
        found = measure(self, apart)
        if not note:
            return found
        if isinstance(found, Skipped):
            return Skipped(f"{found.reason} {note}")
        return replace(
            found, note=f"{found.note} {note}".strip(), draws=found.draws or len(apart.draws)
        )

    return measured


@kept
def without_copies(comparison: Comparison) -> tuple[Comparison, str]:
    """The comparison without rows that stand in an earlier chain too, and what to say of them."""
    q = comparison.approximation
    if not isinstance(q, Draws) or q.chains.ndim != 3 or len(q.chains) < 2:
        return comparison, ""
    new = _new(q.chains)
    copies, rows = int((~new).sum()), new.numel()
    if copies <= FEW * rows:
        return comparison, ""
    left = replace(q, chains=_rows(q.chains, new))
    draws = left.sample(len(comparison.draws), Generator())
    note = f"{copies} of {rows} draws are copies of draws in other chains, and count once."
    return replace(comparison, approximation=left, draws=draws), note


def _new(chains: Tensor) -> Tensor:
    """Which rows of [chains, draws, D] are in no earlier chain: [chains, draws]."""
    count, length, dim = chains.shape
    _, place = np.unique(chains.reshape(-1, dim).numpy(), axis=0, return_inverse=True)
    places = place.reshape(count, length)
    first = np.full(places.max() + 1, count)  # the first chain that visits each place
    np.minimum.at(first, places.reshape(-1), np.repeat(np.arange(count), length))
    return torch.from_numpy(first[places] == np.arange(count)[:, None])


def _rows(chains: Tensor, new: Tensor) -> Tensor:
    """Whole chains where whole ones were copied, else the rows that are left, in their order, in
    chains of one length.
    """
    whole = new.all(1)
    if bool((whole | ~new.any(1)).all()):
        return chains[whole]
    rows = chains[new]
    length = len(rows) // len(chains)
    return rows[: length * len(chains)].reshape(len(chains), length, -1)
