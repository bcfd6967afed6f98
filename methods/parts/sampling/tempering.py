r"""The path from a wide Gaussian to the posterior that annealing methods go, and a population of
particles on it.

.. math:: \log p_\beta(z) = (1 - \beta) \log q(z) + \beta \log p(z), \qquad \beta: 0 \to 1

The particles stand in islands of equal size. The next temperature is the one at which the weights
:math:`(p / q)^{\beta' - \beta}` leave a given share of an island effective; each island is then
resampled by itself, in an order that keeps relatives together, and all particles move by batched
Hamiltonian trajectories until they have forgotten where they stood. The frame of the moves is that
of the particles; the step size follows the acceptance.

Source: P. Del Moral, A. Doucet, A. Jasra, Sequential Monte Carlo samplers, 2006,
doi:10.1111/j.1467-9868.2006.00553.x; A. Jasra, D. A. Stephens, A. Doucet, T. Tsagaris, Inference
for Lévy-driven stochastic volatility models via adaptive sequential Monte Carlo, 2011,
doi:10.1111/j.1467-9469.2010.00723.x (temperatures); A. Buchholz, N. Chopin, P. E. Jacob, Adaptive
tuning of Hamiltonian Monte Carlo within sequential Monte Carlo, 2021, arXiv:1808.07730 (moves).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from methods.base import Evidence, Target
from methods.parts.finite import whereabouts
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.sampling.hmc import Frame, Walkers, frame_of

LENGTH = 1.6  # of a trajectory, in standard deviations: a Gaussian forgets after pi / 2
MOST_STEPS = 48  # leapfrog steps of the mean trajectory
ACCEPT = 0.8  # acceptance probability that the step size follows
FIRST = 0.5  # step size of the first trajectory, in standard deviations
FORGOTTEN = 0.1  # correlation with where a particle stood that counts as none
DENSE = 200  # coordinates up to which the frame has correlations
# share of the particles that move in smaller steps, by a factor of up to e^-SMALLEST: they get into
# narrow places, where the step size of the many is refused
CAREFUL, SMALLEST = 0.25, 3.0
HALVINGS = 60  # of the interval in which the next temperature lies


@dataclass(eq=False)
class Path:
    """The density at one temperature, as a target of its own; its gradients are the target's.

    Args:
        target: p, counted.
        start: q.
        beta: the temperature.
    """

    target: Target
    start: Gaussian
    beta: float = 0.0

    @property
    def dim(self) -> int:
        return self.target.dim

    def log_density(self, z: Tensor) -> Tensor:
        """Differentiable, [..., D] -> [...], nats."""
        wide = self.start.log_prob(z)
        return wide + self.beta * (self.target.log_density(z) - wide)

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log density and gradient, detached: [n, D] -> ([n], [n, D])."""
        value, gradient = self.target.value_and_grad(z)
        wide, slope = self.wide(z)
        return wide + self.beta * (value - wide), slope + self.beta * (gradient - slope)

    def gradient(self, z: Tensor) -> Tensor:
        """The gradient alone, detached: [n, D] -> [n, D]."""
        slope = self._pull(z)
        return slope + self.beta * (self.target.gradient(z) - slope)

    def wide(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """log q and its gradient; the Gaussian has independent coordinates."""
        return self.start.log_prob(z), self._pull(z)

    def _pull(self, z: Tensor) -> Tensor:
        return (self.start.loc - z) / self.start.scale_tril.square()


@dataclass(frozen=True, eq=False)
class Stage:
    """A temperature, and how particles move there.

    Args:
        beta: the temperature.
        frame: the affine map to a round density.
        step: size of a leapfrog step in that frame.
    """

    beta: float
    frame: Frame
    step: float

    @property
    def length(self) -> int:
        """Mean number of leapfrog steps."""
        return max(1, min(MOST_STEPS, math.ceil(LENGTH / self.step)))


@dataclass(eq=False)
class Cloud:
    """Particles on the path, [islands, particles, D] in all.

    Args:
        target: p, counted.
        start: q, with independent coordinates.
        islands, particles: how many, and how many in each.
        generator: the only source of randomness.

    ``gap`` is log p - log q at the particles, [n]; ``log_z`` the estimates of log Z, [islands].

    Raises:
        ValueError: if the density is finite at none of the particles of an island.
    """

    target: Target
    start: Gaussian
    islands: int
    particles: int
    generator: Generator
    walkers: Walkers = field(init=False)
    log_z: Tensor = field(init=False)
    gap: Tensor = field(init=False)

    def __post_init__(self) -> None:
        z = self.start.sample(self.islands * self.particles, self.generator)
        self.path = Path(self.target, self.start, beta=1.0)
        self.walkers = Walkers(self.path, z, self.generator)
        self._see()
        lost = ~self._apart(self.gap.isfinite()).any(1)
        if bool(lost.any()):
            seen = whereabouts(self.target, z, *self.target.value_and_grad(z))
            raise ValueError(
                f"the density is finite at no draw of the wide Gaussian in {int(lost.sum())} of"
                f" {self.islands} islands; it is not finite {seen}. Change radius."
            )
        self.path.beta, self.log_z = 0.0, torch.zeros(self.islands, dtype=torch.float64)

    @property
    def chains(self) -> Tensor:
        """Where the particles stand, [islands, particles, D]."""
        return self._apart(self.walkers.z)

    def go(self, beta: float) -> Tensor:
        """The log weights that a higher temperature gives the particles, [n]; they stay put."""
        weights = (beta - self.path.beta) * self.gap
        wide, slope = self.path.wide(self.walkers.z)
        away = self._slope - slope
        self.path.beta = beta
        self.walkers.value = wide + beta * self.gap
        self.walkers.gradient = slope + beta * away
        return weights

    def keep(self, rows: Tensor) -> None:
        """Leave the particles of these rows [n], one or more times each."""
        walkers = self.walkers
        walkers.z, walkers.value = walkers.z[rows], walkers.value[rows]
        walkers.gradient = walkers.gradient[rows]
        self._see()

    def move(self, stage: Stage) -> float:
        """One trajectory of every particle; the mean acceptance probability."""
        steps = torch.randint(2 * stage.length - 1, (), generator=self.generator)
        draws = torch.rand(2, len(self.gap), generator=self.generator, dtype=torch.float64)
        smaller = torch.where(draws[0] < CAREFUL, (-SMALLEST * draws[1]).exp(), 1.0)
        moved = self.walkers.trajectory(stage.frame, stage.step * smaller, 1 + int(steps))
        self._see()
        return float(moved.accept.mean())

    def resample(self, weights: Tensor) -> None:
        """Resample each island by log weights [n], and take them into log Z."""
        apart = self._apart(weights)
        self.log_z = self.log_z + apart.logsumexp(1) - math.log(self.particles)
        first = self.particles * torch.arange(self.islands).unsqueeze(1)
        self.keep((first + systematic(apart, self.generator)).flatten())

    def _see(self) -> None:
        """Take log p - log q, and the gradient of log p, from what the walkers know."""
        wide, slope = self.path.wide(self.walkers.z)
        beta = self.path.beta
        self.gap = (self.walkers.value - wide) / beta
        self._slope = slope + (self.walkers.gradient - slope) / beta

    def _apart(self, x: Tensor) -> Tensor:
        return x.reshape(self.islands, self.particles, *x.shape[1:])


def anneal(cloud: Cloud, share: float, moves: int) -> Iterator[Stage]:
    """Take a cloud from q to p; yield each stage when its moves are done.

    Args:
        cloud: fresh.
        share: of the particles of an island, that the next temperature leaves effective.
        moves: trajectories in a stage, at most.
    """
    step = FIRST
    while cloud.path.beta < 1:
        cloud.resample(cloud.go(_next(cloud, share)))
        frame = frame_of(cloud.walkers.z, dense=cloud.path.dim <= DENSE)
        before, scale = cloud.walkers.z, frame.root.norm(dim=1)
        for _ in range(moves):
            accept = cloud.move(Stage(cloud.path.beta, frame, step))
            step = min(step * math.exp(accept - ACCEPT), LENGTH)
            jump = ((cloud.walkers.z - before) / scale).square().mean(0)
            if float((1 - 0.5 * jump).max()) < FORGOTTEN:
                break
        yield Stage(cloud.path.beta, frame, step)


def _next(cloud: Cloud, share: float) -> float:
    beta = cloud.path.beta
    gap = cloud.gap.reshape(cloud.islands, cloud.particles)
    low, high = beta, 1.0
    if float(effective((high - beta) * gap).mean()) >= share * cloud.particles:
        return 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        enough = float(effective((middle - beta) * gap).mean()) >= share * cloud.particles
        low, high = (middle, high) if enough else (low, middle)
    return high


def effective(weights: Tensor) -> Tensor:
    """How many particles log weights are worth, [..., n] -> [...]."""
    return (2 * weights.logsumexp(-1) - (2 * weights).logsumexp(-1)).exp()


def systematic(weights: Tensor, generator: Generator) -> Tensor:
    """Rows drawn by log weights with the least spread, in order: [islands, n] -> [islands, n]."""
    islands, n = weights.shape
    share = weights.softmax(1).cumsum(1)
    offset = torch.rand(islands, 1, generator=generator, dtype=torch.float64)
    places = (torch.arange(n) + offset) / n * share[:, -1:]
    return torch.searchsorted(share, places).clamp(max=n - 1)


def wide(dim: int, radius: float) -> Gaussian:
    """The Gaussian that annealing starts from."""
    loc = torch.zeros(dim, dtype=torch.float64)
    return Gaussian(loc, torch.full_like(loc, radius))


def averaged(log_z: Tensor) -> Evidence:
    """One estimate of log Z from independent ones, [n]: the log of the mean of the Z, and its
    error by the delta method.
    """
    share = (log_z - log_z.max()).exp()
    mean = share.mean()
    stderr = float(share.std() / mean) / math.sqrt(len(log_z))
    return Evidence(float(log_z.max() + mean.log()), stderr)
