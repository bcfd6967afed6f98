r"""Sequential Monte Carlo: particles follow the posterior as it is let in, and log Z comes with
them.

From draws of a wide Gaussian q, through temperatures :math:`p_\beta \propto q^{1 - \beta} p^\beta`
that are chosen so that most of the particles stay effective; at each, the particles are weighted,
resampled and moved by Hamiltonian trajectories (``parts/sampling/tempering.py``). Each island of
particles estimates

.. math::
    \hat Z_i = \prod_t \frac1N \sum_n (p(z_n) / q(z_n))^{\beta_t - \beta_{t-1}}, \qquad
    \log \hat Z = \log \frac1I \sum_i \hat Z_i

without bias, were it not for the temperatures and step sizes that all islands share; these depend
on thousands of particles, and what they add is of the order of 1 / (I N). The standard error is
taken from the spread of the islands. It says nothing of a mode that no island has found, nor of the
neck of a funnel that the moves of no island reach: on funnel and eight-schools-centred log Z came
out too small by 1 to 19 of its standard errors, with a split R-hat of the islands of 1.009 to 1.03;
where the error was honest that was 1.006 at most. So do not rely on it where R-hat is near 1.01.

Islands are the chains of the draws. Within one, particles have ancestors in common; resampling
keeps their order, so that relatives stand side by side and the autocorrelation along a chain, from
which effective sizes are computed, sees them.

Source: P. Del Moral, A. Doucet, A. Jasra, Sequential Monte Carlo samplers, 2006,
doi:10.1111/j.1467-9868.2006.00553.x; islands: C. Vergé, C. Dubarry, P. Del Moral, E. Moulines, On
parallel implementation of sequential Monte Carlo methods, 2015, arXiv:1306.3911.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator

from methods.base import Budget, Draws, Method, Target
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.sampling.tempering import Cloud, anneal, averaged, wide
from methods.parts.validate import require


@dataclass(frozen=True)
class SMC(Method):
    """Adaptive tempering with Hamiltonian moves, in independent islands.

    Args:
        islands: populations that exchange no particles; their spread is the error of log Z.
        particles: in each island.
        radius: standard deviation of the wide Gaussian in each coordinate.
        share: of the particles, that the next temperature leaves effective.
        moves: trajectories at each temperature, at most.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite at no
            draw of the wide Gaussian.
    """

    islands: int = 16
    particles: int = 256
    radius: float = 5.0
    share: float = 0.8
    moves: int = 10
    name: ClassVar[str] = "smc"
    source: ClassVar[str] = "Del Moral, Doucet, Jasra, 2006, doi:10.1111/j.1467-9868.2006.00553.x"

    def __post_init__(self) -> None:
        require(self, "islands", self.islands >= 2, "be at least 2")
        require(self, "particles", self.particles >= 8, "be at least 8")
        require(self, "radius", 0 < self.radius < math.inf, "be positive and finite")
        require(self, "share", 0 < self.share < 1, "lie in (0, 1)")
        require(self, "moves", self.moves >= 1, "be at least 1")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws]:
        """Yield the particles at every temperature, the first time before any, and with log Z at
        the last.
        """
        start = wide(target.dim, self.radius)
        cloud = Cloud(target, start, self.islands, self.particles, generator)
        yield Draws(cloud.chains.clone(), {"temperature": 0.0})
        for count, stage in enumerate(anneal(cloud, self.share, self.moves), start=1):
            chains = cloud.chains.clone()
            figures = {
                "temperature": stage.beta,
                "temperatures": float(count),
                "step_size": stage.step,
            }
            evidence = None if stage.beta < 1 else averaged(cloud.log_z)
            yield Draws(chains, ChainDiagnostics(chains, None, figures), evidence)
