r"""Bounds of log p(x) from both sides, for many x at once: annealed importance sampling forwards,
and backwards from a draw of the posterior.

For every x, C chains go through laws between a Gaussian q_0 and the joint density p(x, z), with one
Hamiltonian trajectory at each:

.. math::
    \log f_\beta(z) = (1 - \beta) \log q_0(z) + \beta \log p(x, z), \qquad
    \log w = \sum_t (\beta_t - \beta_{t-1}) \log \frac{p(x, z_{t-1})}{q_0(z_{t-1})}

Forwards E[w] = p(x), so that the log of the average of C weights is below log p(x) in expectation.
Backwards, from an exact draw of p(z | x), E[1 / w] = 1 / p(x), so that minus the log of the average
of 1 / w is above it. There is such a draw where x was simulated: z ~ N(0, I), x ~ p(x | z). How far
the two ends are apart says how good either is.

The step size of each x at each temperature is found by a pilot and then held fixed: a step that
went on adapting would make the weights dependent on the chains' own past.

Source: R. M. Neal, Annealed importance sampling, 2001, arXiv:physics/9803008; R. B. Grosse, Z.
Ghahramani, R. P. Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015,
arXiv:1511.02543; Y. Wu, Y. Burda, R. Salakhutdinov, R. Grosse, On the quantitative analysis of
decoder-based generative models, 2017, arXiv:1611.04273.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

# log p(x_i, z_i), nats, row by row, differentiable: z [C, N, d] -> [C, N]
Joint = Callable[[Tensor], Tensor]
Schedule = Literal["linear", "sigmoid"]

STEEP = 4.0  # the sigmoid schedule runs from minus this to this
WANTED = 0.7  # acceptance that the pilot steers to
GAIN = (
    0.1  # change of the log of a step size for an acceptance that is off by one, each temperature
)
STEPS = (1e-4, 2.0)  # a step size lies between these, in standard deviations of the start
PILOT_CHAINS = 4


@dataclass(frozen=True, eq=False)
class Start:
    """The Gaussian at which the chains of each x start.

    Args:
        loc: means, [N, d], float64; factor: lower triangular, with a positive diagonal, [N, d, d].
    """

    loc: Tensor
    factor: Tensor

    @staticmethod
    def prior(count: int, dim: int) -> Start:
        """N(0, I) for every x."""
        loc = torch.zeros(count, dim, dtype=torch.float64)
        return Start(loc, torch.eye(dim, dtype=torch.float64).expand(count, dim, dim))

    def out(self, u: Tensor) -> Tensor:
        """From coordinates in which the start is N(0, I): [C, N, d] -> [C, N, d]."""
        return self.loc + torch.einsum("nde,cne->cnd", self.factor, u)

    def back(self, z: Tensor) -> Tensor:
        """The way back from ``out``."""
        gap = (z - self.loc).unsqueeze(-1)
        u: Tensor = torch.linalg.solve_triangular(self.factor, gap, upper=False)
        return u.squeeze(-1)

    @property
    def log_volume(self) -> Tensor:
        """log det of the factors, [N]."""
        value: Tensor = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return value


@dataclass(frozen=True, eq=False)
class LogMean:
    """The log of an average of weights for each x.

    Args:
        value: nats, [N]; stderr: its standard error by the delta method, nats, [N].
        effective: how many chains the weights are worth, (sum w)^2 / sum w^2, [N].
        accepted: share of trajectories that were accepted.
    """

    value: Tensor
    stderr: Tensor
    effective: Tensor
    accepted: float


def temperatures(count: int, schedule: Schedule) -> Tensor:
    """From 0 to 1 in so many steps, evenly or, by a sigmoid, more slowly at both ends: [T + 1]."""
    even = torch.linspace(0, 1, count + 1, dtype=torch.float64)
    if schedule == "linear":
        return even
    raw = torch.sigmoid(STEEP * (2 * even - 1))
    return (raw - raw[0]) / (raw[-1] - raw[0])


@dataclass(frozen=True)
class Annealing:
    """How chains are annealed; the same settings for both directions.

    Args:
        chains: C, for each x.
        steps: T, temperatures, each with one trajectory.
        leapfrogs: of a trajectory.
        schedule: of the temperatures.

    Raises:
        ValueError: if a number is not positive, or the schedule is unknown.
    """

    chains: int = 16
    steps: int = 500
    leapfrogs: int = 10
    schedule: Schedule = "sigmoid"

    def __post_init__(self) -> None:
        for name, least in (("chains", 2), ("steps", 1), ("leapfrogs", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"Annealing({name}=...) must be at least {least}, got {getattr(self, name)}."
                )
        if self.schedule not in ("linear", "sigmoid"):
            raise ValueError(
                f"Annealing(schedule=...) must be 'linear' or 'sigmoid', got {self.schedule!r}."
            )

    def lower(self, joint: Joint, start: Start, generator: Generator) -> LogMean:
        """log p(x) from below, in expectation."""
        path = self._path(joint, start, generator)
        u = torch.randn(self.chains, *start.loc.shape, generator=generator, dtype=torch.float64)
        return _log_mean(*path.go(u, forwards=True))

    def upper(self, joint: Joint, start: Start, exact: Tensor, generator: Generator) -> LogMean:
        """log p(x) from above, in expectation, for x that come with an exact draw of p(z | x),
        [N, d]: all chains of an x start there, so that ``stderr`` says how they differ afterwards
        and not what another draw would give; averages over x know that too.
        """
        path = self._path(joint, start, generator)
        u = start.back(exact.expand(self.chains, *exact.shape))
        found = _log_mean(*path.go(u, forwards=False))
        return LogMean(-found.value, found.stderr, found.effective, found.accepted)

    def _path(self, joint: Joint, start: Start, generator: Generator) -> _Path:
        """Step sizes by a pilot of a few chains that goes up once, adapting as it goes."""
        betas = temperatures(self.steps, self.schedule)
        count, dim = start.loc.shape
        sizes = torch.full((self.steps, count), 0.5 / dim**0.25, dtype=torch.float64)
        path = _Path(joint, start, betas, sizes, self.leapfrogs, generator)
        u = torch.randn(PILOT_CHAINS, count, dim, generator=generator, dtype=torch.float64)
        path.pilot(u)
        return path


@dataclass(eq=False)
class _Path:
    joint: Joint
    start: Start
    betas: Tensor
    sizes: Tensor  # [T, N]
    leapfrogs: int
    generator: Generator

    def look(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """What p(x, z) has over the start, nats, and its gradient: [C, N, d] -> [C, N], [C, N,
        d].
        """
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            over = self.joint(self.start.out(u)) + self.start.log_volume - _normal(u)
            (gradient,) = torch.autograd.grad(over.sum(), u)
        bad = ~(over.isfinite() & gradient.isfinite().all(-1))
        return (
            over.detach().masked_fill(bad, -math.inf),
            gradient.masked_fill(bad.unsqueeze(-1), 0.0),
        )

    def go(self, u: Tensor, *, forwards: bool) -> tuple[Tensor, float]:
        """Logs of the weights at the end of the way, [C, N], and the share accepted."""
        log_w = torch.zeros(u.shape[:2], dtype=torch.float64)
        accepted = 0.0
        over, gradient = self.look(u)
        order = range(len(self.sizes))
        for t in order if forwards else reversed(order):
            gap = self.betas[t + 1] - self.betas[t]
            if forwards:
                log_w = log_w + gap * over
            u, over, gradient, accept = self.move(u, over, gradient, t)
            accepted += float(accept.mean())
            if not forwards:
                log_w = log_w - gap * over
        return log_w, accepted / len(self.sizes)

    def pilot(self, u: Tensor) -> None:
        """Find the sizes on the way up: each temperature begins where the last one came to."""
        over, gradient = self.look(u)
        size = self.sizes[0].clone()
        for t in range(len(self.sizes)):
            self.sizes[t] = size
            u, over, gradient, accept = self.move(u, over, gradient, t)
            size = (size * (GAIN * (accept.mean(0) - WANTED)).exp()).clamp(*STEPS)

    def move(
        self, u: Tensor, over: Tensor, gradient: Tensor, t: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One trajectory at temperature t + 1, which leaves its law as it is: u, over, gradient and
        the probabilities to accept, [C, N].
        """
        beta, size = self.betas[t + 1], self.sizes[t].unsqueeze(-1)
        momentum = torch.randn(u.shape, generator=self.generator, dtype=torch.float64)
        before = _normal(u) + beta * over + _normal(momentum)
        new, new_over, new_gradient = u, over, gradient
        momentum = momentum + 0.5 * size * (beta * gradient - u)
        for i in range(self.leapfrogs):
            new = new + size * momentum
            new_over, new_gradient = self.look(new)
            half = 0.5 if i == self.leapfrogs - 1 else 1.0
            momentum = momentum + half * size * (beta * new_gradient - new)
        gain = _normal(new) + beta * new_over + _normal(momentum) - before
        accept = gain.nan_to_num(nan=-math.inf).exp().clamp(max=1.0)
        take = torch.rand(accept.shape, generator=self.generator, dtype=torch.float64) < accept
        row = take.unsqueeze(-1)
        return (
            torch.where(row, new, u),
            torch.where(take, new_over, over),
            torch.where(row, new_gradient, gradient),
            accept,
        )


def _normal(u: Tensor) -> Tensor:
    """log N(u; 0, I), nats: [..., d] -> [...]."""
    value: Tensor = -0.5 * u.square().sum(-1) - 0.5 * u.shape[-1] * math.log(2 * math.pi)
    return value


def _log_mean(log_w: Tensor, accepted: float) -> LogMean:
    """[C, N] -> [N], with the standard error that C independent weights give."""
    count = len(log_w)
    value = log_w.logsumexp(0) - math.log(count)
    ratio = (log_w - value).exp()
    return LogMean(
        value,
        ratio.std(0) / math.sqrt(count),
        count / ratio.square().mean(0),
        accepted,
    )
