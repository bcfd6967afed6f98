r"""A method of your own: 500 walkers that follow the gradient, with noise.

From the folder of the clone,

    python docs/examples/own_method.py

runs it on one posterior and measures the result. The command does the same on any posterior, beside
any other method, and ``check`` holds the class to the contract of methods:

    postbench check docs/examples/own_method.py:Langevin
    postbench run -p eight-schools -m docs/examples/own_method.py:Langevin -m exact \
        --gradients 200000

A method is a frozen dataclass. Its fields are its settings (``Langevin:step=0.1`` on the command
line), and ``run`` yields ever better approximations. The harness stops it when the budget is spent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from bench.fitting.fit import fit
from bench.metrics import Comparison, Estimate, Skipped
from bench.metrics.mmd import Mmd
from bench.metrics.moments import MeanError
from methods import Approximation, Budget, Draws, Method, Target
from problems.eight_schools import EightSchools


@dataclass(frozen=True)
class Langevin(Method):
    r"""Unadjusted Langevin dynamics; its draws are exact only as the step goes to zero.

    .. math::
        z \leftarrow z + h \nabla \log p(z) + \sqrt{2 h}\, \epsilon, \quad \epsilon \sim N(0, I)

    Args:
        step: h, the length of a step.
        walkers: how many independent copies walk side by side; each yields one draw.
    """

    step: float = 0.05
    walkers: int = 500
    name: ClassVar[str] = "langevin"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        shape = (self.walkers, target.dim)
        z = torch.randn(shape, generator=generator, dtype=torch.float64)
        while True:
            _, gradient = target.value_and_grad(z)
            noise = torch.randn(shape, generator=generator, dtype=torch.float64)
            z = z + self.step * gradient + (2 * self.step) ** 0.5 * noise  # a new tensor each time
            yield Draws(z.unsqueeze(1))  # [walkers, 1, D]: as many chains of one draw


def main(gradients: int = 400_000, draws: int = 2000) -> dict[str, Estimate | Skipped]:
    """Run the method on eight-schools, print and return two figures of each checkpoint's quality.

    Args:
        gradients: gradient evaluations that the method may spend, counted by the row.
        draws: of the truth that the metrics compare.
    """
    problem, generator = EightSchools(), torch.Generator().manual_seed(0)
    figures: dict[str, Estimate | Skipped] = {}
    for checkpoint in fit(problem, Langevin(), Budget(None, gradients, 3), generator):
        q = checkpoint.approximation
        comparison = Comparison(
            problem,
            q,
            draws=q.sample(draws, generator),
            truth=problem.truth.sample(draws, generator),
        )
        print(f"after {checkpoint.gradients:,} gradients:")
        for metric in (MeanError(), Mmd()):
            figures[metric.name] = metric.measure(comparison)
            print(f"  {metric.name}: {figures[metric.name]}")
    return figures


if __name__ == "__main__":
    main()
