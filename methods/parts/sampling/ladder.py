r"""Parallel tempering of batched chains: a ladder from a wide Gaussian to the posterior, for modes
that no chain walks between.

.. math:: \log p_t(z) = \beta_t \log p(z) + (1 - \beta_t) \log q(z), \qquad 0 = \beta_1 < \dots < 1

q is a Gaussian twice as wide as all chains together looked when they had arrived. Every chain has a
copy at each temperature, all of them rows of one tensor, with a step size for each temperature.
The copy at 0 is drawn anew each time. Copies of one chain at neighbouring temperatures swap, the
even pairs and the odd ones in turn, so that states travel rather than diffuse; in the warm-up the
temperatures are moved until all pairs refuse equally often. Chains know nothing of each other, so
an error told from their spread is an honest one.

.. math:: \log Z = \sum_t \log E_{p_t}[ (p / q)^{\beta_{t + 1} - \beta_t} ]

Source: S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, Non-reversible parallel tempering, a
scalable highly parallel MCMC scheme, 2022, arXiv:1905.02939; log Z by stepping stones: W. Xie et
al., Improving marginal likelihood estimation for Bayesian phylogenetic model selection, 2011,
doi:10.1093/sysbio/syq085.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from methods.base import Evidence, Target
from methods.parts.finite import sound
from methods.parts.sampling.hmc import Frame, Moved, Walkers, frame_of, scattered
from methods.parts.sampling.learning import Learner, Steps, harmonic, random_count

WIDER = 2.0  # the width of q, in those of all chains
ROUNDS, ROUND = 8, 24  # of the warm-up: after each round the temperatures are moved
MOST = 16  # leapfrog steps of a mean trajectory
RADIUS = 2.0  # the first starts are uniform on (-RADIUS, RADIUS)


class _Tempered:
    """The density of every row at its temperature, and what it is made of at the last look.

    Args:
        target: the density, counted.
        frame: of q.
        beta: of every row, [R].
    """

    def __init__(self, target: Target, frame: Frame, beta: Tensor) -> None:
        self.target, self.frame, self.beta = target, frame, beta
        self.dim = target.dim
        determinant = float(frame.root.diagonal().abs().log().sum())
        self._constant = -0.5 * target.dim * math.log(2 * math.pi) - determinant

    def log_density(self, z: Tensor) -> Tensor:
        """At the temperatures of the rows, [R, D] -> [R], nats."""
        return self.beta * self.target.log_density(z) + (1 - self.beta) * self._of_q(z)[0]

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """At the temperatures of the rows, [R, D] -> [R], [R, D]."""
        self.last = self.target.value_and_grad(z)
        return self.mixed(z, *self.last)

    def gradient(self, z: Tensor) -> Tensor:
        """At the temperatures of the rows, [R, D] -> [R, D]."""
        return self.mixed(z, torch.zeros(len(z), dtype=z.dtype), self.target.gradient(z))[1]

    def mixed(self, z: Tensor, value: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Both from those of the target; q alone at 0, wherever the target has no density."""
        q, slope = self._of_q(z)
        value, gradient = self.beta * value, self.beta.unsqueeze(-1) * gradient
        hot = self.beta == 0
        value, gradient = value.masked_fill(hot, 0.0), gradient.masked_fill(hot.unsqueeze(-1), 0.0)
        away = 1 - self.beta
        return value + away * q, gradient + away.unsqueeze(-1) * slope

    def ratio(self, z: Tensor, value: Tensor) -> Tensor:
        """Log of p / q, [R]; -inf where p has no density."""
        return (value - self._of_q(z)[0]).nan_to_num(nan=-math.inf)

    def _of_q(self, z: Tensor) -> tuple[Tensor, Tensor]:
        u = self.frame.whiten(z)
        return self._constant - 0.5 * u.square().sum(-1), -(u @ self.frame.inverse)


