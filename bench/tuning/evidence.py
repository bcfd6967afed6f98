"""Whether what a search has found is better than the defaults: on seeds that it has not seen, seed
by seed, with Student's intervals.

The best of many trials is best by luck as well; its score in the search is no evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats

from bench.tuning.plan import Losses, log_loss

LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with half of its 95% interval; infinite where there is one seed."""

    value: float
    half_width: float


@dataclass(frozen=True)
class Line:
    """One problem: KL(q||p) in nats at the defaults and at the settings found."""

    problem: str
    default: Mean
    found: Mean


@dataclass(frozen=True)
class Evidence:
    """The comparison on fresh seeds.

    Args:
        lines: a problem each.
        change: of the score, found less default: below 0 the settings found are better. Problems
            weigh the same, seeds are the repetitions.
    """

    lines: tuple[Line, ...]
    change: Mean

    @property
    def better(self) -> bool:
        """Whether the settings found are better on average, shown or not."""
        return self.change.value < 0

    @property
    def shown(self) -> bool:
        """Whether the interval of the change leaves out 0."""
        return abs(self.change.value) > self.change.half_width


def compare(default: Losses, found: Losses) -> Evidence:
    """The comparison of losses of the same problems and seeds."""
    problems = list(dict.fromkeys(problem for problem, _ in default))
    seeds = list(dict.fromkeys(seed for _, seed in default))
    lines = [
        Line(problem, *(mean([of[problem, seed] for seed in seeds]) for of in (default, found)))
        for problem in problems
    ]
    changes = [
        fmean(log_loss(found[p, seed]) - log_loss(default[p, seed]) for p in problems)
        for seed in seeds
    ]
    return Evidence(tuple(lines), mean(changes))


def mean(values: Sequence[float]) -> Mean:
    """The mean, and half of Student's interval."""
    n = len(values)
    if n < 2:
        return Mean(values[0], math.inf)
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, n - 1))
    return Mean(fmean(values), quantile * stdev(values) / math.sqrt(n))
