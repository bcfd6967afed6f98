"""The budget is kept, the clock stands still while measuring, and the target counts every row."""

import math
import time

import pytest
import torch
from torch.profiler import profile

from bench.fitting.exact import ExactDraws
from bench.fitting.fit import Checkpoint, fit, marks
from bench.fitting.target import WARM_UP, CountedTarget
from methods.base import Budget, Method
from problems.base import Exact, Problem, Reference
from problems.logistic_regression import LogisticRegression
from tests.helpers.plugins.faults import Column
from tests.helpers.plugins.trouble import (
    Compiled,
    Normal,
    Shifted,
    Slow,
    Trouble,
    Walk,
    Yielding,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_method_that_ends_by_itself_is_measured_at_its_end() -> None:
    checkpoints = list(fit(Normal(), Walk(steps=7), Budget(seconds=60), seeded()))
    assert [(c.gradients, c.final) for c in checkpoints] == [(7, True)]
    assert checkpoints[0].approximation == Shifted(2.0**-6, 2)


def test_checkpoints_are_log_spaced_in_gradients_and_the_last_is_final() -> None:
    checkpoints = list(
        fit(Normal(), Walk(steps=10**6), Budget(gradients=1000, checkpoints=4), seeded())
    )
    assert [c.gradients for c in checkpoints] == [1, 10, 100, 1000]
    assert [c.index for c in checkpoints] == [0, 1, 2, 3]
    assert [c.final for c in checkpoints] == [False, False, False, True]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(checkpoints=1), []),
        (Budget(checkpoints=2), [31623]),
        (Budget(checkpoints=4), [10**3, 31623, 10**6]),
        (Budget(gradients=1000, checkpoints=4), [1, 10, 100]),
        (Budget(gradients=1000, seconds=1, checkpoints=2), [1]),
        (Budget(gradients=5, checkpoints=4), [1, 1, 1]),
        (Budget(seconds=1, guard=900, checkpoints=4), pytest.approx([0.001, 0.01, 0.1])),
        (Budget(guard=900, checkpoints=2), [31623]),
    ],
    ids=str,
)
def test_marks_are_counts_wherever_the_plan_is_not_of_seconds(
    budget: Budget, expected: list[float]
) -> None:
    assert marks(budget) == expected


def test_without_a_budget_checkpoints_stand_at_fixed_counts_whatever_the_clock_says() -> None:
    def counts(nap: float) -> list[int]:
        budget, method = Budget(checkpoints=3, guard=60), Walk(steps=1200, nap=nap)
        return [c.gradients for c in fit(Normal(), method, budget, seeded())]

    assert counts(0.0) == counts(2e-4) == [1000, 1200]


def test_the_same_approximation_comes_again_as_the_final_one() -> None:
    budget = Budget(gradients=100_000, checkpoints=3)
    first, *_, last = fit(Normal(), Walk(steps=100), budget, seeded())
    assert (first.index, last.index, first.final, last.final) == (0, 0, False, True)
    assert last.approximation is first.approximation


def ended(method: Method, budget: Budget) -> list[Checkpoint]:
    return list(fit(Normal(), method, budget, seeded(), patience=0.1))


def test_a_guard_cuts_short_what_plans_by_its_own_steps() -> None:
    (found,) = ended(Walk(steps=10**6, nap=0.01), Budget(guard=0.3))
    assert (found.final, found.cut_short) == (True, True)
    assert found.seconds < 1


def test_a_guard_does_not_count_where_seconds_are_the_plan() -> None:
    (found,) = ended(Walk(steps=10**6, nap=0.01), Budget(seconds=0.3, guard=0.1))
    assert not found.cut_short
    assert found.seconds >= 0.3


def test_a_guard_before_the_first_approximation_says_so() -> None:
    with pytest.raises(TimeoutError, match=r"guard of 0\.2 seconds.*before the first"):
        ended(Slow(), Budget(guard=0.2))


def test_a_method_that_hangs_is_interrupted_and_its_last_approximation_counts() -> None:
    (found,) = ended(Trouble(how="hang"), Budget(gradients=10**6, guard=0.2))
    assert found.cut_short
    assert found.approximation == Shifted(1.0, 2)


def test_what_was_yielded_is_measured_before_the_exception_of_the_method_is_raised() -> None:
    checkpoints = fit(Normal(), Trouble(how="raise"), Budget(gradients=10**6), seeded())
    assert next(checkpoints).final
    with pytest.raises(RuntimeError, match="no</b> luck"):
        next(checkpoints)


def test_a_method_that_turns_its_stop_into_an_error_has_not_failed() -> None:
    (found,) = ended(Trouble(how="converts"), Budget(gradients=50, guard=30))
    assert (found.final, found.gradients, found.cut_short) == (True, 50, False)


def test_set_up_is_counted_apart_and_its_gradients_are_counted_all_the_same() -> None:
    (found,) = ended(Compiled(setup=0.2), Budget(gradients=50))
    assert 0.2 <= found.setup < 0.3
    assert found.seconds < 0.1
    assert found.gradients == 4
    (plain,) = ended(Walk(steps=3), Budget(gradients=50))
    assert math.isnan(plain.setup)


def test_set_up_does_not_count_against_the_seconds_of_fitting() -> None:
    (found,) = ended(Compiled(setup=0.3, steps=10**6, nap=0.01), Budget(seconds=0.4))
    assert found.setup >= 0.3
    assert 0.4 <= found.seconds < 0.5


def test_set_up_counts_against_the_guard() -> None:
    (found,) = ended(Compiled(setup=0.3, steps=10**6, nap=0.01), Budget(guard=0.5))
    assert found.cut_short
    assert 0.5 <= found.setup + found.seconds < 0.6
    with pytest.raises(TimeoutError, match=r"guard of 0\.2 seconds"):
        ended(Compiled(setup=5.0), Budget(guard=0.2))


