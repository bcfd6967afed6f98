"""The figures of chains: right where the answer is known, the worst where coordinates differ, and
NaN where there is none.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from methods.parts.diagnostics import ChainDiagnostics


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(0), dtype=torch.float64)


def test_figures_of_independent_draws() -> None:
    figures = ChainDiagnostics(normal(4, 1000, 3), normal(4, 1000), {"divergences": 2.0})
    assert 0.999 < figures["r_hat"] < 1.01
    assert 3200 < figures["ess_bulk"] < 4600
    assert 3200 < figures["ess_tail"] < 4600
    assert figures["e_fmi"] == pytest.approx(
        2.0, abs=0.2
    )  # independent energies: twice the variance over the variance
    assert figures["divergences"] == 2.0


def test_figures_name_the_worst_coordinate_and_the_worst_chain() -> None:
    chains, energies = normal(4, 1000, 3), normal(4, 1000)
    chains[1, :, 2] += 3
    energies[2] = energies[2].cumsum(0)  # a walk: each change is small beside the spread
    figures = ChainDiagnostics(chains, energies, {})
    assert figures["r_hat"] > 1.4
    assert figures["ess_bulk"] < 20
    assert figures["e_fmi"] < 0.1


@pytest.mark.parametrize(
    "chains", [normal(4, 3, 2), normal(4, 1, 2), torch.ones(4, 50, 2, dtype=torch.float64)]
)
def test_figures_that_cannot_be_had_are_nan(chains: Tensor) -> None:
    figures = ChainDiagnostics(
        chains, torch.ones(chains.shape[:2], dtype=torch.float64), {"step_size": 0.5}
    )
    assert math.isnan(figures["r_hat"])
    assert math.isnan(figures["e_fmi"])
    assert figures["step_size"] == 0.5
