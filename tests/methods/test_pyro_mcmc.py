"""Pyro's samplers under the contract: right moments, figures that mean what they say, and nothing
global disturbed.
"""

from __future__ import annotations

import functools
import math
import random
from typing import Any, ClassVar

import numpy as np
import pyro
import pytest
import torch
from torch import Generator, Tensor
from torch.distributions import Distribution

from bench.fitting.target import CountedTarget
from bench.metrics.draws.chains import ess_mean, ess_sd
from methods.base import Budget, Draws
from methods.pyro_mcmc import PyroHMC, PyroNUTS
from problems.base import Problem

SIGMAS = 4.5  # every statistical tolerance, in standard errors
Sampler = PyroNUTS | PyroHMC
FIGURES = {
    "r_hat",
    "ess_bulk",
    "ess_tail",
    "e_fmi",
    "divergences",
    "accept_rate",
    "step_size",
    "steps_per_draw",
    "cut_short",
}
SHORT: dict[str, Any] = {"chains": 2, "warmup": 12, "draws": 8}
both = pytest.mark.parametrize("kind", [PyroNUTS, PyroHMC])


class Normal(Problem):
    """N(m, S), S = s s^T times the correlation between each two coordinates."""

    name: ClassVar[str] = "normal"
    truth: Any = None

    def __init__(self, sd: tuple[float, ...], correlation: float = 0.0) -> None:
        self.loc = torch.arange(len(sd), dtype=torch.float64)
        self.sd = torch.tensor(sd, dtype=torch.float64)
        shape = (1 - correlation) * torch.eye(len(sd), dtype=torch.float64) + correlation
        self.precision = torch.linalg.inv(shape * torch.outer(self.sd, self.sd))

    @property
    def dim(self) -> int:
        return len(self.sd)

    def log_density(self, z: Tensor) -> Tensor:
        centred = z - self.loc
        square: Tensor = ((centred @ self.precision) * centred).sum(-1)
        return -0.5 * square


class Half(Problem):
    """A normal law of which only z[0] > edge is left: no density, and no slope, on the
    other side.
    """

    name: ClassVar[str] = "half"
    truth: Any = None
    dim = 2

    def __init__(self, edge: float) -> None:
        self.edge = edge

    def log_density(self, z: Tensor) -> Tensor:
        return torch.where(z[..., 0] > self.edge, -0.5 * z.square().sum(-1), -math.inf)


class Stiff(Problem):
    """A quartic well so steep that a step of length one leaves it for good."""

    name: ClassVar[str] = "stiff"
    truth: Any = None
    dim = 2

    def log_density(self, z: Tensor) -> Tensor:
        return -1e4 * z.pow(4).sum(-1)


def sample(problem: Problem, method: Sampler, seed: int = 0) -> list[Draws]:
    return list(method.run(CountedTarget(problem), Budget(), Generator().manual_seed(seed)))


@functools.cache
def long_run(kind: type[Sampler]) -> Draws:
    return sample(Normal((1.0, 0.5, 2.0, 1.0), 0.5), kind(warmup=150, draws=250))[-1]


@both
def test_moments_are_right_within_their_standard_errors(kind: type[Sampler]) -> None:
    problem, draws = Normal((1.0, 0.5, 2.0, 1.0), 0.5), long_run(kind).chains
    flat = draws.flatten(0, 1)
    assert ((flat.mean(0) - problem.loc).abs() < SIGMAS * problem.sd / ess_mean(draws).sqrt()).all()
    assert (
        (flat.std(0) - problem.sd).abs() < SIGMAS * problem.sd / (2 * ess_sd(draws)).sqrt()
    ).all()
    products = (draws - problem.loc)[..., :1] * (draws - problem.loc)[..., 1:2]
    error = abs(float(products.mean()) - 0.5 * 0.5)
    assert error < SIGMAS * float(products.std() / ess_mean(products).sqrt())


@both
def test_figures_of_a_healthy_run(kind: type[Sampler]) -> None:
    figures = long_run(kind).diagnostics
    assert set(figures) == FIGURES
    assert len(figures) == len(FIGURES)
    assert 0.99 < figures["r_hat"] < 1.05
    assert 100 < figures["ess_bulk"] < 2000
    assert 100 < figures["ess_tail"] < 2000
    assert (
        0.7 < figures["e_fmi"] < 1.3
    )  # half of a normal law's energy is kinetic and drawn afresh: 1
    assert figures["divergences"] == 0
    assert 0.7 < figures["accept_rate"] < 0.97
    assert 0.1 < figures["step_size"] < 2
    assert figures["cut_short"] == 0


