"""Two runs compared: what is said is right at the stated rate, and what was made worse is found."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from bench.errors import UserError
from reports.comparison import written
from reports.comparison.compared import KEPT, UNKNOWN, WORSE, Comparison, compare
from reports.comparison.judging import judge
from reports.comparison.overall import critical_difference, overall
from reports.comparison.pairs import Pair
from reports.intervals import Figure, combine
from reports.ranking import RATE, NoiseFloor
from tests.helpers.figures import bracket, figure
from tests.helpers.two_runs import METRICS, PROBLEMS, InMemory, Law, drawn

TIMES = 200  # pairs of runs
FACTOR = 1.4  # by which one method is made worse
ERRORS = 3.0  # standard errors of a share of TIMES


def run(law: Law, rng: np.random.Generator, name: str = "run") -> InMemory:
    return InMemory(drawn(law, rng), name)


def pair(old: Figure, new: Figure, noise: NoiseFloor | None = None) -> Pair:
    return Pair("hill", "avb", "kl_qp", old, new, noise)


def seeds(*values: float, stderr: float = 1e-4, kind: str = "exact") -> Figure:
    return combine(values, [stderr] * len(values), [kind] * len(values))


@pytest.fixture(scope="module")
def many() -> list[Comparison]:
    """Pairs of runs of which the second has one method made worse."""
    rng = np.random.default_rng(1)
    changed = Law({"avb": FACTOR})
    return [compare(run(Law(), rng), run(changed, rng), allowed=0.05) for _ in range(TIMES)]


def test_what_was_made_worse_is_found_and_nothing_else_at_the_stated_rate(
    many: list[Comparison],
) -> None:
    moved = [
        {(of.pair.method, of.word) for of in found.judged if of.word in ("better", "worse")}
        for found in many
    ]
    wrong = sum(bool(said - {("avb", "worse")}) for said in moved)
    found = sum(("avb", "worse") in said for said in moved)
    every = np.mean(
        [of.word == "worse" for one in many for of in one.judged if of.pair.method == "avb"]
    )
    print(f"wrong in {wrong} of {TIMES}, found in {found}, {every:.3f} of all of its figures")
    assert wrong / TIMES <= RATE + ERRORS * math.sqrt(RATE * (1 - RATE) / TIMES)
    assert found >= 0.99 * TIMES
    assert every > 0.8


def test_the_gate_fails_for_what_was_made_worse_and_for_nothing_else(
    many: list[Comparison],
) -> None:
    wrong = [
        any(of.gate == "worse" and of.pair.method != "avb" for of in found.at_the_gate)
        for found in many
    ]
    print(Counter(found.status for found in many), sum(wrong))
    assert np.mean(wrong) <= RATE
    assert np.mean([found.status == WORSE for found in many]) > 0.99


def test_intervals_hold_the_true_difference_at_their_level(many: list[Comparison]) -> None:
    inside = [
        of.ratio[1] <= (FACTOR if of.pair.method == "avb" else 1.0) <= of.ratio[2]
        for found in many
        for of in found.judged
        if of.ratio is not None
    ]
    error = math.sqrt(0.05 * 0.95 / len(inside))
    assert abs(np.mean(inside) - 0.95) < ERRORS * error + 0.005


def test_a_run_beside_itself_is_the_same_to_the_last_digit() -> None:
    store = run(Law(), np.random.default_rng(2))
    found = compare(store, store)
    assert found.status == KEPT
    assert {of.why for of in found.judged} == {"to the last digit"}
    assert found.counts == {"same": len(found.judged)}


def test_a_method_whose_cells_all_fail_now_is_worse() -> None:
    rng = np.random.default_rng(3)
    found = compare(run(Law(), rng), run(Law(failing=["avb"]), rng))
    assert found.lost == sorted((problem, "avb") for problem in PROBLEMS)
    assert found.status == WORSE


def test_one_seed_shows_nothing() -> None:
    (found,) = judge([pair(seeds(0.1), seeds(0.9))], 0.05)
    assert found.word == "cannot tell"
    assert found.gate == "cannot tell"


def test_a_difference_is_students_paired_test() -> None:
    old, new = [0.30, 0.32, 0.29, 0.33], [0.36, 0.39, 0.34, 0.38]
    (found,) = judge([pair(seeds(*old), seeds(*new))], 0.05)
    known = stats.ttest_rel(new, old)
    interval = known.confidence_interval(0.95)
    assert known.pvalue < 0.05
    assert found.word == "worse"
    assert found.difference == pytest.approx((np.mean(new) - np.mean(old), *interval))


def test_more_seeds_would_tell_as_many_as_it_says() -> None:
    old, new = [0.30, 0.32, 0.29], [0.33, 0.33, 0.29]
    (found,) = judge([pair(seeds(*old), seeds(*new))], 0.05)
    assert found.word == "cannot tell"
    more = int(found.why.split()[0])
    d = np.subtract(new, old)

    def reach(n: int) -> float:
        return float(stats.t.ppf(1 - RATE / 2, n - 1) * np.std(d, ddof=1) / math.sqrt(n))

    assert reach(3 + more) < d.mean() <= reach(3 + more - 1)


def test_what_bounds_leave_open_is_not_called_worse() -> None:
    low = bracket((0.10, 0.11), (0.30, 0.31))
    inside, beyond = bracket((0.20, 0.21), (0.25, 0.26)), bracket((0.40, 0.41), (0.50, 0.51))
    first, second = judge([pair(low, inside), pair(low, beyond)], 0.05)
    assert (first.word, first.why) == ("cannot tell", "the bounds overlap")
    assert second.word == "worse"
    assert second.difference == pytest.approx((0.25, 0.10, 0.40), abs=1e-6)


def test_within_the_noise_floor_nothing_is_worse() -> None:
    noise = NoiseFloor(figure(-0.02, 0.03, "estimate"))
    old, new = (seeds(a, a * 1.01, a * 0.99, kind="estimate") for a in (0.004, 0.02))
    (found,) = judge([pair(old, new, noise)], 0.05)
    assert (found.word, found.why) == ("same", "both within the noise floor")
    above = seeds(0.10, 0.101, 0.102, kind="estimate")
    (found,) = judge([pair(old, above, noise)], 0.05)
    assert found.word == "worse"


def test_average_ranks_and_their_critical_difference_are_demsars() -> None:
    """Table 5a of Demsar (2006): q at 5% is 1.960 for 2 and 2.569 for 4 classifiers."""
    assert critical_difference(4, 14) == pytest.approx(2.569 * math.sqrt(4 * 5 / 6 / 14), rel=1e-3)
    assert critical_difference(2, 10) == pytest.approx(1.960 * math.sqrt(1 / 10), rel=1e-3)
    values = {"one": {"a": [0.1, 0.1], "b": [0.2, 0.2]}, "two": {"a": [0.3, 0.3], "b": [0.1, 0.1]}}
    found = overall(values, {})
    assert found is not None
    assert found.ranks == {"a": 1.5, "b": 1.5}
    assert found.wins["a", "b"] == (0.5, 0.0, 1.0)
    assert found.profiles["b"] == pytest.approx([0.5, 0.5, 0.5, 1.0, 1.0, 1.0])
    assert overall({"one": {"a": [1.0]}, "two": {"b": [1.0]}}, {}) is None


def test_below_the_floor_methods_tie() -> None:
    found = overall({"one": {"a": [0.01], "b": [0.02]}}, {"one": 0.03})
    assert found is not None
    assert found.ranks == {"a": 1.5, "b": 1.5}
    assert math.isnan(found.critical)


def test_names_that_are_in_neither_run_are_refused() -> None:
    store = run(Law(seeds=1), np.random.default_rng(4))
    with pytest.raises(UserError, match="has no method 'nuts'"):
        compare(store, store, {"nuts": "avb"})
    with pytest.raises(UserError, match="neither run has such a figure"):
        compare(store, store, metrics=["mmd"])
    other = run(Law(seeds=1, problems=["vale"]), np.random.default_rng(4))
    with pytest.raises(UserError, match="nothing to compare"):
        compare(store, other)


def test_a_method_is_paired_with_one_of_another_name() -> None:
    rng = np.random.default_rng(5)
    old, new = run(Law(methods=["avb"]), rng), run(Law(methods=["avb steps=2"]), rng)
    found = compare(old, new, {"avb": "avb steps=2"})
    assert len(found.judged) == len(PROBLEMS) * len(METRICS)


def test_a_named_metric_that_cannot_be_held_leaves_the_gate_open() -> None:
    rng = np.random.default_rng(6)
    contents = [drawn(Law(methods=["avb"]), rng) for _ in range(2)]
    for content in contents:
        for _, rows in content:
            rows[0] = dataclasses.replace(rows[0], kind="lower bound")
    old, new = (InMemory(content, "run") for content in contents)
    assert compare(old, new, metrics=["kl_qp", "mean_error"]).status != KEPT
    assert [of.metric for of in compare(old, new, metrics=METRICS).unheld] == ["kl_qp"] * 3
    assert compare(old, new, metrics=["kl_qp", "mean_error"], allowed=9.0).status == UNKNOWN


def test_pages_say_the_same_and_show_names_as_they_are() -> None:
    rng = np.random.default_rng(7)
    law = Law(methods=["avb", "a|b <i>"])
    found = compare(run(law, rng), run(dataclasses.replace(law, worse={"avb": 2.0}), rng))
    content = json.loads(written.as_json(found))
    assert len(content["pairs"]) == len(found.judged)
    assert content["status"] == WORSE
    html, markdown = written.html(found), written.markdown(found)
    for page in (html, markdown):
        assert "<i>" not in page
        assert "Nemenyi" in page
        assert page.count("worse") >= found.counts["worse"]
    assert "a&#124;b" in markdown
