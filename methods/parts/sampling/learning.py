"""How batched chains adapt, step by step; ``adapt.py`` says what for."""

from __future__ import annotations

import math
from collections.abc import Generator as Yields
from statistics import NormalDist
from typing import Any

import torch
from torch import Generator, Tensor

from methods.parts.gaussians.mixtures import Gaussians, defended, fitted
from methods.parts.sampling.fisher import fisher_frame
from methods.parts.sampling.hmc import Walkers, frame_of

ROUND = 8  # trajectories between two looks while chains arrive
MOST_ROUNDS = 60  # after which they count as arrived
# gradients' worth of the work of a draw beside its leapfrog steps: 5 where a gradient is arithmetic
# (logistic regression), 13 where it is not (eight schools)
OVERHEAD = 8
QUIET = 0.001  # chance that one look at chains that have arrived finds a drift
LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # steps, tried in turn
FIRST = 1.2  # length at which the trials begin, in standard deviations
PATIENCE = 1.3  # the trials end at a length that costs so many times the best,
FEWEST = 3  # but not before so many: of the first ones, chains in the tails can tell nonsense
PILOT = 16  # trajectories on which a length is judged
SETTLE = 12  # trajectories on which the last step size is found
EARLY = 1.6  # length of the trajectories that adapt; a Gaussian forgets after pi / 2
LEAST = 0.1  # acceptance that a chain counts with at least
MOST_EARLY = 48  # leapfrog steps of those
DENSE = 200  # coordinates up to which the frame has correlations
WIDE = 2.0  # how much wider than the posterior second starts are
COMPONENTS = (1, 2, 4, 8, 16)  # of the mixtures tried
FITTED = 3_000  # draws that they are fitted to, at most
EM_STEPS = 15  # of a fit: a proposal need not be the likeliest
LOOKS = 4  # at how much of a mixture is accepted
WORTH = 0.05  # share that must be
USUAL = 150  # trajectories that adaptation takes; more where chains are slow to arrive

# where the chains stand, and the share of the work that is done; at the end what was found
Steps = Yields[tuple[Tensor, float], None, Any]


def random_count(length: int, generator: Generator) -> int:
    """Leapfrog steps of the next trajectory, uniform on half to one and a half of the length."""
    low, high = (length + 1) // 2, length + length // 2
    return int(torch.randint(low, high + 1, (), generator=generator))


