r"""What the batched chains learn before they count: a frame in which the posterior is round, a step
size, a length, and where to jump. It ends by itself when there is no more to learn.

1. **Arriving.** From scattered starts in rounds of some trajectories, each in the frame that the
   points and gradients of the last round give (``fisher.py``). Every chain has a step size of its
   own, larger after acceptance and smaller after refusal, so that none stays stuck where the
   density is steep. It ends when nothing drifts from one round to the next: coordinates, their
   squares and the log density, over all chains, by a paired test.
2. **Jumps.** A mixture of Gaussians is fitted to the draws of the last rounds. It is kept, as a
   proposal for every chain after every trajectory, where enough of it is accepted: then no chain
   keeps long to one place, and modes far apart get the share that is theirs.
3. **Length.** Longer and longer trajectories are tried while that pays. Kept are those with the
   least work per independent draw, told by how much the averages of the chains vary, for the
   slowest coordinate or square. All chains have one step size now.
   The step size heeds chains in steep places: it is adapted to a harmonic mean of the acceptances.
4. **Settling.** The frame and the mixture are made anew from the draws of all trials, then the step
   size.

Many chains make every estimate sharp after a few trajectories, as in M. D. Hoffman, A. Radul,
P. Sountsov, An adaptive-MCMC scheme for setting trajectory lengths in Hamiltonian Monte Carlo,
2021. Jumps by a proposal that the chains have fitted: M. Gabrié, G. M. Rotskoff,
E. Vanden-Eijnden, Adaptive Monte Carlo augmented with normalizing flows, 2022, arXiv:2105.12603.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.gaussians.mixtures import Gaussians
from methods.parts.sampling.hmc import Frame, Moved, Walkers, scattered
from methods.parts.sampling.learning import Learner, Steps, random_count

RADIUS = 2.0  # the first starts are uniform on (-RADIUS, RADIUS)

Progress = Callable[[str, float], None]  # what is being done, and the share of it that is


def silent(stage: str, share: float) -> None:
    """Take progress and show nothing: for runs that nobody watches."""


@dataclass(frozen=True, eq=False)
class Adapted:
    """Chains of batched HMC after adaptation, ready to sample.

    Args:
        walkers: where they stand.
        frame: the affine map to a round posterior.
        step: size of a leapfrog step in that frame.
        length: mean number of leapfrog steps of a trajectory.
        proposal: of the jumps; None where they are not worth their gradient.
        warmup: trajectories of every chain until now.
        jumped: share of the jumps that was accepted when last looked.
    """

    walkers: Walkers
    frame: Frame
    step: float
    length: int
    proposal: Gaussians | None
    warmup: int
    jumped: float

    def advance(self) -> Moved:
        """One draw of every chain: a trajectory, and a jump where there are jumps."""
        step = torch.tensor(self.step, dtype=torch.float64)
        count = random_count(self.length, self.walkers.generator)
        moved = self.walkers.trajectory(self.frame, step, count)
        if self.proposal is not None:
            self.walkers.jump(self.proposal)
        return moved

    evidence = None  # there is none without a ladder

    @property
    def z(self) -> Tensor:
        """Where the chains stand, [C, D]."""
        return self.walkers.z

    @property
    def figures(self) -> dict[str, float]:
        """What it has to say of itself."""
        jumped = self.jumped if self.proposal else 0.0
        return {"jumps_accepted": jumped, "warmup": float(self.warmup)}

    @property
    def cost(self) -> int:
        """Gradients of each chain from one draw to the next, on average."""
        return self.length + (self.proposal is not None)


def adapt(
    target: Target,
    chains: int,
    accept: float,
    generator: Generator,
    progress: Progress = silent,
    *,
    wide: bool = False,
    jumps: bool = True,
) -> Adapted:
    """Find the frame, the step size, the length and the jumps.

    Args:
        target: the density, counted.
        chains: how many.
        accept: acceptance probability that the step size is adapted to.
        generator: the only source of randomness.
        progress: told the share of the work that is done, as far as it can be foreseen.
        wide: whether every chain starts again, when all have arrived, from a Gaussian twice as wide
            as the posterior looks, so that agreement between the chains later means more.
        jumps: whether to look for jumps.

    Raises:
        ValueError: if the density is finite at too few points to start from.
    """
    steps = adapting(target, chains, accept, generator, wide=wide, jumps=jumps)
    while True:
        try:
            done = next(steps)[1]
        except StopIteration as end:
            adapted: Adapted = end.value
            return adapted
        progress("batched HMC: adapting", done)


def adapting(
    target: Target,
    chains: int,
    accept: float,
    generator: Generator,
    *,
    wide: bool = False,
    jumps: bool = True,
) -> Steps:
    """``adapt``, one trajectory after the other: yields where the chains stand and the share of the
    work that is done, and returns what was found.
    """
    walkers = scattered(target, chains, RADIUS, generator)
    learner = Learner(walkers, accept)
    yield from learner.arrive()
    if wide:
        learner.spread()
        yield from learner.arrive()
    if jumps:
        yield from learner.fit()
    reach = yield from learner.choose()
    length = yield from learner.settle(reach)
    return Adapted(
        walkers,
        learner.frame,
        learner.step,
        length,
        learner.proposal,
        learner.walked,
        learner.jumped,
    )
