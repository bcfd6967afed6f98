"""Speed of our own code, in groups whose members are peers: read the ratios, the seconds belong to
the machine.

Run with `tox -e bench`; the test runs skip them.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.fitting.fit import fit
from bench.fitting.target import WARM_UP, CountedTarget
from bench.metrics.base import Comparison
from bench.plugins import registry
from bench.plugins.built_in import BUILT_IN
from methods import Budget, Gaussian, NotApplicableError
from methods.parts.sampling.hmc import Walkers, frame_of
from tests.helpers.cells import cells, own, run

SCHOOLS = registry.load(registry.find("problems", "eight-schools"))()
GRADIENTS = 5_000
METRICS = ("kl_qp", "kl_pq", "kl_knn", "mmd", "mean_error", "sd_error")


@pytest.mark.parametrize("rows", [1, 64, 512])
@pytest.mark.parametrize("compiled", [False, True], ids=["as written", "recorded"])
def test_gradient(benchmark: Any, rows: int, compiled: bool) -> None:
    benchmark.group = f"value and gradient of eight schools, {rows} rows"
    target = CountedTarget(SCHOOLS, compiled=compiled)
    z = torch.randn(
        rows, SCHOOLS.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    for _ in range(WARM_UP):
        target.value_and_grad(z)
    benchmark(target.value_and_grad, z)


@pytest.mark.parametrize("rows", [64, 4096])
@pytest.mark.parametrize("name", ["eight-schools-signed", "funnel", "logistic-regression"])
@pytest.mark.parametrize("what", ["log density", "value and gradient"])
def test_density(benchmark: Any, name: str, rows: int, what: str) -> None:
    benchmark.group = f"{what}, {rows} rows"
    problem = registry.load(registry.find("problems", name))()
    target = CountedTarget(problem)
    generator = torch.Generator().manual_seed(0)
    z = 0.1 * torch.randn(rows, problem.dim, generator=generator, dtype=torch.float64)
    call = target.log_density if what == "log density" else target.value_and_grad
    for _ in range(WARM_UP):
        call(z)
    benchmark(call, z)


@pytest.mark.parametrize("chains", [16, 128, 512])
def test_trajectory(benchmark: Any, chains: int) -> None:
    """Eight leapfrog steps of every chain at once, from draws of the posterior."""
    benchmark.group = "a trajectory of batched HMC, eight steps on eight schools"
    generator = torch.Generator().manual_seed(0)
    draws = SCHOOLS.truth.sample(4000, generator)
    walkers = Walkers(CountedTarget(SCHOOLS), draws[:chains], generator)
    frame, step = frame_of(draws, dense=True), torch.tensor(0.3, dtype=torch.float64)
    benchmark.pedantic(
        lambda: walkers.trajectory(frame, step, 8), rounds=50, warmup_rounds=WARM_UP // 8 + 1
    )


@pytest.mark.parametrize("name", [name for name in BUILT_IN["methods"] if name != "exact"])
def test_fit(benchmark: Any, name: str) -> None:
    """Every method for as many gradients: what it adds to them. Set-up counts."""
    benchmark.group = f"a fit of eight schools, {GRADIENTS:,} gradients at most"
    method = registry.load(registry.find("methods", name))()
    budget = Budget(gradients=GRADIENTS, guard=60)

    def once() -> None:
        try:
            for _ in fit(SCHOOLS, method, budget, torch.Generator().manual_seed(0)):
                pass
        except NotApplicableError as error:
            pytest.skip(str(error))
        except TimeoutError:  # spent before the first approximation: what it took counts
            pass

    benchmark.pedantic(once, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("name", ["eight-schools", "eight-schools-signed"])
def test_gaussian_vb_to_its_end(benchmark: Any, name: str, covariance: str) -> None:
    benchmark.group = "a whole fit of Gaussian VB"
    problem = registry.load(registry.find("problems", name))()
    method = registry.load(registry.find("methods", "gaussian-vb"))(covariance=covariance)
    benchmark.pedantic(
        lambda: list(fit(problem, method, Budget(), torch.Generator().manual_seed(0))),
        rounds=3,
        warmup_rounds=1,
    )


@pytest.mark.parametrize("dim", [2, 10, 50])
@pytest.mark.parametrize("name", ["kl_qp", "kl_pq", "kl_knn", "kl_upper"])
def test_kl(benchmark: Any, name: str, dim: int) -> None:
    """Of a Gaussian with its density; by neighbours where the metric goes by draws alone."""
    benchmark.group = f"KL estimators at n = 4,000, d = {dim}"
    problem = registry.load(registry.find("problems", "isotropic-2"))(dim=dim)
    q = Gaussian(torch.zeros(dim).double(), torch.ones(dim).double())
    draws, truth = (
        law.sample(4000, torch.Generator().manual_seed(1)) for law in (q, problem.truth)
    )
    metric = registry.load(registry.find("metrics", name))()
    benchmark.pedantic(
        lambda: metric.measure(Comparison(problem, q, draws, truth)), rounds=3, warmup_rounds=1
    )


@pytest.mark.parametrize("n", [1000, 4000])
@pytest.mark.parametrize("name", METRICS)
def test_metric(benchmark: Any, name: str, n: int) -> None:
    benchmark.group = f"metrics at n = {n}, d = 10"
    metric = registry.load(registry.find("metrics", name))()
    exact = registry.load(registry.find("methods", "exact"))()
    (approximation,) = exact.reveal(SCHOOLS.truth)
    draws, truth = (SCHOOLS.truth.sample(n, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    benchmark.pedantic(  # a comparison of its own each time, for one keeps what was worked out
        lambda: metric.measure(Comparison(SCHOOLS, approximation, draws, truth)),
        rounds=3,
        warmup_rounds=1,
    )


@pytest.mark.parametrize("jobs", [0, 1, 2], ids=["inline", "isolated", "two side by side"])
def test_overhead_of_a_cell(benchmark: Any, tmp_path: Path, jobs: int) -> None:
    benchmark.group = "twenty cells that do nothing"
    chosen = cells([own("Walk:steps=1")], seeds=20)
    folders = (tmp_path / str(i) for i in range(100))
    benchmark.pedantic(lambda: run(chosen, next(folders), jobs), rounds=3, warmup_rounds=1)
