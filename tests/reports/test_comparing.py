"""The error rate that the page states is the one it has, for two seeds as for five; and what is
plain to see is shown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from reports.comparing import SUPPOSED, Reading, better, holm
from reports.ranking import RATE

SIGMAS = 3  # tolerance of every rate, in standard errors
REPEATS = 500
KL = 0.1
EQUAL = {"none": 0.0, "small": 0.1, "large": 0.4, "as supposed": SUPPOSED}
UNEQUAL = {
    "one of four": (0.0, 0.0, 0.0, SUPPOSED),
    "two of four": (0.05, 0.05, SUPPOSED, SUPPOSED),
    "all different": (0.0, 0.1, 0.3, SUPPOSED),
}
SPREADS = {**{name: (spread,) * 4 for name, spread in EQUAL.items()}, **UNEQUAL}


def seeds(values: Sequence[float], stderr: float) -> dict[int, Reading]:
    return {seed: (float(value), stderr) for seed, value in enumerate(values)}


def shown(
    methods: Sequence[Mapping[int, Reading]], *, shared: bool = False
) -> set[tuple[int, int]]:
    """The pairs of a family that are told apart, whichever way."""
    chances = {
        (a, b): 2
        * min(
            better(methods[a], methods[b], shared=shared),
            better(methods[b], methods[a], shared=shared),
        )
        for a, b in itertools.combinations(range(len(methods)), 2)
    }
    return holm(chances, RATE)


def rate_of_errors(
    spreads: Sequence[float], count: int, stderr: float, *, shared: bool = False
) -> float:
    """How often methods that are equally good are told apart, of families of them."""
    rng, wrong = np.random.default_rng([count, int(1e4 * stderr)]), 0
    for _ in range(REPEATS):
        common = rng.normal(size=count) if shared else np.zeros(count)
        methods = []
        for spread in spreads:
            noise = rng.normal(size=count)
            noise = math.sqrt(0.8) * common + math.sqrt(0.2) * noise if shared else noise
            truth = KL * np.exp(spread * rng.normal(size=count))
            methods.append(seeds(truth + stderr * noise, stderr))
        wrong += bool(shown(methods, shared=shared))
    return wrong / REPEATS


def at_most(rate: float) -> float:
    return rate + SIGMAS * math.sqrt(rate * (1 - rate) / REPEATS)


@pytest.mark.parametrize("stderr", [0.001, 0.03, 0.3], ids=["sharp", "blurred", "all noise"])
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("spreads", SPREADS.values(), ids=SPREADS)
def test_four_methods_alike_are_told_apart_in_no_more_cases_than_stated(
    spreads: Sequence[float], count: int, stderr: float
) -> None:
    assert rate_of_errors(spreads, count, stderr) <= at_most(RATE)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("spreads", [(0.3, 0.3), (0.0, SUPPOSED), (0.05, 0.3)])
def test_two_methods_alike_leave_the_correction_no_slack(
    spreads: Sequence[float], count: int
) -> None:
    assert rate_of_errors(spreads, count, 0.001) <= at_most(RATE)


@pytest.mark.parametrize("count", [2, 5])
def test_paired_seeds_keep_the_rate(count: int) -> None:
    assert rate_of_errors((0.1, 0.1, 0.0, 0.3), count, 0.03, shared=True) <= at_most(RATE)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_spreads_beyond_what_is_supposed_cost_little(count: int) -> None:
    """Half as much again as supposed, in one method of two or in both: at most twice the rate."""
    for spreads in ((0.0, 1.5 * SUPPOSED), (1.5 * SUPPOSED,) * 2):
        assert rate_of_errors(spreads, count, 0.001) <= at_most(2 * RATE)


CASES = {
    "0.016 beside two Gaussians, on three seeds": (
        [([0.016, 0.017, 0.015], 0.003), ([0.222, 0.223, 0.223], 0.003), ([0.286] * 3, 0.003)],
        {(0, 1), (0, 2), (1, 2)},
    ),
    "the same on two seeds": (
        [([0.016, 0.018], 0.003), ([0.222, 0.223], 0.003), ([0.286, 0.287], 0.003)],
        {(0, 1), (0, 2), (1, 2)},
    ),
    "the same, one seed went astray": (
        [([0.016, 0.016, 0.159], 0.003), ([0.222, 0.223, 0.223], 0.003), ([0.286] * 3, 0.003)],
        {(1, 2)},
    ),
    "two seeds that differ by more than twice, beside a tenth of them": (
        [([0.0297, 0.0297], 0.002), ([0.330, 0.143], 0.008)],
        {(0, 1)},
    ),
    "two seeds that differ by more than twice, beside one like them": (
        [([0.2, 0.2], 0.002), ([0.330, 0.143], 0.008)],
        set(),
    ),
    "one seed each, a hundred times apart": ([([0.001], 1e-5), ([0.1], 1e-3)], {(0, 1)}),
    "one seed each, twice apart": ([([0.05], 1e-5), ([0.1], 1e-5)], set()),
    "rounding": ([([0.0, 1e-16], 0.0), ([1.2e-15, 1.3e-15], 1e-17)], set()),
    "equal to the last digits": (
        [([math.log(2)] * 2, 1e-13), ([math.log(2) + 2e-13] * 2, 1e-12)],
        set(),
    ),
}


@pytest.mark.parametrize(("methods", "expected"), CASES.values(), ids=CASES)
def test_what_is_plain_is_shown_and_what_is_not_is_left(
    methods: Sequence[tuple[Sequence[float], float]], expected: set[tuple[int, int]]
) -> None:
    assert shown([seeds(*method) for method in methods]) == expected


def test_shared_draws_tell_apart_what_they_blur_alike() -> None:
    rng = np.random.default_rng(0)
    common = 0.05 * rng.normal(size=6)
    pair = [seeds(KL + common + 0.001 * rng.normal(size=6) + more, 0.05) for more in (0.0, 0.02)]
    assert shown(pair, shared=True) == {(0, 1)}
    assert shown(pair) == set()


def test_order_and_scale_do_not_matter() -> None:
    a, b = seeds([0.016, 0.017, 0.015], 0.003), seeds([0.222, 0.223, 0.223], 0.003)
    small = ({seed: (1e-3 * v, 1e-3 * s) for seed, (v, s) in of.items()} for of in (a, b))
    assert better(*small) == pytest.approx(better(a, b), rel=1e-9)
    assert better(dict(reversed(a.items())), b) == pytest.approx(better(a, b), rel=1e-9)
    assert better(b, a) == 1.0


def test_a_limit_known_for_certain_is_one_reading_without_spread() -> None:
    b = seeds([0.222, 0.223, 0.223], 0.003)
    assert better(0.2, b) < 1e-3
    assert better(0.2225, b) > 0.2


def test_holm_rejects_step_by_step() -> None:
    assert holm({"a": 0.01, "b": 0.02, "c": 0.04}, 0.05) == {"a", "b", "c"}
    assert holm({"a": 0.01, "b": 0.03, "c": 0.04}, 0.05) == {"a"}
    assert holm({"a": 0.02, "b": 0.001, "c": 0.9}, 0.05) == {"a", "b"}
    assert holm({}, 0.05) == set()
