"""The nearest-neighbour divergence: no bias where q = p, honest scatter, repeated and correlated
draws seen through.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.metrics.base import Estimate, Skipped
from bench.metrics.kl import KlPQ
from bench.metrics.knn import KlKnn, kl_knn, kl_knn_reverse
from methods.base import Draws
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import SIGMAS, StandardNormal, compare, found, within

DIRECTIONS = {"qp": kl_knn, "pq": kl_knn_reverse}


def repeat(estimator, q: cases.Gaussian, n: int, times: int) -> list[Estimate]:  # type: ignore[no-untyped-def]
    p = cases.standard(len(q.loc))
    return [
        found(estimator(q.sample(n, cases.rng(s)), p.sample(n, cases.rng(10_000 + s))))
        for s in range(times)
    ]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dim", [2, 10])
def test_two_samples_of_one_law_read_zero(direction: str, dim: int) -> None:
    results = repeat(DIRECTIONS[direction], cases.standard(dim), 400, 40)
    values = np.array([result.value for result in results])
    assert abs(values.mean()) < SIGMAS * values.std(ddof=1) / np.sqrt(len(values))
    assert (values < 0).any()  # nothing is clamped
    assert np.mean([abs(result.value) < 1.96 * result.stderr for result in results]) >= 0.88


@pytest.mark.parametrize(("direction", "pair"), [("qp", "shift"), ("pq", "scale")])
@pytest.mark.parametrize("dim", [2, 10])
def test_standard_error_is_the_scatter(direction: str, pair: str, dim: int) -> None:
    results = repeat(DIRECTIONS[direction], cases.PAIRS[pair](dim), 400, 40)
    scatter = np.std([result.value for result in results], ddof=1)
    claimed = np.sqrt(np.mean([result.stderr**2 for result in results]))
    assert 0.75 * scatter < claimed < 1.9 * scatter


def test_close_to_the_closed_form_in_the_plane() -> None:
    q, p = cases.shifted(2, by=1.0), cases.standard(2)
    draws, truth = q.sample(6000, cases.rng(0)), p.sample(6000, cases.rng(1))
    assert within(
        kl_knn(draws, truth), q.kl(p), slack=0.05
    )  # some bias is the nature of the estimator
    q = cases.scaled(2, by=0.7)
    assert within(kl_knn_reverse(q.sample(6000, cases.rng(0)), truth), p.kl(q), slack=0.15)
    assert found(kl_knn_reverse(q.sample(6000, cases.rng(0)), truth)).value > 0.2 > q.kl(p) - 0.1


def with_repeats(sample: Tensor, share: float, seed: int) -> Tensor:
    """As a Metropolis chain that stays where it is with the given probability."""
    at = torch.arange(len(sample))
    stays = torch.rand(len(sample), generator=cases.rng(seed)) < share
    stays[0] = False
    return sample[torch.cummax(torch.where(stays, -1, at), 0).values]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dim", [2, 10])
def test_repeated_rows_are_one_place(direction: str, dim: int) -> None:
    draws, truth = cases.normal(cases.rng(0), 2000, dim), cases.normal(cases.rng(1), 2000, dim)
    assert within(DIRECTIONS[direction](with_repeats(draws, 0.2, seed=2), truth), 0.0)
    assert within(DIRECTIONS[direction](torch.cat([draws, draws]), truth), 0.0)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("memory", [0, 2])
def test_equation(k: int, memory: int) -> None:
    """Against the formula by whole distance matrices: 60 places, the first 20 of them visited three
    times in a row.
    """
    places, truth = (
        cases.normal(cases.rng(0), 60, 2) + 0.5,
        cases.normal(cases.rng(1), 80, 2) * torch.tensor([1.0, 50.0]),
    )
    visits = torch.where(torch.arange(60) < 20, 3, 1)
    row = visits.cumsum(0) - visits
    root = torch.linalg.cholesky(truth.T.cov())
    x, y = torch.linalg.solve(root, places.T).T, torch.linalg.solve(root, truth.T).T
    apart = (row[:, None] - row).abs() > memory
    own = torch.cdist(x, x).where(apart, torch.inf).sort(1).values[:, k - 1]
    ratios = 2 * torch.log(torch.cdist(x, y).sort(1).values[:, k - 1] / own) + torch.log(
        80 / apart.double().sum(1)
    )
    expected = float((visits * ratios).sum() / visits.sum())
    result = found(kl_knn(places.repeat_interleave(visits, 0), truth, k=k, memory=memory))
    assert result.value == pytest.approx(expected, rel=1e-9)


def test_draws_of_one_walk_are_not_neighbours() -> None:
    chains = cases.autoregressive(0.9, cases.rng(5), dim=10)
    comparison = compare(chains, StandardNormal(10), n=4000)
    naive = found(kl_knn(comparison.draws, comparison.truth)).value
    assert naive > 1.0  # truth 0: the walk's own steps are the nearest
    assert abs(found(KlKnn().measure(comparison)).value) < 0.25


def test_a_walk_has_a_wider_interval_than_independent_draws() -> None:
    problem = StandardNormal(10)
    walk = compare(cases.autoregressive(0.95, cases.rng(5), draws=500, dim=10), problem)
    independent = compare(Draws(cases.normal(cases.rng(5), 4, 500, 10)), problem)
    for metric in (KlKnn(), KlPQ()):
        assert found(metric.measure(walk)).stderr > 1.3 * found(metric.measure(independent)).stderr


def test_samples_that_share_draws_are_refused() -> None:
    sample = cases.normal(cases.rng(0), 500, 3)
    result = kl_knn(sample, sample)
    assert isinstance(result, Skipped)
    assert result.reason.startswith("500 draws are draws of the truth")


def test_a_chain_that_stays_is_refused() -> None:
    few = cases.normal(cases.rng(0), 6, 3).repeat_interleave(100, 0)
    result = kl_knn(few, cases.normal(cases.rng(1), 600, 3))
    assert isinstance(result, Skipped)
    assert result.reason.startswith("6 distinct draws are too few")
    burst = torch.cat(
        [cases.normal(cases.rng(0), 20, 3), cases.normal(cases.rng(2), 1, 3).expand(1000, 3)]
    )
    result = kl_knn(burst, cases.normal(cases.rng(1), 600, 3), memory=50)
    assert isinstance(result, Skipped)
    assert "one walk" in result.reason


def test_neighbours_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"KlKnn\(k=\.\.\.\) must be at least 1, got 0"):
        KlKnn(k=0)
