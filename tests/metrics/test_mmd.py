"""The maximum mean discrepancy against its closed form for Gaussians: unbiased, negative at times,
with intervals that hold.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench.metrics import mmd as module
from bench.metrics.base import Estimate
from bench.metrics.mmd import Mmd, mmd
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import SIGMAS, StandardNormal, compare, found, within

# of sums of a few hundred kernels, each worked out in single precision
SINGLE = {"rtol": 2e-6, "atol": 1e-6}


def closed_form(q: cases.Gaussian, p: cases.Gaussian, bandwidth: float) -> float:
    """MMD^2 of two Gaussians: every expectation of the kernel is a Gaussian integral."""

    def kernel(a: cases.Gaussian, b: cases.Gaussian) -> float:
        width = bandwidth**2 * torch.eye(len(a.loc), dtype=torch.float64)
        covariance = a.factor @ a.factor.T + b.factor @ b.factor.T + width
        gap = a.loc - b.loc
        power = gap @ torch.linalg.solve(covariance, gap)
        return float(torch.exp(0.5 * (width.logdet() - covariance.logdet() - power)))

    return kernel(q, q) + kernel(p, p) - 2 * kernel(q, p)


def repeat(q: cases.Gaussian, n: int, m: int, times: int) -> list[Estimate]:
    p = cases.standard(len(q.loc))
    return [
        found(mmd(q.sample(n, cases.rng(s)), p.sample(m, cases.rng(10_000 + s))))
        for s in range(times)
    ]


@pytest.mark.parametrize("pair", cases.PAIRS)
@pytest.mark.parametrize("dim", [2, 10])
def test_closed_form(pair: str, dim: int) -> None:
    q, p = cases.PAIRS[pair](dim), cases.standard(dim)
    truth = p.sample(2000, cases.rng(1))
    bandwidth = module.median_distance(truth[: module.SUBSET])
    assert within(
        mmd(q.sample(1500, cases.rng(0)), truth), closed_form(q, p, bandwidth), slack=1e-4
    )


@pytest.mark.parametrize("pair", ["shift", "scale", "same"])
@pytest.mark.parametrize("dim", [2, 10])
def test_intervals_cover(pair: str, dim: int) -> None:
    q, p = cases.PAIRS[pair](dim), cases.standard(dim)
    bandwidth = math.sqrt(2 * (dim - 2 / 3))  # near the median distance of two standard normals
    truth = closed_form(q, p, bandwidth)
    results = repeat(q, 200, 300, 100)
    assert sum(abs(result.value - truth) < 1.96 * result.stderr for result in results) >= 88


@pytest.mark.parametrize("dim", [2, 10])
def test_two_samples_of_one_law_scatter_about_zero(dim: int) -> None:
    values = np.array([result.value for result in repeat(cases.standard(dim), 200, 200, 100)])
    assert abs(values.mean()) < SIGMAS * values.std(ddof=1) / math.sqrt(len(values))
    assert 25 < (values < 0).sum() < 80  # the diagonal is not counted, nothing is clamped


def test_blocks_agree_with_the_whole_matrix() -> None:
    x, y = cases.normal(cases.rng(0), 700, 3), cases.normal(cases.rng(1), 500, 3) + 0.3
    kernel = torch.exp(-0.5 * torch.cdist(x, y).square())
    pairs = module._between(x, y)
    torch.testing.assert_close(pairs.rows, kernel.sum(1), **SINGLE)
    torch.testing.assert_close(pairs.columns, kernel.sum(0), **SINGLE)
    assert pairs.squares == pytest.approx(float(kernel.square().sum()), rel=SINGLE["rtol"])
    assert pairs.mean == pytest.approx(float(kernel.mean()), abs=1e-7)


def test_draws_far_out_are_compared_in_double_precision() -> None:
    x, y = (1000 * cases.normal(cases.rng(seed), 300, 3) for seed in (0, 1))
    x[:100] = x[0] + cases.normal(cases.rng(2), 100, 3)  # near each other, and far from the rest
    pairs = module._within(x, 0)
    kernel = torch.exp(-0.5 * torch.cdist(x, x).square()).fill_diagonal_(0.0)
    torch.testing.assert_close(pairs.rows, kernel.sum(1), rtol=1e-6, atol=1e-6)
    assert float(module._between(x, y).rows.max()) < 1e-6


@pytest.mark.parametrize("memory", [0, 1, 7])
def test_pairs_of_one_walk_are_left_out(memory: int) -> None:
    x = cases.normal(cases.rng(0), 300, 3)
    at = torch.arange(300)
    apart = (at[:, None] - at).abs() > memory
    kernel = torch.exp(-0.5 * torch.cdist(x, x).square()) * apart
    pairs = module._within(x, memory)
    torch.testing.assert_close(pairs.rows, kernel.sum(1), **SINGLE)
    torch.testing.assert_close(pairs.counts, apart.double().sum(1))
    assert pairs.squares == pytest.approx(float(kernel.square().sum()), rel=SINGLE["rtol"])


def test_correlated_chains_read_zero_and_claim_less() -> None:
    walk = compare(cases.autoregressive(0.9, cases.rng(5)), StandardNormal(2), n=4000)
    result, naive = found(Mmd().measure(walk)), found(mmd(walk.draws, walk.truth))
    assert within(result, 0.0)
    assert result.stderr > 1.5 * naive.stderr


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = cases.normal(cases.rng(0), 700, 3), cases.normal(cases.rng(1), 500, 3) + 0.3
    whole = found(mmd(x, y))
    monkeypatch.setattr(module, "BLOCK", 37)
    assert found(mmd(x, y)).value == pytest.approx(whole.value, abs=1e-6)
