"""Draws that were made with regard to one another, as the particles of SVGD are: every figure of
them stands without the interval that independence would give it.

This is the one place that decides it. A particle system is one run, however many particles it has:
how far its figures scatter is not to be seen in it, and only other runs show it. So each figure
keeps its value, has no standard error (NaN) and is an ``estimate``; a bound is skipped, since it
holds up to a standard error only. Reports take the interval from the seeds, which are independent
runs.
"""

from __future__ import annotations

import math
from dataclasses import replace

from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from methods.base import Draws

NOTE = "The draws interact: no interval from one run."
BOUND = (
    "The draws interact: a bound holds up to its standard error, which one run of draws that are"
    " not independent does not give."
)


def measured(metric: Metric, comparison: Comparison) -> Estimate | Skipped:
    """What a metric makes of a comparison, without what only independent draws would bear out."""
    found = metric.measure(comparison)
    q = comparison.approximation
    # a stranger's metric may give anything; what it is worth is judged elsewhere
    if not (isinstance(q, Draws) and q.interacting and isinstance(found, Estimate)):
        return found
    if found.kind in ("lower bound", "upper bound"):
        return Skipped(BOUND)
    return replace(found, stderr=math.nan, kind="estimate", note=f"{found.note} {NOTE}".strip())
