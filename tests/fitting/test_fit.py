"""The budget is kept, the clock stands still while measuring, and the target counts every row."""

import time

import pytest
import torch

from bench.fitting.exact import ExactDraws
from bench.fitting.fit import fit, thresholds
from bench.fitting.target import WARM_UP, CountedTarget
from methods.base import Budget
from problems.base import Exact, Problem, Reference
from tests.helpers.plugins.trouble import Normal, Slow, Trouble, Walk


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_method_that_ends_by_itself_is_measured_at_its_end() -> None:
    checkpoints = list(fit(Normal(), Walk(steps=7), Budget(seconds=60), seeded()))
    assert [c.gradients for c in checkpoints] == [7]
    assert checkpoints[0].approximation.shift == 2.0**-6


def test_checkpoints_are_log_spaced_in_gradients() -> None:
    checkpoints = list(
        fit(Normal(), Walk(steps=10**6), Budget(gradients=1000, checkpoints=4), seeded())
    )
    assert [c.gradients for c in checkpoints] == [1, 10, 100, 1000]
    assert [c.index for c in checkpoints] == [0, 1, 2, 3]


def test_thresholds_end_at_the_budget() -> None:
    assert thresholds(1) == [1.0]
    assert thresholds(4) == pytest.approx([0.001, 0.01, 0.1, 1.0])


def test_a_method_that_asks_for_more_is_stopped_and_its_last_approximation_counts() -> None:
    (checkpoint,) = fit(Normal(), Trouble(how="greedy"), Budget(gradients=50), seeded())
    assert checkpoint.gradients == 50
    assert checkpoint.approximation.shift == 1.0


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


def test_stored_draws_are_never_held_against_themselves() -> None:
    stored = Reference(torch.arange(40.0, dtype=torch.float64).reshape(20, 2), 0.0, 0.1, {})
    (floor,) = ExactDraws().reveal(stored)
    theirs, ours = floor.sample(10, seeded()), stored.half(0).sample(10, seeded())
    assert theirs.shape == ours.shape == (10, 2)
    assert not set(theirs[:, 0].tolist()) & set(ours[:, 0].tolist())
    assert len(floor.sample(99, seeded())) == 10
