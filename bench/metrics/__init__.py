"""Metrics: figures of how far an approximation is from the truth, each with its uncertainty.

``from bench.metrics import Metric, Comparison, Estimate, Skipped`` has what your own metric is
made of.
"""

from bench.metrics.base import Comparison, Estimate, Kind, Metric, Skipped, Worse

__all__ = ["Comparison", "Estimate", "Kind", "Metric", "Skipped", "Worse"]