class Learner:
    """Chains that adapt, and what they have learnt.

    Args:
        walkers: the chains, at scattered starts.
        accept: acceptance probability that the step size is adapted to.
    """

    def __init__(self, walkers: Walkers, accept: float) -> None:
        self.walkers, self._accept = walkers, accept
        self.dense = walkers.target.dim <= DENSE
        self.frame = fisher_frame(walkers.z, walkers.gradient, dense=self.dense)
        self.step, self.walked, self.jumped = 0.5, 0, 0.0
        self.proposal: Gaussians | None = None
        self._recent: list[Tensor] = []
        self._trials: list[Tensor] = []

    def arrive(self) -> Steps:
        """Walk in rounds until nothing drifts from one to the next."""
        log_steps = torch.full((len(self.walkers.z),), math.log(self.step), dtype=torch.float64)
        before: tuple[Tensor, Tensor] | None = None
        for number in range(MOST_ROUNDS):
            path = []
            for _ in range(ROUND):
                count = math.ceil(EARLY / float(log_steps.median().exp()))
                count = random_count(min(MOST_EARLY, count), self.walkers.generator)
                moved = self.walkers.trajectory(self.frame, log_steps.exp(), count)
                log_steps = log_steps + (2.0 if number == 0 else 0.5) * (
                    moved.accept - self._accept
                )
                path.append((self.walkers.z, self.walkers.value, self.walkers.gradient))
                yield self._told()
            z, value, gradient = map(torch.stack, zip(*path, strict=True))
            self.step = float(log_steps.median().exp())
            now = self._summary(z, value)
            self._recent = [*self._recent[-ROUND:], *z]
            if before is not None and not drifting(self._summary(*before), now):
                break
            before = z, value
            late = slice(ROUND // 2, None)
            self.frame = fisher_frame(
                z[late].flatten(0, 1), gradient[late].flatten(0, 1), dense=self.dense
            )

    def _summary(self, z: Tensor, value: Tensor) -> Tensor:
        """Averages of each chain over a round, [C, 2 D + 1]."""
        u = self.frame.whiten(z)
        return torch.cat([u, u.square(), value.unsqueeze(-1)], -1).mean(0)

    def spread(self) -> None:
        """Start every chain again from a wide Gaussian; where that has no density, from where it
        stands.
        """
        walkers = self.walkers
        frame = frame_of(torch.cat(self._recent), dense=self.dense)
        noise = torch.randn(walkers.z.shape, generator=walkers.generator, dtype=torch.float64)
        z = frame.loc + WIDE * frame.move(noise)
        fit = walkers.look(z)[0].isfinite().unsqueeze(-1)
        self.walkers = Walkers(walkers.target, torch.where(fit, z, walkers.z), walkers.generator)

    def fit(self) -> Steps:
        """Fit a mixture to the last rounds, and keep it if enough of it is accepted."""
        draws = torch.cat(self._trials or self._recent)
        generator = self.walkers.generator
        some = draws[torch.randperm(len(draws), generator=generator)[:FITTED]]
        try:
            proposal = defended(fitted(some, COMPONENTS, generator, EM_STEPS), some)
        except ArithmeticError:  # the draws lie in a subspace: chains that never move
            return
        for _ in range(LOOKS):
            self.jumped = float(self.walkers.jump(proposal).mean())
            yield self._told()
        self.proposal = proposal if self.jumped >= WORTH else None

    def choose(self) -> Steps:
        """Try lengths, the shortest first, until they cost more; the best of them is returned, in
        standard deviations. The trials are of trajectories alone: jumps would hide what these miss.
        """
        best, least = 1.0, math.inf
        lengths = [n for n in LENGTHS if n >= min(FIRST / self.step, LENGTHS[-1])]
        for tried, length in enumerate(lengths, 1):
            path = yield from self._walk(length, PILOT, 0.3)
            self._trials += path
            cost = (OVERHEAD + length) * self._memory(torch.stack(path))
            if cost < least:
                best, least = length * self.step, cost
            elif tried >= FEWEST and cost > PATIENCE * least:
                break
            if self.proposal is not None:
                self.walkers.jump(self.proposal)
        return best

    @property
    def seen(self) -> Tensor:
        """Draws of all trials, [n, D]."""
        return torch.cat(self._trials)

    def settle(self, reach: float) -> Steps:
        """A last frame and a last mixture from all trials, and the step size in that frame; returns
        how many steps have that reach.
        """
        self.frame = frame_of(self.seen, dense=self.dense)
        if self.proposal is not None:
            yield from self.fit()
        for count in (SETTLE // 2, SETTLE):
            yield from self._walk(self._steps(reach), count, 0.5)
        return self._steps(reach)

    def _steps(self, reach: float) -> int:
        return max(1, min(LENGTHS[-1], round(reach / self.step)))

    def _walk(self, length: int, count: int, rate: float) -> Steps:
        """Trajectories of one step size for all, which they adapt; returns where they led."""
        path, total, log_step = [], 0.0, math.log(self.step)
        for i in range(count):
            step = torch.tensor(log_step, dtype=torch.float64).exp()
            steps = random_count(length, self.walkers.generator)
            moved = self.walkers.trajectory(self.frame, step, steps)
            log_step += rate * (harmonic(moved.accept) - self._accept)
            path.append(self.walkers.z)
            if 2 * i >= count:
                total += log_step
            yield self._told()
        self.step = math.exp(total / (count - (count + 1) // 2))
        return path

    def _memory(self, z: Tensor) -> float:
        """Draws per independent one along [n, C, D], for the slowest coordinate or square: by how
        much the averages of the chains vary, which tells no memory longer than n; or, if that is
        more, by the step from one draw to the next, which tells no slow part of a fast coordinate.
        """
        both = torch.cat([z, (z - self.frame.loc).square()], -1)
        variance = both.flatten(0, 1).var(0).clamp(min=1e-300)
        between = len(z) * both.mean(0).var(0) / variance
        moved = 0.5 * (both[1:] - both[:-1]).square().mean((0, 1)) / variance
        return float(torch.maximum(between, 2 / moved.clamp(min=1e-9) - 1).max())

    def _told(self) -> tuple[Tensor, float]:
        self.walked += 1
        return self.walkers.z, min(self.walked / USUAL, 0.99)


def harmonic(accept: Tensor) -> float:
    """The harmonic mean over chains, which heeds those where little is accepted, [C]."""
    return 1 / float(accept.clamp(min=LEAST).reciprocal().mean())


def drifting(before: Tensor, now: Tensor) -> bool:
    """Whether averages of the chains, [C, K] each, went up or down together from one round to the
    next: a paired test of their ranks, which a few chains far away cannot blunt.
    """
    chains, count = now.shape
    ranks = torch.cat([before, now]).argsort(0).argsort(0).double()
    apart = ranks[chains:] - ranks[:chains]
    scores = apart.mean(0) / (apart.std(0) / math.sqrt(chains)).clamp(min=1e-9)
    return float(scores.abs().max()) > NormalDist().inv_cdf(1 - QUIET / (2 * count))
