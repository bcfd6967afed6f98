r"""Microcanonical Langevin Monte Carlo: the energy is kept, not drawn anew, and chains run without
a Metropolis step, or with one.

A point moves with speed 1 in the direction u, which the gradient turns: the dynamics whose time
average is the posterior at a fixed energy. With :math:`g = \nabla \log p`, e = g / |g|,
:math:`\delta = \epsilon |g| / (D - 1)` one turn, and the energy it adds, are

.. math::
    u' = \frac{u + (\sinh\delta + e \cdot u\, (\cosh\delta - 1))\, e}
              {\cosh\delta + e \cdot u \sinh\delta}, \qquad
    \Delta K = (D - 1) \log(\cosh\delta + e \cdot u \sinh\delta)

Turns and moves :math:`z' = z + \epsilon u` alternate in the minimal norm scheme, two gradients a
step. Unadjusted, each step also mixes u with a little noise, so that it is forgotten over a length
L, and the error of the step size remains: it is held where the energy's error per step has a mean
square of ``energy_variance`` per coordinate. Adjusted, u is drawn anew, a trajectory of length L is
run, and its end is accepted with probability min(1, exp(-energy error)).

The bias of the unadjusted chains does not go away with more draws: at the default
``energy_variance`` the variances of normal posteriors come out some 2% too small in 10 and in 100
coordinates, and 0.3% in two (measured), which smaller values of it lessen.

Source: J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, Microcanonical Hamiltonian Monte Carlo,
2022, arXiv:2212.08549; J. Robnik, U. Seljak, Fluctuation without dissipation: microcanonical
Langevin Monte Carlo, 2023, arXiv:2303.18221; J. Robnik, R. Cohn-Gordon, U. Seljak, Metropolis
adjusted microcanonical Hamiltonian Monte Carlo, 2025, arXiv:2503.01707.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from methods.base import Budget, Draws, Method, NotApplicableError, Target
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.sampling.hmc import Frame, frame_of, scattered
from methods.parts.sampling.microcanonical import Flow, forgetting
from methods.parts.validate import require

WINDOWS = (100, 200, 400)  # steps of warm-up, the last two in frames made of the window before
LENGTH = 1.6  # first guess at L, times the root of D: what a Gaussian needs to forget
RELATIVE = 0.4  # L in units of the distance in which a coordinate forgets, as the authors set it
DENSE = 200  # coordinates up to which the frame has correlations
LONGEST = 64  # steps of a draw, at most
PILOT = 200  # steps that settle the step size in the last frame, and as many that show L
TRIALS = 60  # trajectories on which the step size of adjusted chains is settled
LONGER = 2.0  # L of adjusted chains, in units of that of unadjusted ones


@dataclass(frozen=True)
class MCLMC(Method):
    """Many chains of microcanonical Langevin dynamics in one tensor.

    Args:
        adjusted: accept or refuse trajectories, so that no bias is left.
        chains: run together.
        draws: per chain, after the warm-up; one for each length L.
        energy_variance: mean square of the energy's error of a step, per coordinate, that the step
            size is adapted to; of unadjusted chains.
        target_accept: acceptance probability that it is adapted to; of adjusted ones.
        dense: whether the frame in which steps are taken has correlations, up to 200 coordinates.
        radius: starting points are uniform on (-radius, radius) in each coordinate.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite at too
            few starting points.
        NotApplicableError: from ``run``, if the posterior has one coordinate alone.
    """

    adjusted: bool = False
    chains: int = 64
    draws: int = 400
    energy_variance: float = 5e-4
    target_accept: float = 0.9
    dense: bool = True
    radius: float = 2.0
    name: ClassVar[str] = "mclmc"
    source: ClassVar[str] = "Robnik, De Luca, Silverstein, Seljak, 2022, arXiv:2212.08549"

    def __post_init__(self) -> None:
        require(self, "chains", self.chains >= 2, "be at least 2")
        require(self, "draws", self.draws >= 1, "be at least 1")
        require(
            self, "energy_variance", 0 < self.energy_variance < math.inf, "be positive and finite"
        )
        require(self, "target_accept", 0 < self.target_accept < 1, "lie in (0, 1)")
        require(self, "radius", 0 < self.radius < math.inf, "be positive and finite")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws]:
        """Yield the points of all chains after each step of the warm-up, then all draws after
        each.
        """
        flow = self._start(target, generator)
        for window in WINDOWS:
            path = []
            for _ in range(window):
                flow.adapt(self.energy_variance)
                path.append(flow.z)
                yield Draws(flow.z.unsqueeze(1))
            late = torch.cat(path[window // 2 :])
            flow.refit(frame_of(late, dense=self.dense and target.dim <= DENSE))
            flow.length = LENGTH * math.sqrt(target.dim)
        yield from self._tuned(flow)
        flow.reset()
        history = torch.empty(self.chains, self.draws, target.dim, dtype=torch.float64)
        for i in range(self.draws):
            if self.adjusted:
                flow.trajectory()
            else:
                flow.walk(min(flow.count, LONGEST))
            history[:, i] = flow.z
            kept = history[:, : i + 1]  # a view, not written again
            yield Draws(kept, ChainDiagnostics(kept, None, self._figures(flow, i + 1)))

    def _start(self, target: Target, generator: Generator) -> Flow:
        if target.dim < 2:
            raise NotApplicableError(
                "It needs two coordinates or more: in one, a point of constant speed has no"
                " direction to turn to."
            )
        walkers = scattered(target, self.chains, self.radius, generator)
        zero, one = torch.zeros(target.dim), torch.eye(target.dim)
        frame = Frame(zero.double(), one.double())
        flow = Flow(target, walkers.z, walkers.value, walkers.gradient, frame, generator)
        flow.length = LENGTH * math.sqrt(target.dim)
        return flow

    def _tuned(self, flow: Flow) -> Iterator[Draws]:
        """Find the step size in the last frame, and the length; yield on the way."""
        path = []
        for i in range(2 * PILOT):
            flow.adapt(self.energy_variance)
            if i >= PILOT:
                path.append(flow.z)
            yield Draws(flow.z.unsqueeze(1))
        flow.length = RELATIVE * flow.step * forgetting(torch.stack(path))
        if not self.adjusted:
            return
        flow.length *= LONGER
        for i in range(TRIALS):
            gain = flow.trajectory() - self.target_accept
            flow.step *= math.exp(gain / (1 + i / 10))
            flow.step = max(flow.step, flow.length / LONGEST)
            yield Draws(flow.z.unsqueeze(1))

    def _figures(self, flow: Flow, draws: int) -> dict[str, float]:
        own = (
            {"accept_rate": flow.accepted / flow.trajectories}
            if self.adjusted
            else {"energy_variance": flow.squares / max(flow.hops - flow.lost, 1) / len(flow.z[0])}
        )
        return own | {
            "divergences": float(flow.lost),
            "step_size": flow.step,
            "length": flow.length,
            "steps_per_draw": flow.hops / (draws * self.chains),
        }
