"""The density that an approximation hands out: judged on many fresh draws of its own, and only
where it is the density of these draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped
from bench.metrics.brackets import own
from bench.metrics.draws.monte_carlo import possible
from bench.metrics.draws.work import affordable, per_row
from bench.metrics.elbo import Elbo, ElboGap
from bench.metrics.evidence import LogZError, LogZErrorReverse
from bench.metrics.importance import ImportanceEss, PsisKhat
from bench.metrics.kl import KlPQ, KlQP
from bench.metrics.kl_bounds import KlLower, KlUpper
from methods.base import Approximation
from problems.base import Problem
from problems.funnel import Funnel
from problems.gaussian import Gaussian100, Isotropic100
from problems.gaussian_mixture import GaussianMixture10, GaussianMixture50
from problems.mixture import Mixture
from problems.student_mixture import StudentMixture
from problems.student_t import StudentT
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import StandardNormal, compare, found, rng, within

OF_DENSITIES: list[Metric] = [
    KlQP(), KlPQ(), KlLower(), KlUpper(), Elbo(), ElboGap(), LogZError(), LogZErrorReverse(),
    ImportanceEss(), PsisKhat(),
]  # fmt: skip
every_metric = pytest.mark.parametrize("metric", OF_DENSITIES, ids=lambda metric: metric.name)


@dataclass(frozen=True, eq=False)
class Told(Approximation):
    """A standard normal whose density is told otherwise."""

    dim: int
    tell: Callable[[Tensor], Tensor]

    def sample(self, n: int, generator: Generator) -> Tensor:
        return cases.normal(generator, n, self.dim)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.tell(cases.standard(self.dim).log_prob(z))


@dataclass(frozen=True, eq=False)
class Twin(Approximation):
    """An exact posterior as an approximation, with its density."""

    problem: Problem

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.problem.truth.sample(n, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.problem.log_density(z) - (self.problem.truth.log_z or 0.0)


# name, what log_prob makes of the right density, the words that the reason begins with, and why
BROKEN = [
    ("too low", lambda right: right - 0.05, "log_prob is not normalised",
     "reads a negative divergence for a perfect approximation"),
    ("too high", lambda right: right + 0.05, "log_prob is not normalised",
     "hides as much of a divergence"),
    ("half its height", lambda right: right - math.log(2), "log_prob is not normalised",
     "a mixture whose weights sum to two"),
    ("a column", lambda right: right.unsqueeze(-1), "log_prob returned shape [2, 1]",
     "broadcasts against log p to all pairs of draws, without an error"),
    ("a sum", lambda right: right.sum(), "log_prob returned shape []",
     "is one number for all draws"),
    ("another law", lambda right: 1.1 * right, "log_prob is not",
     "narrower than the draws, and so much lower"),
]  # fmt: skip


@every_metric
@pytest.mark.parametrize(("name", "tell", "begins", "why"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_density_that_is_not_its_own_is_set_aside(
    metric: Metric, name: str, tell: Callable[[Tensor], Tensor], begins: str, why: str
) -> None:
    found_ = metric.measure(compare(Told(2, tell), StandardNormal(2), n=4000))
    assert isinstance(found_, Skipped), why
    assert found_.reason.startswith(begins)


@pytest.mark.parametrize("dim", [1, 2, 10])
@pytest.mark.parametrize("off", [-0.05, 0.05])
def test_four_thousand_draws_find_a_constant_of_a_twentieth(dim: int, off: float) -> None:
    q = Told(dim, lambda right: right + off)
    bridge = own.held_against(q.sample(4000, rng(1)), q.log_prob, rng(2))
    assert bridge is not None
    assert abs(float(bridge.scores[0])) > own.SIGMAS
    assert bridge.log_z == pytest.approx(off, abs=0.02)


SOUND: list[Problem] = [
    Isotropic100(), Gaussian100(), GaussianMixture10(), GaussianMixture50(), Mixture(), Funnel(),
    StudentMixture(), *(StudentT(dim=dim, dof=dof) for dim in (2, 10) for dof in (1, 3)),
]  # fmt: skip


@pytest.mark.parametrize("n", [50, 4000])
@pytest.mark.parametrize("problem", SOUND, ids=repr)
def test_a_right_density_is_never_accused(problem: Problem, n: int) -> None:
    q = Twin(problem)
    for seed in range(2):
        bridge = own.held_against(q.sample(n, rng(seed)), q.log_prob, rng(seed + 10))
        assert bridge is None or own.accused(bridge) is None


@pytest.mark.parametrize("dim", [2, 10])
@pytest.mark.parametrize("pair", cases.PAIRS)
def test_many_fresh_draws_are_judged(pair: str, dim: int) -> None:
    q, p = cases.PAIRS[pair](dim), cases.standard(dim)
    comparison = compare(q, StandardNormal(dim), n=1000)
    for metric, truth in ((KlQP(), q.kl(p)), (KlPQ(), p.kl(q))):
        result = found(metric.measure(comparison))
        assert result.draws == own.MOST
        assert within(result, truth)
        assert result.stderr < 0.005 * (1 + truth)
    assert metric.measure(compare(q, StandardNormal(dim), n=1000)) == result


def test_draws_of_a_reference_are_all_that_it_holds() -> None:
    problem = StandardNormal(2, stored=True, log_z_stderr=0.0)
    result = found(KlPQ().measure(compare(cases.shifted(2), problem, n=1000)))
    assert result.draws == 10_000  # every second one: the others are those of the noise floor
    assert within(result, cases.standard(2).kl(cases.shifted(2)))


def test_a_density_in_a_column_is_an_error_of_the_problem() -> None:
    class Column(StandardNormal):
        def log_density(self, z: Tensor) -> Tensor:
            return super().log_density(z).unsqueeze(-1)

    with pytest.raises(ValueError, match=r"log_density returned shape \[\d+, 1\]"):
        KlQP().measure(compare(cases.standard(2), Column(2)))


@pytest.mark.parametrize("off", [-0.02, -0.5])
def test_a_negative_divergence_is_no_figure(off: float) -> None:
    class Wrong(StandardNormal):
        def log_density(self, z: Tensor) -> Tensor:
            return super().log_density(z) - off

    for metric in (KlQP(), KlUpper(), ElboGap()):
        found_ = metric.measure(compare(cases.standard(2), Wrong(2)))
        assert isinstance(found_, Skipped)
        assert "no divergence is negative" in found_.reason


@pytest.mark.parametrize(
    ("value", "stderr", "kind", "stays"),
    [
        (-0.049, 0.01, "exact", True),
        (-0.06, 0.01, "exact", False),
        (-0.06, 0.01, "lower bound", True),
        (-1e-5, 0.0, "exact", True),  # mass that 100,000 draws have not met
        (-2e-4, 0.0, "exact", False),
    ],
)
def test_what_noise_allows(value: float, stderr: float, kind: str, stays: bool) -> None:
    figure = Estimate(value, stderr, kind, draws=100_000)  # type: ignore[arg-type]
    assert isinstance(possible(figure), Estimate) == stays


def test_draws_that_are_not_finite_are_left_out_and_said() -> None:
    class Seldom(Told):
        def sample(self, n: int, generator: Generator) -> Tensor:
            z = super().sample(n, generator)
            return torch.where(z[:, :1] > 4.0, torch.inf, z)

    q = Seldom(2, lambda right: right)
    draws, truth = (cases.normal(rng(seed), 1000, 2) for seed in (0, 1))
    result = found(KlQP().measure(Comparison(StandardNormal(2), q, draws, truth, 3)))
    assert "fresh draws were not finite" in result.note
    assert result.draws is not None
    assert own.MOST - 20 < result.draws < own.MOST


def test_work_is_counted_for_each_row_and_the_same_every_time() -> None:
    x = torch.ones(50, 10, dtype=torch.float64)
    assert per_row(lambda n: torch.zeros(n, 10)) == 10
    assert per_row(lambda n: x[:n] @ torch.ones(10, 100, dtype=torch.float64)) >= 100
    loop = per_row(lambda n: [math.sqrt(float(row[0])) for row in x[:n]])
    assert loop > 500
    assert loop == per_row(lambda n: [math.sqrt(float(row[0])) for row in x[:n]])


@pytest.mark.parametrize(
    ("work", "rows"), [(1e9, 5000), (43_210.0, 4300), (100.0, 20)], ids=["all", "some", "least"]
)
def test_rows_are_what_the_work_allows(work: float, rows: int) -> None:
    assert affordable(lambda n: torch.zeros(n, 10), least=20, most=5000, work=work) == rows
