from __future__ import annotations

import math

import numpy as np
import pytest

from reports import numbers
from reports.entries import seeds_apart
from reports.intervals import Figure, combine
from reports.ranking import NoiseFloor, Verdict, rank
from tests.helpers.figures import figure

SIGMAS = 4  # tolerance of every statistical check, in standard errors


@pytest.mark.parametrize(
    ("value", "half_width", "expected"),
    [
        (0.03123, 0.0041, "0.0312 ± 0.0041"),
        (-0.0051, 0.03, "−0.005 ± 0.030"),
        (1234.5, 56.0, "1234 ± 56"),
        (0.0996, 0.00996, "0.100 ± 0.010"),
        (0.69315, 1e-9, "0.69315 ± 0.00001"),
        (3.2e-6, 4e-7, "(3.20 ± 0.40) × 10⁻⁶"),
        (0.5, 0.0, "0.5000"),
        (math.inf, 1.0, "∞"),
        (-math.inf, 1.0, "−∞"),
        (math.nan, 1.0, "—"),
    ],
)
def test_an_uncertainty_decides_the_digits(value: float, half_width: float, expected: str) -> None:
    assert numbers.plus_minus(value, half_width) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (numbers.count(512), "512"),
        (numbers.count(1234), "1.2 k"),
        (numbers.count(999_999), "1.0 M"),
        (numbers.seconds(0.0342), "34 ms"),
        (numbers.seconds(12.345), "12.3 s"),
        (numbers.seconds(99.97), "100 s"),
        (numbers.seconds(200), "3 min 20 s"),
        (numbers.seconds(7500), "2 h 5 min"),
        (numbers.memory(118.3), "118 MiB"),
        (numbers.memory(2048), "2.0 GiB"),
        (numbers.span(28.12, 30.7, numbers.seconds), "28.1–30.7 s"),
        (numbers.span(0.9, 1.2, numbers.seconds), "900 ms–1.20 s"),
        (numbers.span(12.31, 12.32, numbers.seconds), ""),
        (numbers.plain(math.nan), "—"),
        (numbers.bounded(0.2, 0.01, "lower bound"), "≥ 0.200 ± 0.010"),
    ],
)
def test_costs_have_units_that_fit(found: str, expected: str) -> None:
    assert found == expected


def test_one_seed_has_its_own_interval() -> None:
    figure = combine([2.0], [0.5], ["exact"])
    assert (figure.low, figure.high) == pytest.approx(
        (2 - 1.959964 * 0.5, 2 + 1.959964 * 0.5), rel=1e-6
    )


def test_seeds_that_differ_are_shown_and_widen_no_interval() -> None:
    """0.330 and 0.143, each known to 0.01, became "0.2 +- 1.2": Student's t on one degree of
    freedom says nothing.
    """
    spread = combine([0.330, 0.143], [0.004, 0.0025], ["exact"] * 2)
    assert spread.half_width == pytest.approx(1.959964 * math.hypot(0.004, 0.0025) / 2, rel=1e-6)
    assert seeds_apart(spread.spread) == "seeds 0.143, 0.330"
    agreed = combine([2.0, 2.1, 2.2], [0.3] * 3, ["exact"] * 3)
    assert agreed.half_width == pytest.approx(1.959964 * 0.3 / math.sqrt(3), rel=1e-6)
    assert agreed.spread == []
    assert seeds_apart([0.1, 0.2, 0.3, 0.4]) == "seeds 0.100 to 0.400"


@pytest.mark.parametrize("between", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_an_interval_covers_what_these_seeds_are_worth(between: float, seeds: int) -> None:
    rng, repeats = np.random.default_rng(seeds), 1500
    worth = rng.normal(0, between, (repeats, seeds))
    read = rng.normal(worth, 1.0)
    figures = [combine(row.tolist(), [1.0] * seeds, ["exact"] * seeds) for row in read]
    covered = np.mean(
        [found.low <= own.mean() <= found.high for found, own in zip(figures, worth, strict=True)]
    )
    assert abs(covered - 0.95) < SIGMAS * math.sqrt(0.95 * 0.05 / repeats)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["exact", "exact"], "exact"),
        (["exact", "lower bound"], "lower bound"),
        (["estimate", "exact"], "estimate"),
        (["lower bound", "upper bound"], "estimate"),
    ],
)
def test_the_weakest_kind_wins(kinds: list[str], expected: str) -> None:
    assert combine([1.0, 1.0], [0.1, 0.1], kinds).kind == expected


def test_a_seed_at_infinity_is_not_averaged_away() -> None:
    assert combine([0.1, math.inf], [0.1, 0.1], ["exact"] * 2).value == math.inf


