r"""Hamiltonian Monte Carlo with hundreds of chains in one tensor, which adapt together in a
fraction of a second and jump between modes.

A draw of every chain is a trajectory of HMC and then a jump: a draw of a mixture of Gaussians, the
same for all chains, is accepted with probability

.. math:: \min\Big(1, \frac{p(z')\, q(z)}{p(z)\, q(z')}\Big).

The mixture is fitted in the warm-up to what all chains have seen, and then left alone, so that both
moves leave the posterior as it is; where too little of it would be accepted there are no jumps. All
chains share a frame, a step size and a length, found in rounds that end when nothing drifts any
more (``parts/sampling/adapt.py``). With ``ladder`` the chains are tempered, for modes that no chain
walks between and that scattered starts find in the wrong shares (``parts/sampling/ladder.py``).

Source: M. D. Hoffman, A. Radul, P. Sountsov, An adaptive-MCMC scheme for setting trajectory lengths
in Hamiltonian Monte Carlo, 2021, proceedings.mlr.press/v130/hoffman21a.html; jumps: M. Gabrié,
G. M. Rotskoff, E. Vanden-Eijnden, Adaptive Monte Carlo augmented with normalizing flows, 2022,
arXiv:2105.12603; tempering: S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, Non-reversible
parallel tempering, 2022, arXiv:1905.02939.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from methods.base import Budget, Draws, Method, Target
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.sampling.adapt import Adapted, adapting
from methods.parts.sampling.ladder import Ladder, laddered
from methods.parts.validate import require


@dataclass(frozen=True)
class BatchedHMC(Method):
    """HMC with all chains in one tensor, a common frame, and jumps.

    Args:
        chains: in one tensor; with fewer than some twenty what they share is learnt badly.
        draws: per chain, after the warm-up, which ends by itself.
        target_accept: harmonic mean, over the chains, of the probabilities to accept that the step
            size is adapted to; chains in steep places weigh most.
        jumps: whether a mixture fitted in the warm-up may propose jumps.
        ladder: temperatures; 1 for none. Every chain then has as many copies, each a little flatter
            than the last, from the posterior to a wide Gaussian, and copies next to each other
            swap. Gives an estimate of log Z.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite at too
            few points uniform on (-2, 2) in each coordinate.
    """

    chains: int = 256
    draws: int = 500
    target_accept: float = 0.8
    jumps: bool = True
    ladder: int = 1
    name: ClassVar[str] = "batched-hmc"
    source: ClassVar[str] = (
        "Hoffman, Radul, Sountsov, 2021, proceedings.mlr.press/v130/hoffman21a.html"
    )

    def __post_init__(self) -> None:
        require(self, "chains", self.chains >= 2, "be at least 2")
        require(self, "draws", self.draws >= 1, "be at least 1")
        require(self, "target_accept", 0 < self.target_accept < 1, "lie in (0, 1)")
        require(self, "ladder", self.ladder >= 1, "be at least 1")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws]:
        """Yield after every draw: in the warm-up where the chains stand, then all draws after
        it.
        """
        if self.ladder > 1:
            steps = laddered(target, self.chains, self.ladder, self.target_accept, generator)
        else:
            steps = adapting(target, self.chains, self.target_accept, generator, jumps=self.jumps)
        while True:
            try:
                z, _ = next(steps)
            except StopIteration as end:
                yield from self._sampled(end.value, target.dim)
                return
            yield _standing(z)

    def _sampled(self, ready: Adapted | Ladder, dim: int) -> Iterator[Draws]:
        history = torch.empty(self.chains, self.draws, dim, dtype=torch.float64)
        energies = torch.empty(self.chains, self.draws, dtype=torch.float64)
        accept, divergent = 0.0, 0
        for i in range(self.draws):
            moved = ready.advance()
            history[:, i], energies[:, i] = ready.z, moved.energy
            accept += float(moved.accept.mean())
            divergent += int(moved.divergent.sum())
            figures = {
                "divergences": float(divergent),
                "accept_rate": accept / (i + 1),
                "step_size": ready.step,
                "mean_steps": float(ready.length),
                **ready.figures,
            }
            # Views, not copies: what they show is not written again.
            kept = slice(0, i + 1)
            diagnostics = ChainDiagnostics(history[:, kept], energies[:, kept], figures)
            yield Draws(history[:, kept], diagnostics, ready.evidence)


def _standing(z: Tensor) -> Draws:
    """Chains in the warm-up as a draw each, [C, D]."""
    chains = z.unsqueeze(1)
    return Draws(chains, ChainDiagnostics(chains, torch.zeros(chains.shape[:2]), {}))
