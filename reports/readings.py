"""What became of each cell and of each metric at its end, seed by seed, and the figures that they
make together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from reports.intervals import Figure, combine, floor

FLOOR = "exact"  # the method whose row is the noise floor
Key = tuple[str, str, str]  # problem, metric, method


class End(NamedTuple):
    """How one cell ended: its status, and the reason where that is not ``ok``."""

    key: str
    problem: str
    method: str
    seed: int
    status: str
    reason: str


class Reading(NamedTuple):
    """What became of one metric at the end of one cell: a value, or the reason why there is none.

    ``upper`` is the other end of a bracket, None for any other kind; ``draws`` is how many the
    figure rests on, ``cell`` the key of the cell. ``stderr`` is NaN where one run gives none.
    """

    seed: int
    value: float | None
    stderr: float
    kind: str
    upper: tuple[float, float] | None
    status: str
    reason: str
    draws: int
    cell: str


def readings_of(finals: pd.DataFrame) -> dict[Key, list[Reading]]:
    """The readings of cells that ended well, from their last rows of ``frame.load``."""
    found: defaultdict[Key, list[Reading]] = defaultdict(list)
    columns = ["problem", "metric", "method", "seed", "value", "stderr", "kind", "upper"]
    columns += ["upper_stderr", "row_status", "row_reason", "draws", "key"]
    parts = (
        finals[name].astype(object).where(finals[name].notna(), None).tolist() for name in columns
    )
    for problem, metric, method, seed, value, stderr, kind, *rest in zip(*parts, strict=True):
        upper, upper_stderr, status, reason, draws, cell = rest
        found[problem, metric, method].append(
            Reading(
                int(seed),
                value,
                math.nan if stderr is None else stderr,
                kind or "estimate",
                None if upper is None else (upper, upper_stderr),
                status or "ok",
                reason or "",
                draws or 0,
                cell,
            )
        )
    return dict(found)


def figures_of(readings: Mapping[Key, Sequence[Reading]]) -> dict[Key, Figure]:
    """Seeds combined, those of the noise floor as such."""
    figures: dict[Key, Figure] = {}
    for key, found in readings.items():
        values, stderrs, kinds, ends, seeds = columns_of(found)
        if values:
            figures[key] = (
                floor(values, stderrs, kinds, seeds)
                if key[2] == FLOOR
                else combine(values, stderrs, kinds, ends, seeds)
            )
    return figures


def columns_of(
    readings: Iterable[Reading],
) -> tuple[list[float], list[float], list[str], list[tuple[float, float] | None], list[int]]:
    """Values, standard errors, kinds, upper ends and numbers of the seeds that have a value."""
    found = [(x.value, x.stderr, x.kind, x.upper, x.seed) for x in readings if x.value is not None]
    values, stderrs, kinds, ends, seeds = ([row[i] for row in found] for i in range(5))
    return values, stderrs, kinds, ends, seeds  # type: ignore[return-value]
