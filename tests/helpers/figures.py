"""Figures for tests of ranking, made of seeds that read alike, and the words of the suite's metrics
as a run keeps them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from bench.plugins import registry
from reports.intervals import BRACKET, WIDTH, Figure, combine

WORDS: dict[str, dict[str, Any]] = {
    name: registry.load(registry.find("metrics", name)).described()  # type: ignore[union-attr]
    for name in registry.BUILT_IN["metrics"]
}


def figure(low: float, high: float, kind: str = "exact", seeds: int = 3) -> Figure:
    """Of seeds that all read the middle of the interval, with the standard errors that make it."""
    if not math.isfinite(high):
        return Figure(math.inf, math.inf, math.inf, kind, seeds)
    stderr = (high - low) / 2 / WIDTH * math.sqrt(seeds)
    return combine([(low + high) / 2] * seeds, [stderr] * seeds, [kind] * seeds)


def bracket(lower: tuple[float, float], upper: tuple[float, float], seeds: int = 3) -> Figure:
    """From the intervals of both ends."""
    above = figure(*upper, "upper bound", seeds)
    below = figure(*lower, "lower bound", seeds)
    return replace(below, kind=BRACKET, high=upper[1], above=above)