def test_set_up_takes_no_longer_than_fitting_may() -> None:
    started = time.perf_counter()
    with pytest.raises(TimeoutError, match=r"0\.2 seconds\).*before the first approximation"):
        ended(Compiled(setup=5.0), Budget(seconds=0.2, guard=60))
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("says", ["twice", "late"])
def test_a_method_that_is_ready_twice_or_late_is_told_so(says: str) -> None:
    with pytest.raises(RuntimeError, match="expected None once at most, before the first"):
        ended(Compiled(setup=0.0, says=says), Budget(gradients=50))


def test_a_yield_is_cheap() -> None:
    started = time.process_time()
    (found,) = fit(Normal(), Yielding(times=100_000), Budget(guard=600), seeded())
    assert found.approximation == Shifted(0.0, 2)
    # some 1 us; it was 90 when each yield read the peak of memory
    assert (time.process_time() - started) / 100_000 < 20e-6


def test_a_method_that_asks_for_more_is_stopped_and_its_last_approximation_counts() -> None:
    (checkpoint,) = fit(Normal(), Trouble(how="greedy"), Budget(gradients=50), seeded())
    assert checkpoint.gradients == 50
    assert checkpoint.approximation == Shifted(1.0, 2)


def test_a_budget_spent_before_the_first_approximation_says_so() -> None:
    with pytest.raises(TimeoutError, match=r"50 gradients, before the first approximation"):
        list(fit(Normal(), Slow(), Budget(gradients=50), seeded()))


def test_a_method_that_yields_nothing_is_told_so() -> None:
    with pytest.raises(RuntimeError, match="without yielding"):
        list(fit(Normal(), Walk(steps=0), Budget(gradients=50), seeded()))


def test_measuring_is_not_charged() -> None:
    seconds = []
    for checkpoint in fit(
        Normal(), Walk(steps=10**6), Budget(gradients=100, checkpoints=5), seeded()
    ):
        seconds.append(checkpoint.seconds)
        time.sleep(0.3)
    assert seconds[-1] < 0.3 * len(seconds)


def test_rows_are_counted_forward_and_backward() -> None:
    target = CountedTarget(Normal())
    z = torch.zeros(5, 3, 2, dtype=torch.float64, requires_grad=True)
    value = target.log_density(z)
    assert (target.evaluations, target.gradients) == (15, 0)
    value.sum().backward()
    assert (target.evaluations, target.gradients) == (15, 15)
    target.value_and_grad(z)
    assert (target.evaluations, target.gradients) == (30, 30)


class Branching(Problem):
    """A density that branches on a value: recording it would freeze one of the branches."""

    name = "branching"
    dim = 2  # type: ignore[assignment]
    truth = Exact(lambda n, g: torch.zeros(n, 2), 0.0)  # type: ignore[assignment]

    def log_density(self, z: torch.Tensor) -> torch.Tensor:
        return -(z**2).sum(-1) if bool(z.sum() > 0) else -3 * (z**2).sum(-1)


@pytest.mark.parametrize("problem", [Normal(), Branching()], ids=["recorded", "eager"])
def test_a_recorded_gradient_is_the_gradient(problem: Problem) -> None:
    target, plain = CountedTarget(problem), CountedTarget(problem, compiled=False)
    generator = seeded()
    for call in range(WARM_UP + 5):
        z = torch.randn(4, 2, generator=generator, dtype=torch.float64) + (-3 if call % 2 else 3)
        for ours, theirs in zip(target.value_and_grad(z), plain.value_and_grad(z), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-14)
    assert target.gradients == plain.gradients
    assert target.recorded == (1 if isinstance(problem, Normal) else 0)


def test_a_record_of_the_gradient_alone_leaves_out_what_the_value_needs() -> None:
    problem = LogisticRegression()
    target, plain = CountedTarget(problem), CountedTarget(problem, compiled=False)
    z = torch.randn(4, problem.dim, generator=seeded(), dtype=torch.float64)
    for _ in range(WARM_UP + 1):
        torch.testing.assert_close(target.gradient(z), plain.value_and_grad(z)[1])
    assert (target.evaluations, target.gradients) == (4 * (WARM_UP + 1), 4 * (WARM_UP + 1))
    assert target.recorded == 1
    with profile() as ran:
        target.gradient(z)
    names = {event.name for event in ran.events()}
    assert "aten::softplus_backward" in names
    assert "aten::softplus" not in names


def test_rows_without_a_value_keep_no_gradient_from_being_recorded() -> None:
    target = CountedTarget(Normal())
    z = torch.tensor([[1.0, 2.0], [math.nan, 0.0]], dtype=torch.float64)
    for _ in range(WARM_UP):
        target.value_and_grad(z)
    assert target.recorded == 1


def test_stored_draws_are_never_held_against_themselves() -> None:
    stored = Reference(torch.arange(40.0, dtype=torch.float64).reshape(20, 2), 0.0, 0.1, {})
    (floor,) = ExactDraws().reveal(stored)
    theirs, ours = floor.sample(10, seeded()), stored.half(0).sample(10, seeded())
    assert theirs.shape == ours.shape == (10, 2)
    assert not set(theirs[:, 0].tolist()) & set(ours[:, 0].tolist())
    assert len(floor.sample(99, seeded())) == 10


@pytest.mark.parametrize("ask", ["value_and_grad", "log_density"])
def test_a_density_in_a_column_is_refused_while_fitting(ask: str) -> None:
    target = CountedTarget(Column())
    with pytest.raises(ValueError, match=r"returned shape \[3, 1\] for points \[3, 2\]"):
        getattr(target, ask)(torch.zeros(3, 2, dtype=torch.float64))
