"""A metric of your own: the energy distance between two samples.

From the folder of the clone,

    python docs/examples/own_metric.py

measures two Gaussians, one of them the truth itself. The command measures any run by it:

    postbench check docs/examples/own_metric.py:EnergyDistance
    postbench run smoke --metric docs/examples/own_metric.py:EnergyDistance --metric mmd

A metric is a frozen dataclass whose ``measure`` gives an ``Estimate``, a figure with its standard
error, or ``Skipped`` with the reason where there is none to be had.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics import Comparison, Estimate, Metric, Skipped
from methods import Gaussian
from problems.gaussian import Isotropic2


@dataclass(frozen=True)
class EnergyDistance(Metric):
    r"""Energy distance, in the unit of the coordinates: 0 where both laws are the same.

    .. math:: 2\,E\|x - y\| - E\|x - x'\| - E\|y - y'\|

    with draws x of the approximation and y of the truth. Pairs of one draw with itself are left
    out, so that each part is unbiased and so is the figure. Direction: none.

    Standard error: the draws are cut into disjoint parts; the figure is the mean over the parts,
    and their scatter gives its error. It holds for independent draws.

    Source: Szekely & Rizzo, "Energy statistics" (2013), J. Statistical Planning and Inference 143.

    Args:
        parts: how many parts the draws are cut into.
    """

    parts: int = 20
    name: ClassVar[str] = "energy_distance"
    unit: ClassVar[str] = ""
    ideal: ClassVar[float | None] = 0.0

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        size = min(len(comparison.draws), len(comparison.truth)) // self.parts
        if size < 2:
            return Skipped(f"Fewer than {2 * self.parts} draws: too few for {self.parts} parts.")
        # every parts-th row, so that each part of a chain covers all of it
        pairs = zip(
            _cut(comparison.draws, self.parts), _cut(comparison.truth, self.parts), strict=True
        )
        figures = torch.tensor([_energy(x[:size], y[:size]) for x, y in pairs])
        error = float(figures.std()) / math.sqrt(self.parts)
        return Estimate(float(figures.mean()), error, "exact")


def _cut(sample: Tensor, parts: int) -> list[Tensor]:
    return [sample[i::parts] for i in range(parts)]


def _energy(x: Tensor, y: Tensor) -> float:
    return float(2 * torch.cdist(x, y).mean() - torch.pdist(x).mean() - torch.pdist(y).mean())


def main(draws: int = 4000) -> dict[str, Estimate | Skipped]:
    """Measure a shifted Gaussian and the truth itself, print and return both figures."""
    problem, generator = Isotropic2(), torch.Generator().manual_seed(0)
    figures: dict[str, Estimate | Skipped] = {}
    for label, shift in (("shifted by 0.5", 0.5), ("the truth itself", 0.0)):
        q = Gaussian(torch.tensor([shift, 0.0]).double(), torch.ones(2).double())
        comparison = Comparison(
            problem,
            q,
            draws=q.sample(draws, generator),
            truth=problem.truth.sample(draws, generator),
        )
        figures[label] = EnergyDistance().measure(comparison)
        print(f"{label}: {figures[label]}")
    return figures


if __name__ == "__main__":
    main()