@both
def test_first_the_later_halves_then_only_what_follows_the_warm_up(kind: type[Sampler]) -> None:
    yielded = sample(Normal((1.0, 1.0)), kind(chains=2, warmup=12, draws=15))
    assert [q.chains.shape[1] for q in yielded] == [end - min(end // 2, 12) for end in range(1, 28)]
    newest = torch.stack([q.chains[:, -1] for q in yielded], 1)
    assert torch.equal(yielded[-1].chains, newest[:, 12:])
    assert yielded[-1].chains.dtype == torch.float64
    assert len(set(newest[..., 0].flatten().tolist())) > 40  # the chains move
    # a warm-up longer than what follows is still left out in the end
    few = sample(Normal((1.0, 1.0)), kind(**SHORT))
    assert few[-1].chains.shape == (2, 8, 2)
    assert few[-2].chains.shape == (2, 10, 2)


@both
def test_what_was_yielded_does_not_change(kind: type[Sampler]) -> None:
    copies, yielded = [], []
    for q in kind(**SHORT).run(
        CountedTarget(Normal((1.0, 1.0))), Budget(), Generator().manual_seed(0)
    ):
        yielded.append(q)
        copies.append((q.chains.clone(), dict(q.diagnostics)))
    for q, (chains, figures) in zip(yielded, copies, strict=True):
        assert torch.equal(q.chains, chains)
        np.testing.assert_equal(dict(q.diagnostics), figures)


@both
def test_the_same_generator_gives_the_same_draws_whatever_happens_in_between(
    kind: type[Sampler],
) -> None:
    problem, method = Normal((1.0, 0.5)), kind(**SHORT)
    quiet = sample(problem, method, seed=5)[-1]
    for q in method.run(CountedTarget(problem), Budget(), Generator().manual_seed(5)):
        torch.manual_seed(1)
        torch.rand(3)
        disturbed = q
    assert torch.equal(quiet.chains, disturbed.chains)
    assert not torch.equal(quiet.chains, sample(problem, method, seed=6)[-1].chains)


@both
def test_global_state_is_left_alone(kind: type[Sampler]) -> None:
    state, outer, inner = torch.get_rng_state(), random.getstate(), np.random.get_state()
    for _ in kind(**SHORT).run(
        CountedTarget(Normal((1.0, 1.0))), Budget(), Generator().manual_seed(0)
    ):
        assert torch.equal(state, torch.get_rng_state())
        assert Distribution._validate_args
    assert outer == random.getstate()
    assert all(np.array_equal(a, b) for a, b in zip(inner, np.random.get_state(), strict=True))
    assert len(pyro.get_param_store()) == 0


@both
def test_a_chain_does_not_depend_on_its_neighbours(kind: type[Sampler]) -> None:
    problem = Normal((1.0, 0.5))
    alone = sample(problem, kind(chains=1, warmup=12, draws=8))[-1].chains
    together = sample(problem, kind(chains=3, warmup=12, draws=8))[-1].chains
    assert torch.equal(alone[0], together[0])
    assert not torch.equal(together[0], together[1])


@both
def test_every_gradient_is_counted(kind: type[Sampler]) -> None:
    target = CountedTarget(Normal((1.0, 1.0)))
    counts = [target.gradients]
    for q in kind(**SHORT).run(target, Budget(), Generator().manual_seed(0)):
        counts.append(target.gradients)
        steps = q.diagnostics["steps_per_draw"] * 2 * 8
    assert steps == counts[-1] - counts[12]
    assert counts == sorted(set(counts))


@both
def test_stops_where_the_target_refuses_and_gives_back_what_it_borrowed(
    kind: type[Sampler],
) -> None:
    class SpentError(Exception):
        pass

    def check() -> None:
        if target.gradients >= 100:
            raise SpentError

    target = CountedTarget(Normal((1.0, 1.0)))
    target.before = check
    state, yielded = torch.get_rng_state(), list[Draws]()
    with pytest.raises(SpentError):
        yielded.extend(kind().run(target, Budget(), Generator().manual_seed(0)))
    assert target.gradients == 100
    assert yielded[-1].chains.isfinite().all()
    assert torch.equal(state, torch.get_rng_state())
    assert Distribution._validate_args


@pytest.mark.parametrize("method", [PyroNUTS(**SHORT), PyroHMC(**SHORT, max_steps=8)])
def test_starts_where_the_density_is_finite_and_stays_there(method: Sampler) -> None:
    for seed in range(4):
        for q in sample(Half(1.0), method, seed):
            assert (q.chains[..., 0] > 1.0).all()


@both
def test_a_density_that_is_finite_at_no_start_is_refused(kind: type[Sampler]) -> None:
    message = (
        rf"{kind.__name__}\(radius=2.0\): the density is finite at none of 100 starting points .*"
        r" Change radius"
    )
    with pytest.raises(ValueError, match=message):
        sample(Half(3.0), kind(**SHORT))
    first = next(
        kind(radius=9.0).run(CountedTarget(Half(3.0)), Budget(), Generator().manual_seed(0))
    )
    assert (first.chains[..., 0] > 3.0).all()


def test_divergences_are_counted_after_the_warm_up() -> None:
    figures = sample(Stiff(), PyroHMC(chains=2, warmup=0, draws=6, trajectory_length=5.0, steps=5))[
        -1
    ].diagnostics
    assert figures["divergences"] == 12
    assert figures["accept_rate"] == 0
    assert figures["r_hat"] == math.inf  # no chain ever moved


def test_hmc_takes_the_steps_it_is_given() -> None:
    figures = sample(Normal((1.0, 1.0)), PyroHMC(**SHORT, trajectory_length=0.7, steps=7))[
        -1
    ].diagnostics
    assert figures["steps_per_draw"] == 7
    assert figures["step_size"] == pytest.approx(0.1)


def test_trajectories_that_reach_their_limit_are_counted() -> None:
    problem = Normal((1.0, 1.0), 0.999)
    hmc = sample(problem, PyroHMC(**SHORT, trajectory_length=50.0, max_steps=3))[-1].diagnostics
    assert (hmc["steps_per_draw"], hmc["cut_short"]) == (3, 16)
    nuts = sample(problem, PyroNUTS(**SHORT, max_tree_depth=1))[-1].diagnostics
    assert (nuts["steps_per_draw"], nuts["cut_short"]) == (1, 16)


@both
def test_a_dense_mass_matrix_straightens_a_narrow_ridge(kind: type[Sampler]) -> None:
    problem = Normal((1.0, 1.0, 1.0), 0.99)
    steps = [
        sample(problem, kind(chains=1, warmup=120, draws=50, dense_mass=dense))[-1].diagnostics[
            "steps_per_draw"
        ]
        for dense in (False, True)
    ]
    assert steps[1] < 0.7 * steps[0]


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (
            PyroNUTS,
            {"chains": 0},
            r"PyroNUTS\(chains=...\) must be at least 1, got 0; the default is 4",
        ),
        (PyroNUTS, {"warmup": -1}, r"PyroNUTS\(warmup=...\) must be 0 or more, got -1"),
        (PyroNUTS, {"draws": 0}, r"PyroNUTS\(draws=...\) must be at least 1, got 0"),
        (
            PyroNUTS,
            {"max_tree_depth": 0},
            r"PyroNUTS\(max_tree_depth=...\) must be at least 1, got 0",
        ),
        (
            PyroHMC,
            {"target_accept": 1.0},
            r"PyroHMC\(target_accept=...\) must lie in \(0, 1\), got 1.0",
        ),
        (
            PyroHMC,
            {"radius": math.inf},
            r"PyroHMC\(radius=...\) must be positive and finite, got inf",
        ),
        (
            PyroHMC,
            {"trajectory_length": 0.0},
            r"PyroHMC\(trajectory_length=...\) must be positive and finite, got 0.0",
        ),
        (
            PyroHMC,
            {"steps": 0},
            r"PyroHMC\(steps=...\) must lie in 1 to max_steps, or be None, got 0",
        ),
        (PyroHMC, {"max_steps": 0}, r"PyroHMC\(max_steps=...\) must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_named(
    kind: type[Sampler], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**fields)