class _Rows(Walkers):
    """Walkers that remember the plain density where they stand, so that a swap costs no look."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.plain, self.slope = self.target.last  # type: ignore[attr-defined]

    def _take(self, taken: Tensor, z: Tensor, value: Tensor, gradient: Tensor) -> None:
        plain, slope = self.target.last  # type: ignore[attr-defined]
        self.plain = torch.where(taken, plain, self.plain)
        self.slope = torch.where(taken.unsqueeze(-1), slope, self.slope)
        super()._take(taken, z, value, gradient)


class Ladder:
    """Chains with a copy at every temperature.

    Args:
        target: the density, counted.
        z: where the chains stand, [C, D].
        frame: of q.
        levels: how many temperatures.
        length: leapfrog steps of the mean trajectory.
        generator: the only source of randomness.
    """

    def __init__(
        self,
        target: Target,
        z: Tensor,
        frame: Frame,
        levels: int,
        length: int,
        generator: Generator,
    ) -> None:
        self.chains, self.levels, self.length, self.frame = len(z), levels, length, frame
        self.beta = torch.linspace(0, 1, levels, dtype=torch.float64).pow(3)
        self._density = _Tempered(target, frame, self.beta.repeat_interleave(len(z)))
        self.rows = _Rows(self._density, z.repeat(levels, 1), generator)
        self.log_steps = torch.full((levels,), math.log(0.2), dtype=torch.float64)
        self.refused = torch.zeros(levels - 1, dtype=torch.float64)
        self._odd, self._count = 0, 0
        self.accept, self.warmup = 0.8, 0  # set by those who adapt it
        self._weights = torch.full((levels - 1, self.chains), -math.inf, dtype=torch.float64)

    @property
    def z(self) -> Tensor:
        """Where the chains stand in the posterior itself, [C, D]."""
        return self.rows.z[-self.chains :]

    @property
    def step(self) -> float:
        """The step size in the posterior itself."""
        return float(self.log_steps[-1].exp())

    @property
    def figures(self) -> dict[str, float]:
        """What it has to say of itself: the share of swaps refused, by the worst pair."""
        refused = float(self.refused.max()) / max(self._count, 1)
        return {"swaps_refused": refused, "warmup": float(self.warmup)}

    def advance(self, rate: float = 0.0) -> Moved:
        """A trajectory of every copy and a round of swaps; what happened in the posterior itself.

        Args:
            rate: at which the step sizes are adapted; 0 when they count.
        """
        steps = self.log_steps.exp().repeat_interleave(self.chains)
        count = random_count(self.length, self.rows.generator)
        moved = self.rows.trajectory(self.frame, steps, count)
        if rate:
            accept = torch.tensor([harmonic(a) for a in moved.accept.reshape(self.levels, -1)])
            self.log_steps = self.log_steps + rate * (accept - self.accept)
        self._refresh()
        self._swap()
        cold = slice(-self.chains, None)
        return Moved(moved.accept[cold], moved.energy[cold], moved.divergent[cold])

    def _refresh(self) -> None:
        """Draw the copies at 0 anew."""
        rows, count = self.rows, self.chains
        noise = torch.randn(count, self._density.dim, generator=rows.generator, dtype=torch.float64)
        z = rows.z.clone()
        z[:count] = self.frame.loc + self.frame.move(noise)
        plain, slope = self._density.target.value_and_grad(z[:count])
        bad = ~sound(plain, slope)
        rows.plain, rows.slope = rows.plain.clone(), rows.slope.clone()
        rows.plain[:count] = plain.masked_fill(bad, -math.inf)
        rows.slope[:count] = slope.masked_fill(bad.unsqueeze(-1), 0.0)
        rows.z = z

    def _swap(self) -> None:
        """Offer the even pairs, or the odd ones, to swap; and add to the stepping stones."""
        rows, shape = self.rows, (self.levels, self.chains)
        ratio = self._density.ratio(rows.z, rows.plain).reshape(shape)
        gap = self.beta.diff().unsqueeze(-1)
        self._weights = torch.logaddexp(self._weights, gap * ratio[:-1])
        self._count += 1
        chance = (gap * (ratio[:-1] - ratio[1:])).nan_to_num(nan=-math.inf).exp().clamp(max=1.0)
        self.refused += 1 - chance.mean(1)
        draws = torch.rand(chance.shape, generator=rows.generator, dtype=torch.float64)
        taken = draws < chance
        taken[1 - self._odd :: 2] = False
        self._odd = 1 - self._odd
        order = torch.arange(self.levels * self.chains).reshape(shape)
        low, high = order[:-1].clone(), order[1:].clone()
        order[:-1] = torch.where(taken, high, order[:-1])
        order[1:] = torch.where(taken, low, order[1:])
        at = order.flatten()
        rows.z, rows.plain, rows.slope = rows.z[at], rows.plain[at], rows.slope[at]
        rows.value, rows.gradient = self._density.mixed(rows.z, rows.plain, rows.slope)

    def respace(self) -> None:
        """Move the temperatures to where all pairs would refuse equally often."""
        refused = (self.refused / self._count).clamp(min=1e-4)
        barrier = torch.cat([torch.zeros(1, dtype=torch.float64), refused.cumsum(0)])
        wanted = torch.linspace(0, float(barrier[-1]), self.levels, dtype=torch.float64)
        i = torch.searchsorted(barrier, wanted[1:-1]).clamp(1, self.levels - 1)
        share = (wanted[1:-1] - barrier[i - 1]) / (barrier[i] - barrier[i - 1])
        inner = self.beta[i - 1] + share * (self.beta[i] - self.beta[i - 1])
        self.beta = torch.cat([self.beta[:1], inner, self.beta[-1:]])
        self._density.beta = self.beta.repeat_interleave(self.chains)
        rows = self.rows
        rows.value, rows.gradient = self._density.mixed(rows.z, rows.plain, rows.slope)
        self.forget()

    def forget(self) -> None:
        """Begin anew to count refusals and stepping stones."""
        self.refused.zero_()
        self._weights.fill_(-math.inf)
        self._count = 0

    @property
    def evidence(self) -> Evidence:
        """Log Z by stepping stones, its error by leaving out one chain after the other."""
        total = self._weights.logsumexp(1, keepdim=True)
        others = total + torch.log1p(-(self._weights - total).exp().clamp(max=1 - 1e-12))
        n = self.chains
        without = (others - math.log((n - 1) * self._count)).sum(0)
        log_z = float((total - math.log(n * self._count)).sum())
        return Evidence(log_z, float(((n - 1) * without.var(correction=0)).sqrt()))


def laddered(
    target: Target, chains: int, levels: int, accept: float, generator: Generator
) -> Steps:
    """A ladder that is ready to sample, one trajectory after the other: yields where the chains
    stand and the share of the work that is done, and returns the ladder.

    Raises:
        ValueError: if the density is finite at too few points to start from.
    """
    learner = Learner(scattered(target, chains, RADIUS, generator), accept)
    yield from learner.arrive()
    reach = yield from learner.choose()
    length = max(1, min(MOST, round(reach / learner.step)))
    seen = frame_of(learner.seen, dense=learner.dense)
    wide = Frame(seen.loc, WIDER * seen.root)
    ladder = Ladder(target, learner.walkers.z, wide, levels, length, generator)
    ladder.accept, ladder.warmup = accept, learner.walked + ROUNDS * ROUND
    for number in range(ROUNDS):
        for _ in range(ROUND):
            ladder.advance(rate=0.5 if number < 2 else 0.2)
            yield ladder.z, number / ROUNDS
        ladder.respace()
    return ladder