BEST, TIED, NONE = Verdict("best"), Verdict("tied"), Verdict()
TIED_FLOOR, FLOOR_ONLY = Verdict("tied", at_floor=True), Verdict("", at_floor=True)
NOISE = figure(-0.02, 0.02, "estimate")


@pytest.mark.parametrize(
    ("case", "figures", "floor", "expected"),
    [
        ("apart", [figure(0.1, 0.2), figure(0.3, 0.4)], None, [BEST, NONE]),
        (
            "overlapping",
            [figure(0.1, 0.32), figure(0.3, 0.4), figure(0.5, 0.6)],
            None,
            [BEST, BEST, NONE],
        ),
        ("alone there is nothing to be better than", [figure(0.1, 0.2)], NOISE, [NONE]),
        (
            "a bound below is no praise",
            [figure(0.01, 0.02, "lower bound"), figure(0.3, 0.4)],
            None,
            [NONE, TIED],
        ),
        (
            "a bound above another is worse",
            [figure(0.5, 0.6, "lower bound"), figure(0.3, 0.4)],
            None,
            [NONE, BEST],
        ),
        (
            "two bounds below tell nothing",
            [figure(0.1, 0.2, "lower bound"), figure(0.3, 0.4, "lower bound")],
            None,
            [NONE, NONE],
        ),
        (
            "a bound above can win",
            [figure(0.1, 0.2, "upper bound"), figure(0.3, 0.4)],
            None,
            [BEST, NONE],
        ),
        (
            "a bound above cannot lose",
            [figure(0.5, 0.6, "upper bound"), figure(0.3, 0.4)],
            None,
            [TIED, TIED],
        ),
        (
            "estimates at the floor tie",
            [figure(-0.01, 0.03, "estimate"), figure(0.01, 0.05, "estimate")],
            NOISE,
            [TIED_FLOOR] * 2,
        ),
        (
            "the floor is as blurred as what stands on it",
            [figure(-0.01, 0.005, "estimate"), figure(0.015, 0.018), figure(0.03, 0.04)],
            NOISE,
            [TIED_FLOOR, BEST, NONE],
        ),
        (
            "exact values are sharper than the floor",
            [figure(0.005, 0.015), figure(0.3, 0.4)],
            NOISE,
            [BEST, NONE],
        ),
        (
            "exact values that hold 0",
            [figure(-0.005, 0.015), figure(0.3, 0.4)],
            NOISE,
            [Verdict("best", at_floor=True), NONE],
        ),
        (
            "same noise, same floor",
            [figure(0.1, 0.2), figure(0.3, 0.4)],
            figure(-0.15, 0.15),
            [Verdict("best", at_floor=True), NONE],
        ),
        (
            "a bound below is never at the floor",
            [figure(0.0, 0.01, "lower bound"), figure(0.3, 0.4)],
            NOISE,
            [NONE, TIED],
        ),
        (
            "a bound above is, all of it",
            [figure(0.0, 0.01, "upper bound"), figure(0.0, 0.3, "upper bound")],
            NOISE,
            [TIED_FLOOR, TIED],
        ),
        (
            "estimates against estimates",
            [figure(0.1, 0.2, "estimate"), figure(0.3, 0.4, "estimate")],
            NOISE,
            [BEST, NONE],
        ),
        (
            "an estimate near an exact value",
            [figure(0.1, 0.2, "estimate"), figure(0.3, 0.4)],
            NOISE,
            [TIED, TIED],
        ),
        (
            "an estimate far from an exact value",
            [figure(0.1, 0.2), figure(0.7, 0.8, "estimate")],
            NOISE,
            [BEST, NONE],
        ),
        (
            "infinity is out",
            [Figure(math.inf, math.inf, math.inf, "exact", 1), figure(0.3, 0.4)],
            None,
            [NONE, BEST],
        ),
        (
            "nobody is best at infinity",
            [Figure(math.inf, math.inf, math.inf, "exact", 1)] * 2,
            None,
            [NONE, NONE],
        ),
    ],
)
def test_marks_claim_no_more_than_the_intervals_allow(
    case: str, figures: list[Figure], floor: Figure | None, expected: list[Verdict]
) -> None:
    named = {f"m{i}": found for i, found in enumerate(figures)}
    assert list(rank(named, NoiseFloor(floor)).verdicts.values()) == expected, case


def test_marks_do_not_depend_on_the_order_of_methods() -> None:
    named = {
        "a": figure(0.1, 0.32),
        "b": figure(0.3, 0.4),
        "c": figure(0.0, 0.1, "lower bound"),
        "d": figure(0.2, 0.25, "estimate"),
    }
    noise = NoiseFloor(NOISE)
    assert rank(named, noise) == rank(dict(reversed(named.items())), noise)
