"""A figure without a standard error has an interval from its seeds, and none from one of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.comparing import better
from reports.entries import shown
from reports.intervals import combine, deviation, loss
from reports.ranking import FEWEST, RATE, NoiseFloor, rank
from tests.helpers.figures import figure

SIGMAS = 3
NAN = math.nan
FLOOR = NoiseFloor(figure(-0.01, 0.01, "estimate"), astray=True)


def blind(values: list[float]) -> dict[int, tuple[float, float]]:
    return {seed: (value, NAN) for seed, value in enumerate(values)}


def test_one_seed_says_that_it_has_none() -> None:
    one = combine([0.0312], [NAN], ["estimate"])
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert shown(one) == "0.0312, no interval"
    assert shown(combine([0.0], [NAN], ["estimate"])) == "0, no interval"


def test_several_seeds_have_students_interval_and_are_shown() -> None:
    found = combine([0.1, 0.2, 0.3], [NAN] * 3, ["estimate"] * 3)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # of two degrees of freedom, from a table
    assert found.high == pytest.approx(0.2 + half, rel=1e-9)
    assert found.low == pytest.approx(0.2 - half, rel=1e-9)
    assert shown(found) == "0.20 ± 0.25"
    assert found.spread == [0.1, 0.2, 0.3]


def test_the_interval_of_seeds_holds_the_mean_as_often_as_it_says() -> None:
    rng, held, repeats = np.random.default_rng(0), 0, 1000
    for _ in range(repeats):
        found = combine(list(rng.normal(0.5, 0.1, 3)), [NAN] * 3, ["estimate"] * 3)
        held += found.low <= 0.5 <= found.high
    assert abs(held / repeats - 0.95) < SIGMAS * math.sqrt(0.95 * 0.05 / repeats)


def test_the_distance_from_an_ideal_has_none_either() -> None:
    one = deviation([0.3], [NAN], ["estimate"], 0.5)
    assert one.value == pytest.approx(0.2)
    assert math.isnan(one.low)
    several = deviation([0.3, 0.7], [NAN] * 2, ["estimate"] * 2, 0.5)
    assert several.low == 0.0  # errors to both sides
    assert math.isnan(loss(combine([0.3], [NAN], ["estimate"]), 1.0, "below").low)
    assert math.isnan(loss(combine([0.3], [NAN], ["estimate"]), 0.0, "both").low)


def test_one_seed_is_neither_better_nor_worse_nor_at_the_floor() -> None:
    one = combine([0.5], [NAN], ["estimate"])
    for value in (0.0001, 0.5, 90.0):
        one = combine([value], [NAN], ["estimate"])
        known = {"near": figure(0.0, 0.01, "estimate"), "far": figure(3.0, 3.1, "estimate")}
        found = rank({**known, "one": one}, FLOOR)
        assert not [pair for pair in found.shown if "one" in pair]
        assert not found.verdicts["one"].at_floor
        assert found.verdicts["one"].rank != "best"
        assert ("near", "far") in found.shown


def test_seeds_that_agree_show_a_large_difference() -> None:
    few = combine([0.10, 0.11, 0.12], [NAN] * 3, ["estimate"] * 3)
    far = combine([2.0, 2.1, 2.2], [NAN] * 3, ["estimate"] * 3)
    known = figure(4.0, 4.1, "estimate")
    assert few.seeds >= FEWEST
    found = rank({"few": few, "far": far, "known": known}, FLOOR)
    assert {("few", "far"), ("few", "known"), ("far", "known")} <= set(found.shown)
    assert found.verdicts["few"].rank == "best"


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_equal_methods_are_told_apart_no_more_often_than_is_said(count: int, both: bool) -> None:
    rng, wrong, repeats, stderr = np.random.default_rng([count, both]), 0, 1000, 0.02
    for _ in range(repeats):
        first = blind(list(rng.normal(0.1, 0.03, count)))
        if both:
            second = blind(list(rng.normal(0.1, 0.01, count)))
        else:
            second = {s: (float(rng.normal(0.1, stderr)), stderr) for s in range(count)}
        wrong += 2 * min(better(first, second), better(second, first)) < RATE
    assert wrong / repeats < RATE + SIGMAS * math.sqrt(RATE * (1 - RATE) / repeats)
