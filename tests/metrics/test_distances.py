"""Metrics of distance, weight and interval against closed forms: what each reads where the
answer is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Skipped
from bench.metrics.coverage import Coverage
from bench.metrics.evidence import LogZError, LogZErrorReverse, log_mean
from bench.metrics.importance import ImportanceEss, PsisKhat, psis_khat
from bench.metrics.ksd import Ksd, ksd
from bench.metrics.quantiles import QuantileError
from bench.metrics.sliced_wasserstein import SlicedWasserstein, sliced_wasserstein
from bench.running.finite import finite
from methods.base import Approximation, Draws, Evidence
from tests.helpers import metric_cases as cases
from tests.helpers.metric_cases import Affine, Folded, StandardNormal, compare, found, within

# the normal's, at the ends of central intervals
QUANTILES = {
    0.5: 0.674490,
    0.9: 1.644854,
    0.95: 1.959964,
}


def phi(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def missed(shift: float = 0.0, scale: float = 1.0) -> float:
    """Largest miss of the central intervals of N(shift, scale^2) under N(0, 1)."""
    return max(
        abs(phi(scale * z + shift) - phi(-scale * z + shift) - claim)
        for claim, z in QUANTILES.items()
    )


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_sliced_wasserstein_of_gaussians(dim: int) -> None:
    problem = StandardNormal(dim, halves=None)
    assert within(SlicedWasserstein().measure(compare(cases.shifted(dim), problem)), 0.49 / dim)
    assert within(
        SlicedWasserstein().measure(compare(cases.scaled(dim, 1.5), problem)), 0.25, slack=0.01
    )
    assert within(SlicedWasserstein().measure(compare(cases.standard(dim), problem)), 0.0)


def test_sliced_wasserstein_of_samples_of_different_size_is_that_of_repeated_rows() -> None:
    draws, truth = cases.normal(cases.rng(0), 100, 2) + 1, cases.normal(cases.rng(1), 300, 2)
    once = sliced_wasserstein(
        draws, truth, generator=cases.rng(2), effective=torch.full((1,), 100.0)
    )
    thrice = sliced_wasserstein(
        draws.repeat(3, 1), truth, generator=cases.rng(2), effective=torch.full((1,), 100.0)
    )
    assert found(once).value == pytest.approx(found(thrice).value)


def test_lines_are_seeded() -> None:
    comparison = compare(cases.shifted(3), StandardNormal(3), n=200)
    other = Comparison(
        comparison.problem, comparison.approximation, comparison.draws, comparison.truth, seed=1
    )
    assert (
        found(SlicedWasserstein().measure(comparison)).value
        != found(SlicedWasserstein().measure(other)).value
    )


@pytest.mark.parametrize("dim", [2, 10])
def test_ksd_is_zero_at_the_truth_alone(dim: int) -> None:
    problem = StandardNormal(dim)
    assert within(Ksd().measure(compare(cases.standard(dim), problem)), 0.0)
    for other in (cases.shifted, cases.scaled):
        assert not within(Ksd().measure(compare(other(dim), problem, n=4000)), 0.0)


def test_ksd_of_one_pair_by_autograd() -> None:
    x = cases.normal(cases.rng(0), 10, 2)
    truth = cases.normal(cases.rng(1), 400, 2)
    mean, factor = truth.mean(0), torch.linalg.cholesky(truth.T.cov())
    unit = torch.linalg.solve_triangular(factor, (truth - mean).T, upper=False).T
    width = float(torch.pdist(unit).median())
    white = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False).T

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (1 + (a - b).square().sum() / width**2).rsqrt()

    total = 0.0
    for i, j in ((i, j) for i in range(10) for j in range(10) if i != j):
        a, b, s, t = white[i], white[j], -x[i] @ factor, -x[j] @ factor
        at_a, at_b = torch.func.grad(kernel, 0)(a, b), torch.func.grad(kernel, 1)(a, b)
        mixed = torch.func.jacrev(torch.func.grad(kernel, 0), 1)(a, b).trace()
        total += float(s @ t * kernel(a, b) + s @ at_b + t @ at_a + mixed)
    assert found(ksd(x, -x, truth)).value == pytest.approx(total / (10 * 9))


def test_khat_of_pareto_tails() -> None:
    for shape in (0.3, 0.9):
        weights = torch.rand(10_000, generator=cases.rng(0), dtype=torch.float64).log() * -shape
        assert within(psis_khat(weights), shape)


def test_khat_of_gaussians_and_of_the_truth() -> None:
    problem = StandardNormal(2)
    perfect = found(PsisKhat().measure(compare(cases.standard(2), problem)))
    assert (perfect.value, perfect.kind) == (0.0, "estimate")
    assert found(PsisKhat().measure(compare(cases.scaled(2, 1.5), problem))).value < 0.2
    narrow = found(PsisKhat().measure(compare(cases.scaled(2, 0.3), problem, n=10_000)))
    assert within(
        narrow, 0.91
    )  # in two dimensions the weights are exactly Pareto, with k = 1 - s^2
    assert "Above 0.7" in narrow.note


@pytest.mark.parametrize("by", [0.3, 0.7])
def test_effective_size_after_weighting(by: float) -> None:
    comparison = compare(cases.shifted(3, by), StandardNormal(3), n=4000)
    assert within(ImportanceEss().measure(comparison), math.exp(-(by**2)))
    assert found(
        ImportanceEss().measure(compare(cases.standard(3), StandardNormal(3)))
    ).value == pytest.approx(1.0)


@pytest.mark.parametrize(
    "metric", [LogZError(), LogZErrorReverse()], ids=lambda metric: metric.name
)
def test_evidence(metric: LogZError | LogZErrorReverse) -> None:
    perfect = found(metric.measure(compare(cases.standard(2), StandardNormal(2))))
    assert abs(perfect.value) < 1e-9
    assert within(metric.measure(compare(cases.shifted(2), StandardNormal(2))), 0.0)
    assert (
        found(
            metric.measure(
                compare(cases.shifted(2), StandardNormal(2, stored=True, log_z_stderr=0.1))
            )
        ).stderr
        > 0.1
    )


STATED = Evidence(1.7, 0.05)  # of a posterior whose log Z is 1.5
CHAINS = Draws(torch.zeros(4, 100, 2, dtype=torch.float64), evidence=STATED)


@dataclass(frozen=True, eq=False)
class Stating(Approximation):
    """N(0.7 e_1, I) with its density, and an estimate of log Z of its own."""

    evidence: Evidence | None = STATED

    def sample(self, n: int, generator: Generator) -> Tensor:
        return cases.shifted(2).sample(n, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        return cases.shifted(2).log_prob(z)


@pytest.mark.parametrize("q", [CHAINS, Stating()], ids=["draws alone", "with a density"])
def test_evidence_that_the_method_states_itself_counts_before_its_weights(q: Approximation) -> None:
    result = found(LogZError().measure(compare(q, StandardNormal(2))))
    assert (result.value, result.stderr) == (pytest.approx(0.2), pytest.approx(0.05))
    assert result.note.startswith("The method's own estimate.")


def test_beside_a_stated_evidence_the_note_tells_what_the_weights_read() -> None:
    weighted = found(LogZError().measure(compare(cases.shifted(2), StandardNormal(2))))
    result = found(LogZError().measure(compare(Stating(), StandardNormal(2))))
    assert f"weighted to p read {weighted.value:.3g} ± {1.96 * weighted.stderr:.2g}" in result.note


def test_the_error_of_a_references_evidence_is_added_to_a_stated_one() -> None:
    problem = StandardNormal(2, stored=True, log_z_stderr=0.12)
    assert found(LogZError().measure(compare(CHAINS, problem))).stderr == pytest.approx(0.13)


@pytest.mark.parametrize(
    "stated", [Evidence(math.nan, 0.1), Evidence(1.5, math.inf), Evidence(1.5, -0.1)], ids=str
)
def test_a_stated_evidence_that_is_no_figure_is_skipped(stated: Evidence) -> None:
    result = LogZError().measure(compare(Stating(stated), StandardNormal(2)))
    assert isinstance(result, Skipped)
    assert "own estimate of log Z" in result.reason


def test_draws_that_state_no_evidence_have_none() -> None:
    chains = Draws(torch.zeros(4, 100, 2, dtype=torch.float64))
    assert isinstance(LogZError().measure(compare(chains, StandardNormal(2))), Skipped)


@pytest.mark.parametrize(
    "q",
    [
        Draws(torch.tensor([[[0.0], [math.nan], *[[1.0]] * 20]], dtype=torch.float64), {}, STATED),
        Stating(),
    ],
    ids=["draws", "density"],
)
def test_a_stated_evidence_survives_draws_that_are_not_finite(q: Approximation) -> None:
    draws = q.sample(50, cases.rng(0))
    draws[3, 0] = math.inf
    _, rest, _ = finite(q, draws, draws.shape[1])
    assert rest.evidence == STATED


def test_evidence_of_a_map() -> None:
    comparison = compare(Affine(cases.shifted(2)), StandardNormal(2))
    assert within(LogZError().measure(comparison), 0.0)
    assert isinstance(LogZErrorReverse().measure(comparison), Skipped)
    assert "folds" in found(LogZError().measure(compare(Folded(), StandardNormal(2)))).note


def test_log_mean_of_weights_some_of_which_are_zero() -> None:
    weights = torch.tensor([-math.inf] * 50 + [1000.0] * 50, dtype=torch.float64)
    result = found(log_mean(weights))
    assert result.value == pytest.approx(1000 - math.log(2))
    assert result.stderr == pytest.approx(0.1, rel=0.02)
    assert isinstance(log_mean(torch.full((50,), -math.inf)), Skipped)
    assert "carries 100%" in found(log_mean(torch.tensor([0.0] * 100 + [50.0]))).note


@pytest.mark.parametrize("by", [0.5, 0.8, 1.3])
def test_intervals_of_scaled_gaussians(by: float) -> None:
    comparison = compare(cases.scaled(2, by), StandardNormal(2), n=4000)
    result = found(Coverage().measure(comparison))
    assert within(result, missed(scale=by))
    assert ("-0" in result.note) == (by < 1)
    assert within(QuantileError().measure(comparison), abs(by - 1) * QUANTILES[0.9])


def test_intervals_of_shifted_gaussians() -> None:
    comparison = compare(cases.shifted(2), StandardNormal(2), n=4000)
    assert within(Coverage().measure(comparison), missed(shift=0.7))
    assert within(QuantileError().measure(comparison), 0.7)


REPEATS = 40
PAIRS = [("same", 0.0, 0.0, 0.0), ("shift", 0.49 / 2, missed(shift=0.7), 0.7)]


@pytest.mark.parametrize(("name", "moved", "miss", "off"), PAIRS)
def test_intervals_cover(name: str, moved: float, miss: float, off: float) -> None:
    problem = StandardNormal(2)
    held = np.zeros(3)
    for seed in range(REPEATS):
        comparison = compare(cases.PAIRS[name](2), problem, seed=seed, n=400)
        for i, (metric, truth) in enumerate(
            [(SlicedWasserstein(), moved), (Coverage(), miss), (QuantileError(), off)]
        ):
            result = found(metric.measure(comparison))
            held[i] += abs(result.value - truth) <= 1.96 * result.stderr
    assert (held >= 0.88 * REPEATS).all(), held


@pytest.mark.parametrize(
    "metric", [SlicedWasserstein(), Ksd(), Coverage(), QuantileError()], ids=lambda m: m.name
)
def test_chains_have_wider_intervals_that_hold(
    metric: SlicedWasserstein | Ksd | Coverage | QuantileError,
) -> None:
    chains = cases.autoregressive(0.9, cases.rng(3), draws=500)
    comparison = compare(chains, StandardNormal(2), n=2000)
    independent = Comparison(
        comparison.problem, cases.standard(2), comparison.draws, comparison.truth
    )
    assert within(metric.measure(comparison), 0.0)
    assert (
        found(metric.measure(comparison)).stderr > 1.5 * found(metric.measure(independent)).stderr
    )
