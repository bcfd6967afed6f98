r"""Annealed importance sampling: log Z without bias, from chains that never meet.

Each of C chains starts at a draw of a wide Gaussian q and goes through T temperatures, with one
Hamiltonian trajectory at each (``parts/sampling/tempering.py``). Its weight makes up for the haste:

.. math::
    \log w = \sum_{t=1}^T (\beta_t - \beta_{t-1}) \log \frac{p(z_{t-1})}{q(z_{t-1})}, \qquad
    E[w] = Z, \qquad \log \hat Z = \log \frac1C \sum_c w_c

A pilot, a small population of sequential Monte Carlo, finds the temperatures, frames and step sizes
first; the chains that count change none of them and do not see each other, so the average of the
weights has no bias, and its standard error that of C independent numbers. Where few weights count
(``weight_ess``), both are too small.

The draws are drawn from the chains' ends in proportion to their weights, so that some come more
than once; trajectories on the posterior then take these apart. They stand in the order of their
ancestors, as one chain, whose autocorrelation sees who is related.

Source: R. M. Neal, Annealed importance sampling, 2001, arXiv:physics/9803008; Hamiltonian moves: J.
Sohl-Dickstein, B. J. Culpepper, Hamiltonian annealed importance sampling for partition function
estimation, 2012, arXiv:1205.1925.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from methods.base import Budget, Draws, Method, Target
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.sampling.tempering import (
    Cloud,
    Stage,
    anneal,
    averaged,
    effective,
    systematic,
    wide,
)
from methods.parts.validate import require

SHARE = 0.5  # of the pilot's particles, that the next temperature leaves effective
PILOT_MOVES = 10  # trajectories at each temperature of the pilot, at most


@dataclass(frozen=True)
class AIS(Method):
    """Annealed importance sampling with Hamiltonian moves and a schedule found by a pilot.

    Args:
        chains: C, of which each has a weight.
        temperatures: T, and so trajectories of a chain.
        pilot: particles of the pilot.
        moves: trajectories of the resampled draws on the posterior.
        radius: standard deviation of the wide Gaussian in each coordinate.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite at no
            draw of the wide Gaussian.
    """

    chains: int = 2048
    temperatures: int = 500
    pilot: int = 512
    moves: int = 5
    radius: float = 5.0
    name: ClassVar[str] = "ais"
    source: ClassVar[str] = "Neal, 2001, arXiv:physics/9803008"

    def __post_init__(self) -> None:
        require(self, "chains", self.chains >= 8, "be at least 8")
        require(self, "temperatures", self.temperatures >= 1, "be at least 1")
        require(self, "pilot", self.pilot >= 8, "be at least 8")
        require(self, "moves", self.moves >= 1, "be at least 1")
        require(self, "radius", 0 < self.radius < math.inf, "be positive and finite")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws]:
        """Yield the pilot's particles, then the chains at every temperature, not yet weighted, and
        after each move of the resampled draws these, with log Z.
        """
        start = wide(target.dim, self.radius)
        small = Cloud(target, start, 1, self.pilot, generator)
        found = []
        yield Draws(small.chains.clone(), {"temperature": 0.0})
        for stage in anneal(small, SHARE, PILOT_MOVES):
            found.append(stage)
            yield Draws(small.chains.clone(), {"temperature": stage.beta})
        cloud = Cloud(target, start, 1, self.chains, generator)
        weights = torch.zeros(self.chains, dtype=torch.float64)
        for stage in schedule(found, self.temperatures):
            weights = weights + cloud.go(stage.beta)
            cloud.move(stage)
            yield Draws(cloud.chains.clone(), {"temperature": stage.beta})
        cloud.keep(systematic(weights.unsqueeze(0), generator).squeeze(0))
        evidence, figures = averaged(weights), {"weight_ess": float(effective(weights))}
        for _ in range(self.moves):
            figures = figures | {"accept_rate": cloud.move(found[-1])}
            chains = cloud.chains.clone()
            yield Draws(chains, ChainDiagnostics(chains, None, figures), evidence)


def schedule(found: list[Stage], count: int) -> Iterator[Stage]:
    """So many temperatures, evenly between those of the pilot, each with the frame and the step
    size of the next of these.
    """
    known = [0.0, *(stage.beta for stage in found)]
    for i in range(1, count + 1):
        place = i * len(found) / count
        j = min(math.ceil(place), len(found))
        share = place - (j - 1)
        beta = known[j - 1] + share * (known[j] - known[j - 1]) if i < count else 1.0
        yield Stage(beta, found[j - 1].frame, found[j - 1].step)
