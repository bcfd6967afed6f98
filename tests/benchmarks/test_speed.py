"""Speed of our own code, in groups whose members are peers: read the ratios, the seconds belong to
the machine.

Run with `tox -e bench`; the test runs skip them.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.fitting.target import WARM_UP, CountedTarget
from bench.metrics.base import Comparison
from bench.plugins import registry
from tests.helpers.cells import cells, own, run

SCHOOLS = registry.load(registry.find("problems", "eight-schools"))()
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


@pytest.mark.parametrize("n", [1000, 4000])
@pytest.mark.parametrize("name", METRICS)
def test_metric(benchmark: Any, name: str, n: int) -> None:
    benchmark.group = f"metrics at n = {n}, d = 10"
    metric = registry.load(registry.find("metrics", name))()
    exact = registry.load(registry.find("methods", "exact"))()
    (approximation,) = exact.reveal(SCHOOLS.truth)
    draws, truth = (SCHOOLS.truth.sample(n, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    benchmark.pedantic(
        metric.measure,
        args=(Comparison(SCHOOLS, approximation, draws, truth),),
        rounds=3,
        warmup_rounds=1,
    )


@pytest.mark.parametrize("jobs", [0, 1, 2], ids=["inline", "isolated", "two side by side"])
def test_overhead_of_a_cell(benchmark: Any, tmp_path: Path, jobs: int) -> None:
    benchmark.group = "twenty cells that do nothing"
    chosen = cells([own("Walk:steps=1")], seeds=20)
    folders = (tmp_path / str(i) for i in range(100))
    benchmark.pedantic(lambda: run(chosen, next(folders), jobs), rounds=3, warmup_rounds=1)
