r"""What the batched chains learn before they count: a frame in which the posterior is round, a step
size, a length.

1. From scattered starts, three windows of growing length; the covariance over all chains makes the
frame of the next. 2. Every chain starts again from a Gaussian twice as wide as the posterior
looked, so that agreement between the chains later
   means something, and walks back in.
3. Longer and longer trajectories are tried while that pays. Kept are those with the least
:math:`L (1 + r) / (1 - r)`:
   L leapfrog steps a trajectory, r the largest autocorrelation from one trajectory to the next
   among the coordinates and their squares.

While they adapt, each chain has a step size of its own, larger after acceptance and smaller after
refusal, so that none stays stuck where the density is steep; the median of all then serves for all.
As in M. D. Hoffman, A. Radul, P. Sountsov, An adaptive -MCMC scheme for setting trajectory lengths
in Hamiltonian Monte Carlo, 2021, many chains make the estimates sharp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.hmc import Frame, Walkers, frame_of, scattered

WINDOWS = (100, 200, 400)  # trajectories
# of trajectories, in standard deviations; a Gaussian forgets after pi / 2
LENGTHS = (0.8, 1.6, 3.1, 6.3)
PILOT = 60  # trajectories on which a length is judged
MOST_STEPS = 256  # leapfrog steps of the mean trajectory
MOST_EARLY = 48  # of the trajectories that adapt
DENSE = 200  # coordinates up to which the frame has correlations
WIDE = 2.0  # how much wider than the posterior the second starts are
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
        length: mean number of leapfrog steps; each trajectory has a random number from 1 to
            ``2 length - 1``.
    """

    walkers: Walkers
    frame: Frame
    step: float
    length: int


def adapt(
    target: Target,
    chains: int,
    accept: float,
    generator: Generator,
    progress: Progress = silent,
) -> Adapted:
    """Find the frame, the step size and the length.

    Args:
        target: the density, counted.
        chains: how many.
        accept: acceptance probability that the step size is adapted to.
        generator: the only source of randomness.
        progress: told the share of the windows that is done.

    Raises:
        ValueError: if the density is finite at too few points to start from.
    """
    walkers = scattered(target, chains, RADIUS, generator)
    frame = Frame(
        torch.zeros(target.dim, dtype=torch.float64), torch.eye(target.dim, dtype=torch.float64)
    )
    step, done = 0.1, 0
    for window in windows():
        if window == WINDOWS[-1]:
            walkers = _spread(walkers, frame)

        def tell(walked: int, before: int = done) -> None:
            progress("batched HMC: adapting", (before + walked) / sum(windows()))

        draws, step = _settle(walkers, frame, step, window, accept, tell)
        done += window
        frame, step = (
            frame_of(draws, dense=target.dim <= DENSE),
            min(step, 0.5) if window == WINDOWS[0] else step,
        )
    return Adapted(walkers, frame, step, _length(walkers, frame, step))


def windows() -> tuple[int, ...]:
    """Trajectories of each window, the last of them after the second start."""
    return (*WINDOWS, WINDOWS[-1])


def random_count(length: int, generator: Generator) -> int:
    """Leapfrog steps of the next trajectory, uniform on 1 to ``2 length - 1``."""
    return 1 + int(torch.randint(2 * length - 1, (), generator=generator))


def _settle(
    walkers: Walkers,
    frame: Frame,
    step: float,
    window: int,
    accept: float,
    tell: Callable[[int], None],
) -> tuple[Tensor, float]:
    """Walk for a window; the draws of its later half [n, D] and the median step size there."""
    log_steps = torch.full((len(walkers.z),), math.log(step), dtype=torch.float64)
    total, kept = torch.zeros_like(log_steps), []
    for i in range(window):
        tell(i)
        length = max(1, min(MOST_EARLY, math.ceil(LENGTHS[1] / float(log_steps.median().exp()))))
        moved = walkers.trajectory(frame, log_steps.exp(), random_count(length, walkers.generator))
        late = 2 * i >= window
        log_steps = log_steps + (0.2 if late else 1.0) * (moved.accept - accept)
        if late:
            kept.append(walkers.z)
            total += log_steps
    return torch.cat(kept), float((total / len(kept)).median().exp())


def _spread(walkers: Walkers, frame: Frame) -> Walkers:
    """Chains that start from a wide Gaussian; where that has no density, from where they stood."""
    noise = torch.randn(walkers.z.shape, generator=walkers.generator, dtype=torch.float64)
    z = frame.loc + WIDE * frame.move(noise)
    value, gradient = walkers.target.value_and_grad(z)
    fit = value.isfinite() & gradient.isfinite().all(-1)
    return Walkers(walkers.target, torch.where(fit.unsqueeze(-1), z, walkers.z), walkers.generator)


def _length(walkers: Walkers, frame: Frame, step: float) -> int:
    best, least = 1, math.inf
    for length in sorted({max(1, min(MOST_STEPS, math.ceil(length / step))) for length in LENGTHS}):
        cost = _cost(walkers, frame, step, length)
        if cost > least:
            break
        best, least = length, cost
    return best


def _cost(walkers: Walkers, frame: Frame, step: float, length: int) -> float:
    """Leapfrog steps per independent draw, for the slowest coordinate or square."""
    path = []
    for _ in range(PILOT):
        walkers.trajectory(frame, torch.tensor(step), random_count(length, walkers.generator))
        path.append(walkers.z)
    z = torch.stack(path)
    both = torch.cat([z, (z - frame.loc).square()], -1)
    jump, variance = (both[1:] - both[:-1]).square().mean((0, 1)), both.flatten(0, 1).var(0)
    stays = float((1 - 0.5 * jump / variance.clamp(min=1e-300)).max())
    return length * (1 + max(stays, 0.0)) / max(1 - stays, 1e-9)
