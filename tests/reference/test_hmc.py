"""The batched route: its integrator, what it leaves invariant, how it adapts and when it stops."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.fitting.target import CountedTarget
from bench.reference.routes import Energies, Plan, batched
from bench.reference.run import Run
from methods.parts.sampling.hmc import Frame, Walkers, frame_of, scattered
from problems.base import Problem
from problems.eight_schools import EightSchools
from problems.mixture import Mixture
from problems.signed_eight_schools import SignedEightSchools
from tests.helpers.exact_problems import assert_mean, exact, seeded
from tests.helpers.reference_parts import UNIT, ZEROS, normal, shorten, walk


@pytest.mark.parametrize("step", [0.1, 0.05])
def test_the_leapfrog_error_falls_with_the_square_of_the_step(step: float) -> None:
    problem = EightSchools()
    start = exact(problem).sample(200, seeded(1))
    gains = []
    for size, count in ((step, 8), (step / 2, 16)):
        walkers = Walkers(CountedTarget(problem), start, seeded(2))
        accept = walkers.trajectory(frame_of(start, dense=True), torch.tensor(size), count).accept
        gains.append(float(-accept.log().mean()))
    assert gains[0] / gains[1] == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize("problem", [EightSchools(), SignedEightSchools()], ids=lambda p: p.name)
@pytest.mark.parametrize("step", [0.05, 0.6])
def test_trajectories_leave_the_posterior_as_it_is(problem: Problem, step: float) -> None:
    start = exact(problem).sample(20_000, seeded(3))
    walkers = Walkers(CountedTarget(problem), start, seeded(4))
    frame = frame_of(start[:500], dense=True)
    for _ in range(3):
        walkers.trajectory(frame, torch.tensor(step, dtype=torch.float64), 4)
    g = walkers.gradient
    assert_mean(
        torch.cat([g.tanh(), walkers.z.tanh(), (0.3 * walkers.z).cos()], -1), _means(problem)
    )


def test_a_trajectory_asks_for_the_density_itself_at_its_end_alone() -> None:
    class Asked(CountedTarget):
        whole = 0

        def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
            self.whole += 1
            return super().value_and_grad(z)

    target = Asked(EightSchools())
    start = exact(EightSchools()).sample(32, seeded(1))
    walkers = Walkers(target, start, seeded(2))
    walkers.trajectory(frame_of(start, dense=True), torch.tensor(0.3), 7)
    assert target.whole == 2  # where it began, when the walkers were made, and where it ended
    assert target.gradients == 8 * 32


@functools.cache
def _means(problem: Problem) -> Tensor:
    z = exact(problem).sample(200_000, seeded(5))
    g = CountedTarget(problem).value_and_grad(z)[1]
    return torch.cat([g.tanh(), z.tanh(), (0.3 * z).cos()], -1).mean(0)


def test_a_chain_never_goes_where_there_is_no_density() -> None:
    class Half(Mixture):
        def log_density(self, z: Tensor) -> Tensor:
            return torch.where(z[..., 0] > 0, -0.5 * z.square().sum(-1), -math.inf)

    walkers = scattered(CountedTarget(Half()), 30, 2.0, seeded(1))
    for _ in range(20):
        walkers.trajectory(Frame(ZEROS, UNIT), torch.tensor(0.5), 3)
        assert bool((walkers.z[:, 0] > 0).all())


def test_where_there_is_no_density_no_chain_starts() -> None:
    class Nowhere(Mixture):
        def log_density(self, z: Tensor) -> Tensor:
            return z.sum(-1) * math.nan

    with pytest.raises(ValueError, match="too few to start 5 chains from"):
        scattered(CountedTarget(Nowhere()), 5, 2.0, seeded(1))


def test_the_frame_makes_draws_round() -> None:
    root = torch.tensor([[3.0, 0], [-2.0, 0.3]], dtype=torch.float64)
    draws = normal(20_000, 2) @ root.T + 100
    frame = frame_of(draws, dense=True)
    round_ = torch.linalg.solve_triangular(frame.root, (draws - frame.loc).T, upper=False)
    torch.testing.assert_close(round_.cov(), UNIT, rtol=0, atol=2e-3)
    torch.testing.assert_close(frame_of(draws, dense=False).root, draws.std(0).diag())


def test_energies_tell_what_arviz_tells() -> None:
    from arviz_stats.base.array import array_stats

    series = walk(5, 400, 0.9)[..., 0] + 1e5
    energies = Energies()
    for energy in series.T:
        energies.add(energy)
    arviz: Any = array_stats
    assert energies.e_fmi == pytest.approx(
        float(arviz.bfmi(series.numpy(), chain_axis=0, draw_axis=1).min()), rel=5e-3
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, 2)


@pytest.mark.usefixtures("quick")
def test_the_batched_route_is_a_function_of_its_seed() -> None:
    plan = Plan(chains=10, records=20, stored=50)
    runs = [
        batched(Mixture(), plan, seed, lambda _: True, lambda *_: None).chains for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.usefixtures("quick")
def test_each_attempt_is_twice_as_long_until_the_limit() -> None:
    plan = Plan(chains=10, records=20, stored=50, steps=1_500)
    lengths: list[int] = []

    def never(run: Run) -> bool:
        lengths.append(run.transitions)
        return False

    run = batched(Mixture(), plan, 1, never, lambda *_: None)
    assert len(lengths) > 1
    assert [b / a for a, b in itertools.pairwise(lengths)] == [2.0] * (len(lengths) - 1)
    assert run.transitions == lengths[-1]


def test_a_plan_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Plan\(stored=101\) must be a multiple of chains = 10"):
        Plan(chains=10, records=100, stored=101)
