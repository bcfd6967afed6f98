r"""Whether one method is better than another, from the seeds of both: a p-value that holds for two
seeds, too.

A method's seeds are replicates: how much they differ decides how far a figure speaks for the
method. Within each seed the standard error of the figure is known. Two things make the comparison
of few seeds possible at all:

- The scale. Seeds of one method differ by factors rather than by amounts, so that values are
  compared as :math:`y = \operatorname{arsinh}(x / h)`, with h three times the largest standard
  error: a logarithm far above the noise, and linear inside of it.
- Two estimates of the spread between seeds, each allowed half of the error rate. The *seen* spread:
  Welch's test on the seeds' own variances, which assumes nothing, and which is strong where seeds
  agree. The *supposed* spread: a normal test that takes the seeds of any method to differ by
  ``SUPPOSED``, a factor of two either way at one standard deviation, and which two seeds, or one,
  can pass where the methods lie far apart. A method whose seeds are seen to differ by more than
  that is judged by what is seen alone.

Both are held against the known standard errors as well, so that seeds that agree by luck prove
nothing. The p-value is right for any spreads up to ``SUPPOSED``, equal or not; larger ones are
caught by the seen spread only as far as few seeds show it. ``tests/reports/test_comparing.py``
counts its errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from scipy.special import ndtr, stdtr

Reading = tuple[float, float]  # value, standard error
SUPPOSED = math.log(2)  # standard deviation between the seeds of a method, on the log scale
ROUNDING = 1e-9  # differences below this are rounding, whatever their standard errors say
PAIRED = 4  # seeds in common, from which on the spread of their differences says more than Welch's
LINEAR = 3.0  # standard errors up to which the scale is about linear
_CERTAIN = -1  # stands for the seed of a limit
Name = TypeVar("Name")


def better(
    low: Mapping[int, Reading] | float, high: Mapping[int, Reading], *, shared: bool = False
) -> float:
    """One-sided p-value against "the first is not below the second", from readings by seed.

    Args:
        low: distances from the truth of the method that may be better, by seed; or a limit that is
            known for certain.
        high: distances of the other.
        shared: whether a seed's readings were taken on the same draws of the truth, so that they
            err together: then seeds are paired, if there are ``PAIRED`` of them in both.

    Where a method's standard errors are not known (NaN: its draws interact), what is seen between
    its seeds decides alone, and one seed shows nothing.
    """
    if isinstance(low, float | int):
        low = {_CERTAIN: (float(low), 0.0)}
    blind = any(math.isnan(stderr) for of in (low, high) for _, stderr in of.values())
    if blind and any(len(of) < 2 and _CERTAIN not in of for of in (low, high)):
        return 1.0
    first, second = _scaled(_sighted(low), _sighted(high))
    gap = second.mean - first.mean
    if not gap > 0:
        return 1.0
    noise = first.noise + second.noise
    seen = max(_seen(gap, first, second), _normal(gap, noise))
    common = [seed for seed in low if seed in high]
    if shared and len(common) >= PAIRED:
        pairs = _scaled(*({seed: of[seed] for seed in common} for of in (low, high)))
        seen = paired([b - a for a, b in zip(pairs[0].values, pairs[1].values, strict=True)])
    if first.unruly or second.unruly or blind:
        return seen
    supposed = _normal(gap, noise + first.supposed + second.supposed)
    return min(1.0, 2 * min(seen, supposed))


def _sighted(readings: Mapping[int, Reading]) -> Mapping[int, Reading]:
    """Readings whose standard error is not known, with the spread between the seeds in its place,
    which holds the noise of measuring.
    """
    if not any(math.isnan(stderr) for _, stderr in readings.values()):
        return readings
    values = [value for value, _ in readings.values()]
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1))
    return {seed: (value, spread) for seed, (value, _) in readings.items()}


class _Sample:
    """The readings of one method on the common scale; a limit known for certain has no spread."""

    def __init__(self, readings: Sequence[Reading], h: float, *, certain: bool) -> None:
        self.values = [math.asinh(value / h) for value, _ in readings]
        k = len(readings)
        self.mean = sum(self.values) / k
        # a factor between seeds moves y by its logarithm far above the noise, by nothing inside it
        slope = sum((value / math.hypot(value, h)) ** 2 for value, _ in readings) / k
        self.noise = sum((s / math.hypot(value, h)) ** 2 for value, s in readings) / k**2
        self.supposed = 0.0 if certain else slope * SUPPOSED**2 / k
        spread = sum((y - self.mean) ** 2 for y in self.values) / max(k - 1, 1) / k
        self.variance = spread if k > 1 else self.supposed + self.noise
        self.freedom = k - 1 if k > 1 else math.inf
        self.unruly = k > 1 and self.variance > self.supposed + self.noise


def _scaled(first: Mapping[int, Reading], second: Mapping[int, Reading]) -> tuple[_Sample, _Sample]:
    sure = [
        [(value, max(stderr, ROUNDING)) for value, stderr in of.values()] for of in (first, second)
    ]
    h = LINEAR * max(stderr for of in sure for _, stderr in of)
    return _Sample(sure[0], h, certain=_CERTAIN in first), _Sample(sure[1], h, certain=False)


def _seen(gap: float, first: _Sample, second: _Sample) -> float:
    """Welch's test: each method's spread is its own, the degrees of freedom are Satterthwaite's."""
    variance = first.variance + second.variance
    if not variance > 0:
        return 0.0
    known = sum(sample.variance**2 / sample.freedom for sample in (first, second))
    freedom = variance**2 / known if known > 0 else math.inf
    return _tail(gap / math.sqrt(variance), freedom)


def paired(differences: Sequence[float]) -> float:
    """One-sided p-value of Student's paired test against "their mean is not above zero"; 1 of a
    single difference, which shows nothing of its own spread.
    """
    if len(differences) < 2:
        return 1.0
    k, mean = len(differences), sum(differences) / len(differences)
    variance = sum((d - mean) ** 2 for d in differences) / (k - 1) / k
    return _tail(mean / math.sqrt(variance), k - 1) if variance > 0 else float(mean <= 0)


def _normal(gap: float, variance: float) -> float:
    return _tail(gap / math.sqrt(variance), math.inf)


def _tail(t: float, freedom: float) -> float:
    return float(ndtr(-t) if math.isinf(freedom) else stdtr(freedom, -t))


def holm(p_values: Mapping[Name, float], rate: float) -> set[Name]:
    """Those of a family that are shown, so that any at all is shown wrongly at most at ``rate``
    (Holm, 1979).
    """
    shown: set[Name] = set()
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p > rate / (len(p_values) - i):
            break
        shown.add(name)
    return shown
