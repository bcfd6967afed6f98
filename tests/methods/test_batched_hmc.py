"""Batched HMC: what its moves leave as it is, what it learns, and what its draws are worth."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from bench.fitting.target import CountedTarget
from bench.metrics.draws.chains import ess_mean
from methods.base import Budget, Draws
from methods.batched_hmc import BatchedHMC
from methods.parts.gaussians.mixtures import Gaussians, defended, fitted
from methods.parts.sampling.adapt import adapt
from methods.parts.sampling.fisher import fisher_frame
from methods.parts.sampling.hmc import Frame, Walkers, frame_of
from methods.parts.sampling.ladder import Ladder
from methods.parts.sampling.learning import drifting
from problems.base import Problem
from problems.eight_schools import EightSchools
from problems.mixture import Mixture
from problems.signed_eight_schools import SignedEightSchools
from tests.helpers.exact_problems import SIGMAS, assert_mean, exact, seeded
from tests.helpers.reference_parts import normal


@dataclass(frozen=True)
class Line(Problem):
    """A Gaussian on two scales, one the inverse of the other.

    Args:
        scale: the larger.
        tie: correlation of its coordinates.
    """

    scale: float = 1e3
    tie: float = 0.999
    name: ClassVar[str] = "line"
    dim: ClassVar[int] = 2
    truth: ClassVar[Any] = None

    @property
    def root(self) -> Tensor:
        """Of the covariance, [2, 2]."""
        return (
            torch.tensor(
                [[self.scale**2, 0.0], [self.tie, math.sqrt(1 - self.tie**2)]], dtype=torch.float64
            )
            / self.scale
        )

    def log_density(self, z: Tensor) -> Tensor:
        inverse = torch.linalg.inv(self.root)
        return -0.5 * ((z - 0.5) @ inverse.T).square().sum(-1)


def end(method: BatchedHMC, problem: Problem, seed: int = 0) -> tuple[Draws, int]:
    """The last of what it yields, and its gradients."""
    target = CountedTarget(problem)
    for last in method.run(target, Budget(), seeded(seed)):
        found = last
    return found, target.gradients


@functools.cache
def run(problem: Problem) -> tuple[Draws, int]:
    return end(BatchedHMC(chains=64, draws=400), problem)


def scores(found: Draws, problem: Problem) -> Tensor:
    """Distances of the means of coordinates and their squares from the truth's, in standard errors
    by the autocorrelation of the chains.
    """
    truth = exact(problem).sample(200_000, seeded(5))
    both, true = (torch.cat([x, x.square()], -1) for x in (found.chains, truth))
    error = both.flatten(0, 1).std(0) / ess_mean(both).sqrt()
    apart = both.mean((0, 1)) - true.mean(0)
    return apart / torch.hypot(error, true.std(0) / math.sqrt(len(true)))


@pytest.mark.parametrize("problem", [EightSchools(), SignedEightSchools(), Mixture()])
def test_draws_have_the_moments_of_the_truth(problem: Problem) -> None:
    found, _ = run(problem)
    assert float(scores(found, problem).abs().max()) < SIGMAS
    assert found.diagnostics["r_hat"] < 1.02
    assert found.diagnostics["ess_bulk"] > 3_000


def test_both_signs_of_tau_have_their_share() -> None:
    positive = (run(SignedEightSchools())[0].chains[..., 1] > 0).double().unsqueeze(-1)
    assert abs(float(positive.mean()) - 0.5) < SIGMAS * 0.5 / math.sqrt(float(ess_mean(positive)))
    assert float(ess_mean(positive)) > 2_000


def test_the_warm_up_costs_no_more_than_the_sampling() -> None:
    problem = EightSchools()
    target = CountedTarget(problem)
    adapt(target, 64, 0.8, seeded(0))
    assert target.gradients < 0.5 * end(BatchedHMC(chains=64), problem)[1]


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_jumps_leave_the_posterior_as_it_is(share: float) -> None:
    problem = SignedEightSchools()
    start = exact(problem).sample(20_000, seeded(3))
    walkers = Walkers(CountedTarget(problem), start, seeded(4))
    # far from the posterior's own shares: one sign is proposed rarely
    frame = frame_of(start[start[:, 1] > 0], dense=True)
    mirror = torch.ones(10, dtype=torch.float64)
    mirror[1:] = -1
    proposal = Gaussians(
        torch.tensor([share, 1 - share], dtype=torch.float64).log(),
        torch.stack([frame.loc, frame.loc * mirror]),
        1.2 * frame.root.expand(2, -1, -1),
    )
    accepted = torch.stack([walkers.jump(proposal) for _ in range(3)])
    assert 0.02 < float(accepted.mean()) < 0.9
    truth = exact(problem).sample(200_000, seeded(5))
    tests = torch.cat([walkers.z.tanh(), walkers.z.square().tanh()], -1)
    assert_mean(tests, torch.cat([truth.tanh(), truth.square().tanh()], -1).mean(0))


def test_one_look_at_scattered_points_shows_the_covariance_of_a_gaussian() -> None:
    problem = Line(scale=10.0, tie=0.6)
    z = 4 * torch.rand(64, 2, generator=seeded(1), dtype=torch.float64) - 2
    frame = fisher_frame(z, CountedTarget(problem).value_and_grad(z)[1], dense=True)
    covariance = frame.root @ frame.root.T
    torch.testing.assert_close(covariance, problem.root @ problem.root.T, rtol=0.05, atol=0.0)


def test_scales_far_apart_cost_nothing() -> None:
    found, gradients = end(BatchedHMC(chains=32, draws=200), Line())
    flat = (found.chains.flatten(0, 1) - 0.5) / Line().root.square().sum(-1).sqrt()
    assert float(flat.mean(0).abs().max()) < 0.1
    assert float((flat.std(0) - 1).abs().max()) < 0.05
    assert gradients / 32 < 3_000


def test_modes_that_no_chain_walks_between_get_their_share() -> None:
    problem = Mixture(separation=2.0, weight=0.8, scale=0.3)
    found, _ = end(BatchedHMC(chains=64, draws=300), problem)
    right = (found.chains.sum(-1) > 0).double().unsqueeze(-1)
    assert float(right.mean()) == pytest.approx(0.2, abs=SIGMAS * 0.4 / math.sqrt(2_000))
    assert float(ess_mean(right)) > 2_000


def test_without_jumps_chains_stay_in_their_modes() -> None:
    problem = Mixture(separation=2.0, weight=0.8, scale=0.3)
    found, _ = end(BatchedHMC(chains=64, draws=100, jumps=False), problem)
    right = (found.chains.sum(-1) > 0).double().mean(1)
    assert set(right.tolist()) == {0.0, 1.0}
    assert found.diagnostics["jumps_accepted"] == 0


@pytest.mark.parametrize(
    "problem",
    [Mixture(separation=3.0, weight=0.8, scale=0.3), EightSchools()],
    ids=lambda p: p.name,
)
def test_a_ladder_shares_out_the_modes_and_finds_log_z(problem: Problem) -> None:
    found, _ = end(BatchedHMC(chains=32, draws=300, ladder=6), problem)
    assert found.evidence is not None
    assert found.evidence.stderr < 0.05
    apart = found.evidence.log_z - exact(problem).log_z
    assert abs(apart) < SIGMAS * found.evidence.stderr
    assert float(scores(found, problem)[: problem.dim].abs().max()) < SIGMAS


def test_swaps_and_fresh_copies_leave_every_temperature_as_it_is() -> None:
    problem = Mixture(separation=1.0, weight=0.7, scale=0.6)
    z = exact(problem).sample(8_000, seeded(1))
    wide = frame_of(z, dense=True)
    ladder = Ladder(CountedTarget(problem), z, Frame(wide.loc, 2 * wide.root), 3, 2, seeded(2))
    for _ in range(12):
        ladder.advance()
    assert 0.05 < float(ladder.refused.min()) / 12 < 0.95
    truth = exact(problem).sample(200_000, seeded(3))
    assert_mean(
        torch.cat([ladder.z, ladder.z.tanh()], -1), torch.cat([truth, truth.tanh()], -1).mean(0)
    )
    hot = wide.whiten(ladder.rows.z[:8_000]) / 2
    assert_mean(torch.cat([hot, hot.square() - 1], -1), 0.0)


def test_a_drift_is_told_from_chance() -> None:
    before, now = normal(128, 5, seed=1), normal(128, 5, seed=2)
    assert not drifting(before, now)
    assert drifting(before, now + torch.tensor([0, 0, 0.8, 0, 0], dtype=torch.float64))
    far = before.clone()
    far[0] = 1e12  # one chain far away hides no drift
    assert drifting(far, now + torch.tensor([0, 0, 0.8, 0, 0], dtype=torch.float64))


def test_the_mixture_finds_two_bumps() -> None:
    draws = exact(Mixture()).sample(3_000, seeded(1))
    mixture = defended(fitted(draws, (1, 2, 4), seeded(2)), draws)
    fresh = exact(Mixture()).sample(20_000, seeded(3))
    apart = CountedTarget(Mixture()).log_density(fresh) - mixture.log_prob(fresh)
    # a tenth of the weight is kept for a wide component
    assert 0 < float(apart.mean()) < 0.15


def test_runs_are_functions_of_their_seeds() -> None:
    method = BatchedHMC(chains=16, draws=20)
    a, b, c = (end(method, EightSchools(), seed)[0].chains for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_density_that_is_nowhere_finite_is_refused_in_a_sentence() -> None:
    class Nowhere(Mixture):
        def log_density(self, z: Tensor) -> Tensor:
            return z.sum(-1) * math.nan

    with pytest.raises(ValueError, match="the density is finite at 0 of"):
        end(BatchedHMC(), Nowhere())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chains": 1}, "BatchedHMC(chains=...) must be at least 2, got 1"),
        ({"draws": 0}, "BatchedHMC(draws=...) must be at least 1, got 0"),
        ({"target_accept": 1.0}, "BatchedHMC(target_accept=...) must lie in (0, 1), got 1.0"),
        ({"ladder": 0}, "BatchedHMC(ladder=...) must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        BatchedHMC(**fields)
