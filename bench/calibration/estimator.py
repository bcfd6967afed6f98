"""What is calibrated: a metric, how it sees the approximation, and the quantity that it is held
against.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.calibration.case import Form
from bench.metrics.base import Metric

ALWAYS = 10**9


@dataclass(frozen=True)
class Estimator:
    """A metric, and what it is held against.

    Args:
        name: for tables.
        metric: what measures.
        shows: what the approximation shows of itself: cases without that form are left out.
        quantity: what it should find, by the name that cases know it by.
        cheap_up_to: draws up to which it is quick enough for many repetitions.
        up_to: draws up to which it is tried at all.
        ours: False for what others use.
    """

    name: str
    metric: Metric
    shows: Form
    quantity: str = "KL(q||p)"
    cheap_up_to: int = ALWAYS
    up_to: int = ALWAYS
    ours: bool = True
