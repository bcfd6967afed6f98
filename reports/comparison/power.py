r"""How many seeds, at how many draws, show a difference of a given size between two methods, from a
pilot run of both.

A seed's difference d = a - b varies by :math:`\sigma^2 = \tau^2 + s^2`: :math:`\tau^2` between
seeds, and the noise of measuring :math:`s^2 = s_a^2 + s_b^2`, which falls as one over the draws.
Student's paired test of n seeds then shows a difference :math:`\Delta` with the chance that a
noncentral t of n - 1 degrees of freedom and :math:`\Delta \sqrt n / \sigma` lies beyond its limits.
A pilot of few seeds knows its own variance badly; beside the plan by what was seen stands one by
the upper 80% limit of the variance (Browne, On the use of a pilot sample for sample size
determination, Statistics in Medicine 14, 1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.errors import UserError
from reports.comparing import ROUNDING
from reports.comparison.pairs import Pair
from reports.intervals import Figure
from reports.ranking import RATE
from reports.results import Results

CHANCE = 0.8  # of showing a difference that is there
CAREFUL = 0.8  # level of the upper limit of the pilot's variance
DRAWS = (1, 4, 16)  # times the draws of the pilot
MOST = 10_000  # seeds; more are no plan


@dataclass(frozen=True)
class Plan:
    """Seeds that show a difference on one problem.

    Args:
        problem: its label.
        mean: of the first method, the figure of which the difference is a share.
        difference: to be shown, in the metric's unit.
        spread: standard deviation of a seed's difference in the pilot.
        noise: the part of it that is measuring.
        draws: of the pilot.
        seeds: for each of ``DRAWS`` how many by the spread that was seen, and how many by its upper
            limit; None beyond ``MOST``.
    """

    problem: str
    mean: float
    difference: float
    spread: float
    noise: float
    draws: int
    seeds: Sequence[tuple[int | None, int | None]]


def plans(
    pilot: Results,
    methods: tuple[str, str],
    problems: Sequence[str],
    metric: str | None,
    share: float,
    chance: float = CHANCE,
) -> list[Plan]:
    """A plan for each problem of a pilot run.

    Args:
        pilot: the run; it needs two seeds of both methods.
        methods: their labels.
        problems: labels; none for all.
        metric: a metric with an ideal; None for the divergence of each problem.
        share: the difference to be shown, of the first method's figure.
        chance: of showing it.

    Raises:
        UserError: if a name is not in the run, or no problem has two seeds of both.
    """
    for word, names, known in (("-m", methods, pilot.methods), ("-p", problems, pilot.problems)):
        for name in names:
            if name not in known:
                raise UserError(f"{word} {name}: the run has none; it has {', '.join(known)}.")
    found = []
    for problem in problems or pilot.problems:
        measured = metric or pilot.divergence(problem) or ""
        keys = [(problem, measured, method) for method in methods]
        if not all(key in pilot.figures for key in keys):
            continue
        first, second = (pilot.distance(key) for key in keys)
        pair = Pair(problem, methods[0], measured, second, first)
        if len(pair.seeds) > 1 and pair.least() == pair.most() is not None:
            draws = max(reading.draws for reading in pilot.rows(keys[0]))
            found.append(_plan(pair, first, share, chance, draws))
    if not found:
        raise UserError(
            "No problem of the run has a figure, and no bound, of both methods in two seeds they"
            " share; run them with --seeds 4 or more for a pilot."
        )
    return found


def _plan(pair: Pair, first: Figure, share: float, chance: float, draws: int) -> Plan:
    values = pair.least() or []
    variance = float(np.var(values, ddof=1))
    noises = [of.readings[seed][1] ** 2 for of in (pair.old, pair.new) for seed in pair.seeds]
    noise = min(float(np.sum(noises)) / len(values), variance)
    noise = 0.0 if math.isnan(noise) else noise
    mean = float(np.mean([first.readings[seed][0] for seed in pair.seeds]))
    freedom = len(values) - 1
    more = freedom / float(stats.chi2.ppf(1 - CAREFUL, freedom))
    difference = share * abs(mean)
    both = []
    for times in DRAWS:
        at = variance - noise + noise / times
        both.append((seeds_for(difference, at, chance), seeds_for(difference, at * more, chance)))
    spread = math.sqrt(variance)
    return Plan(pair.problem, mean, difference, spread, math.sqrt(noise), draws, both)


def power(seeds: int, difference: float, variance: float) -> float:
    """The chance that a paired test at ``RATE`` on that many seeds shows the difference."""
    if variance <= ROUNDING**2:
        return 1.0
    limit = float(stats.t.ppf(1 - RATE / 2, seeds - 1))
    shift = difference * math.sqrt(seeds / variance)
    if shift > 30 and shift > 2 * limit:
        return 1.0  # where the noncentral t loses its digits
    beyond = stats.nct.sf(limit, seeds - 1, shift) + stats.nct.cdf(-limit, seeds - 1, shift)
    return float(beyond)


def seeds_for(difference: float, variance: float, chance: float) -> int | None:
    """The fewest seeds that show a difference with that chance; None beyond ``MOST``."""
    if not difference > 0 or power(MOST, difference, variance) < chance:
        return None
    low, high = 1, 2
    while power(high, difference, variance) < chance:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if power(middle, difference, variance) < chance:
            low = middle
        else:
            high = middle
    return high
