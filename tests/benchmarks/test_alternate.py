"""The frame of the comparisons with peers: turns are fair, ratios are of the same round, and a peer
that fails is a line of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from tests.benchmarks.alternate import Contender, Times, alternate, ratio, table


class Clock:
    """A clock that the contenders move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now

    def contender(self, name: str, cost: float, *, setup: float | None = None) -> Contender:
        """One that takes ``cost`` seconds, more by its seed, for one unit."""

        def work(*given: int) -> float:
            self.order.append(name)
            self.now += cost * (1 + given[-1])  # the machine is slower from round to round
            return 1.0

        def set_up() -> str:
            self.now += setup or 0.0
            return "ready"

        return Contender(name, work, None if setup is None else set_up)


def test_everyone_runs_in_every_round_and_the_order_turns() -> None:
    clock = Clock()
    alternate([clock.contender(name, 1.0) for name in "abc"], rounds=3, clock=clock)
    assert clock.order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_a_ratio_is_of_the_same_round_so_that_a_machine_that_slows_down_does_not_matter() -> None:
    clock = Clock()
    both = [clock.contender("ours", 1.0), clock.contender("theirs", 4.0, setup=2.0)]
    found = alternate(both, rounds=3, clock=clock)
    without = ratio(found["theirs"], found["ours"], setup=False)
    assert (without.median, without.low, without.high) == (4.0, 4.0, 4.0)
    within = ratio(found["theirs"], found["ours"], setup=True)
    assert (within.median, within.low, within.high) == pytest.approx((5.0, 14 / 3, 6.0))


def test_cost_is_per_unit_of_what_was_achieved_and_infinite_where_nothing_was() -> None:
    times = Times("a", [1.0, 1.0, 1.0], [3.0, 3.0, 3.0], [2.0, 0.0, math.nan])
    assert times.costs(setup=True) == [2.0, math.inf, math.inf]
    assert times.costs(setup=False)[0] == 1.5


def test_what_was_achieved_is_worked_out_when_the_clock_has_stopped() -> None:
    clock = Clock()

    def work(seed: int) -> Callable[[], float]:
        def later() -> float:
            clock.now += 100.0
            return 5.0

        clock.now += 1.0
        return later

    found = alternate([Contender("a", work)], rounds=2, clock=clock)["a"]
    assert (found.work, found.achieved) == ([1.0, 1.0], [5.0, 5.0])


def test_a_peer_that_fails_is_a_line_with_its_reason_and_the_others_go_on() -> None:
    clock = Clock()

    def broken(seed: int) -> float:
        raise RuntimeError("no such function")

    found = alternate(
        [clock.contender("ours", 1.0), Contender("broken", broken)], rounds=2, clock=clock
    )
    assert len(found["ours"].work) == 2
    text = table("a fit", found)
    assert "RuntimeError: no such function" in text
    assert text.startswith("a fit: 2 rounds, processor seconds\n")


def test_two_of_one_name_are_refused() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="all different"):
        alternate([clock.contender("a", 1.0), clock.contender("a", 1.0)])
