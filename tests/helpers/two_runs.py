"""Runs whose figures are drawn from a law that is known, in memory or on disk, for the tests of
comparing and of merging.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.store import CellRecord, Row, Store
from tests.helpers.figures import WORDS

PROBLEMS, METHODS = ("hill", "ridge", "bowl"), ("avb", "gaussian-vb", "pyro-nuts")
METRICS = ("kl_qp", "mean_error")
NOISE = 0.02  # standard error of a figure, as a share of it
SPREAD = 0.05  # standard deviation between seeds, of the logarithm


@dataclass(frozen=True)
class Law:
    """What a run is drawn from.

    Args:
        worse: factors of the figures by method; 1 for the others.
        seeds: how many.
        problems, methods: labels.
        failing: methods whose cells fail.
    """

    worse: Mapping[str, float] = field(default_factory=dict)
    seeds: int = 5
    problems: Sequence[str] = PROBLEMS
    methods: Sequence[str] = METHODS
    failing: Sequence[str] = ()


def drawn(law: Law, rng: np.random.Generator) -> list[tuple[CellRecord, list[Row]]]:
    """The cells of a run, each with its rows."""
    found = []
    for i, problem in enumerate(law.problems):
        for j, method in enumerate(law.methods):
            size = 0.1 * (1 + i) * (1 + j) * law.worse.get(method, 1.0)
            for seed in range(law.seeds):
                key = f"{problem}-{method}-{seed}"
                record = CellRecord(key, problem, {}, method, {}, seed, {}, "ok", "", 1.0, 1000)
                if method in law.failing:
                    record = dataclasses.replace(record, status="failed", reason="ValueError: x")
                    found.append((record, []))
                    continue
                found.append((record, [_row(metric, size, rng) for metric in METRICS]))
    return found


def _row(metric: str, size: float, rng: np.random.Generator) -> Row:
    value = size * math.exp(SPREAD * rng.standard_normal()) * (1 + NOISE * rng.standard_normal())
    return Row(0, True, 1.0, 1000, 1000, 500, metric, value, NOISE * size, "exact")


class InMemory(Store):
    """A store to read that has never seen a disk."""

    def __init__(self, content: Sequence[tuple[CellRecord, list[Row]]], name: str) -> None:
        self.folder = Path(name)
        self._cells = [dataclasses.asdict(cell) for cell, _ in content]
        self._rows = [
            {"key": cell.key, **dataclasses.asdict(row)} for cell, rows in content for row in rows
        ]

    def info(self) -> dict[str, Any]:
        return {"metrics": {name: WORDS[name] for name in METRICS}}

    def shown(self) -> None:
        return None

    def cells(self) -> list[dict[str, Any]]:
        return self._cells

    def rows(self) -> list[dict[str, Any]]:
        return self._rows


def on_disk(folder: Path, law: Law, seed: int) -> Store:
    """A run on disk."""
    store = Store(folder)
    store.note({"metrics": {name: WORDS[name] for name in METRICS}})
    for cell, rows in drawn(law, np.random.default_rng(seed)):
        store.append(cell, rows)
    return store
