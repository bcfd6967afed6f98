"""Annealing methods estimate log Z with an honest error, and leave draws of the posterior."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from torch import Generator

from bench.fitting.target import CountedTarget
from bench.metrics.draws.chains import ess_mean
from methods.ais import AIS, schedule
from methods.base import Budget, Draws, Evidence
from methods.parts.sampling.hmc import Frame
from methods.parts.sampling.tempering import Stage, averaged, effective, systematic
from methods.smc import SMC
from problems.base import Problem
from problems.gaussian import Gaussian2
from problems.linear_regression import LinearRegression
from problems.mixture import Mixture

SIGMAS = 4.5  # every statistical tolerance, in standard errors
SMALL: dict[type, dict[str, Any]] = {
    SMC: {"islands": 8, "particles": 128},
    AIS: {"chains": 1024, "temperatures": 100, "pilot": 128},
}
PROBLEMS = {p.name: p for p in (Gaussian2(), Mixture(weight=0.3), LinearRegression(dim=3))}
both = pytest.mark.parametrize("kind", [SMC, AIS])


@functools.cache
def fitted(kind: type[SMC] | type[AIS], name: str, seed: int = 0) -> Draws:
    method = kind(**SMALL[kind])
    *_, last = method.run(CountedTarget(PROBLEMS[name]), Budget(), Generator().manual_seed(seed))
    return last


@both
@pytest.mark.parametrize("name", PROBLEMS)
def test_log_z_is_the_true_one_within_its_errors_over_seeds(kind: type[SMC], name: str) -> None:
    truth: Any = PROBLEMS[name].truth
    found = [fitted(kind, name, seed).evidence for seed in range(6)]
    assert all(isinstance(one, Evidence) and one.stderr > 0 for one in found)
    scores = torch.tensor([(one.log_z - truth.log_z) / one.stderr for one in found if one])
    assert float(scores.mean().abs()) < SIGMAS / math.sqrt(len(scores))
    assert float(scores.abs().max()) < SIGMAS
    assert max(one.stderr for one in found if one) < 0.3


@both
@pytest.mark.parametrize("name", PROBLEMS)
def test_moments_are_right_within_their_standard_errors(kind: type[SMC], name: str) -> None:
    problem: Problem = PROBLEMS[name]
    chains = fitted(kind, name).chains
    truth = problem.truth.sample(50_000, Generator().manual_seed(1))
    for power in (chains, chains.square()):
        want = truth if power is chains else truth.square()
        flat = power.flatten(0, 1)
        error = flat.std(0) / ess_mean(power).sqrt() + want.std(0) / math.sqrt(len(want))
        assert ((flat.mean(0) - want.mean(0)).abs() < SIGMAS * error).all()


@both
def test_modes_have_their_weights(kind: type[SMC]) -> None:
    chains = fitted(kind, "mixture-2d").chains
    heavy = (chains[..., :1] > 0).double()
    error = math.sqrt(0.21 / float(ess_mean(heavy)[0]))
    assert abs(float(heavy.mean()) - 0.7) < SIGMAS * error


@both
def test_no_row_comes_twice(kind: type[SMC]) -> None:
    flat = fitted(kind, "linear-regression").chains.flatten(0, 1)
    assert len(flat.unique(dim=0)) > 0.98 * len(flat)


@both
def test_the_density_beyond_a_wall_is_no_harm(kind: type[SMC]) -> None:
    class Half(Mixture):
        def log_density(self, z: torch.Tensor) -> torch.Tensor:
            return super().log_density(z).masked_fill(z[..., 0] < 0, -math.inf)

    method = kind(**SMALL[kind])
    *_, last = method.run(CountedTarget(Half()), Budget(), Generator().manual_seed(0))
    assert last.chains.isfinite().all()
    assert bool((last.chains[..., 0] >= 0).all())
    assert last.evidence is not None
    assert abs(last.evidence.log_z - math.log(0.5)) < SIGMAS * last.evidence.stderr


@both
def test_a_density_that_is_nowhere_finite_is_refused(kind: type[SMC]) -> None:
    class Nowhere(Mixture):
        def log_density(self, z: torch.Tensor) -> torch.Tensor:
            return super().log_density(z) * math.nan

    method = kind(**SMALL[kind])
    with pytest.raises(ValueError, match="finite at no draw of the wide Gaussian"):
        next(iter(method.run(CountedTarget(Nowhere()), Budget(), Generator().manual_seed(0))))


def test_the_error_of_an_average_is_that_of_the_delta_method() -> None:
    evidence = averaged(torch.tensor([1.0, 2.0, 3.0, 6.0]).double().log() + 500)
    assert evidence.log_z == pytest.approx(500 + math.log(3.0))
    # the variance of 1, 2, 3, 6 is 14 / 3
    assert evidence.stderr == pytest.approx(math.sqrt(14 / 3 / 4) / 3)


def test_effective_particles_are_counted() -> None:
    assert float(effective(torch.zeros(8).double() + 900)) == pytest.approx(8.0)
    assert float(effective(torch.tensor([0.0, 0.0, -1e9, -1e9]).double())) == pytest.approx(2.0)


def test_systematic_resampling_takes_each_row_as_often_as_it_weighs() -> None:
    weights = torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]]).double().log()
    rows = systematic(weights, Generator().manual_seed(0))
    assert rows.tolist() == [[0, 0, 1, 2], [3, 3, 3, 3]]


def test_a_schedule_goes_through_all_stages_of_the_pilot() -> None:
    frames = [Frame(torch.zeros(1), torch.eye(1)) for _ in range(2)]
    found = [Stage(0.1, frames[0], 0.3), Stage(1.0, frames[1], 0.2)]
    stages = list(schedule(found, 4))
    assert [stage.beta for stage in stages] == pytest.approx([0.05, 0.1, 0.55, 1.0])
    assert [stage.step for stage in stages] == [0.3, 0.3, 0.2, 0.2]
    assert stages[0].frame is frames[0]


@both
def test_approximations_come_on_the_way_and_stay_as_they_are(kind: type[SMC]) -> None:
    method, held = kind(**SMALL[kind]), []
    for q in method.run(CountedTarget(Mixture()), Budget(), Generator().manual_seed(0)):
        held.append((q, q.chains.clone()))
    assert len(held) > 3
    assert all(torch.equal(q.chains, copy) for q, copy in held)
    assert [q.evidence is None for q, _ in held[:3]] == [True] * 3
    assert held[0][0].chains.std() > 2 * held[-1][0].chains.std()


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (SMC, "islands", 1),
        (SMC, "particles", 4),
        (SMC, "share", 1.0),
        (SMC, "moves", 0),
        (SMC, "radius", 0.0),
        (AIS, "chains", 4),
        (AIS, "temperatures", 0),
        (AIS, "pilot", 4),
        (AIS, "moves", 0),
        (AIS, "radius", math.inf),
    ],
)
def test_fields_out_of_range_are_named(kind: Any, field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}\({field}=...\) must"):
        kind(**{field: value})
