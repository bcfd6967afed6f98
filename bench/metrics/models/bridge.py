r"""Are these draws of that density, its constant included? A test in which every term is bounded,
so that heavy tails do not break it.

For any density r that can be drawn from, here bumps fitted to other draws,

.. math:: E_{z \sim r}\, \frac{h\,p}{p + r} = E_{z \sim p}\, \frac{h\,r}{p + r}

(X.-L. Meng and W. H. Wong, Simulating ratios of normalizing constants via a simple identity, 1996).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

# standard errors that count as broken: some hundred averages are tested, each wrong once in two
# million
SIGMAS = 5.0
FREEDOM = 5  # degrees of freedom of the Student-t bumps
LogDensity = Callable[[Tensor], Tensor]
ROUNDS = 1_000
TOLERANCE = 1e-10  # nats by which the last round may move


class Proposal(Protocol):
    """A normalised density that can be drawn from: the other side of a bridge."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Independent draws of the mixture, [n, D], float64."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Normalised log density of the mixture: [n, D] -> [n], nats."""


@dataclass(frozen=True, eq=False)
class Gauge:
    """Bounded test functions of z: three per coordinate, on the scale of some draws, and the height
    of the density.

    Args:
        loc, scale: median and half of the middle 68% of the draws and of their log density, [D +
            1].
    """

    loc: Tensor
    scale: Tensor

    def __call__(self, z: Tensor, log_p: Tensor) -> Tensor:
        """[n, D], [n] -> [n, 3 D + 1]."""
        u = (torch.cat([z, log_p.unsqueeze(-1)], -1) - self.loc) / self.scale
        side, z = u.tanh(), u[:, :-1]
        return torch.cat(
            [
                side[:, :-1],
                1 / (1 + z.square()),
                side[:, :-1] * side[:, :-1].roll(-1, -1),
                side[:, -1:],
            ],
            -1,
        )


def gauge(draws: Tensor, log_p: Tensor) -> Gauge:
    """Test functions for draws [n, D] and their log density [n]."""
    both = torch.cat([draws, log_p.unsqueeze(-1)], -1)[:10_000]
    low, middle, high = torch.quantile(
        both, torch.tensor([0.16, 0.5, 0.84], dtype=draws.dtype), dim=0
    )
    return Gauge(middle, (0.5 * (high - low)).clamp(min=1e-300))


def scores(terms: Tensor) -> Tensor:
    """Averages in standard errors, [n, K] -> [K]; 0 where nothing varies around 0."""
    mean, deviation = terms.mean(0), terms.std(0)
    return torch.where(
        (mean == 0) & (deviation == 0), 0.0, mean / (deviation / math.sqrt(len(terms)))
    )


@dataclass(frozen=True, eq=False)
class Bumps:
    """A mixture of Student-t densities.

    Args:
        weights: [K], they sum to one.
        locs: [K, D].
        roots: Cholesky factors of the scale matrices, [K, D, D].
    """

    weights: Tensor
    locs: Tensor
    roots: Tensor

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Independent draws of the mixture, [n, D], float64."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.locs.shape[1], generator=generator, dtype=self.locs.dtype)
        squares = (
            torch.randn(n, FREEDOM, generator=generator, dtype=self.locs.dtype)
            .square()
            .mean(-1, keepdim=True)
        )
        for k, root in enumerate(self.roots):
            noise[which == k] @= root.T
        return self.locs[which] + noise / squares.sqrt()

    def log_prob(self, z: Tensor) -> Tensor:
        """Normalised log density of the mixture: [n, D] -> [n], nats."""
        dim = self.locs.shape[1]
        constant = (
            math.lgamma((FREEDOM + dim) / 2)
            - math.lgamma(FREEDOM / 2)
            - 0.5 * dim * math.log(FREEDOM * math.pi)
        )
        parts = []
        for weight, loc, root in zip(self.weights, self.locs, self.roots, strict=True):
            u = torch.linalg.solve_triangular(root, (z - loc).T, upper=False)
            fall = 0.5 * (FREEDOM + dim) * torch.log1p(u.square().sum(0) / FREEDOM)
            parts.append(weight.log() + constant - root.diagonal().log().sum() - fall)
        return torch.stack(parts).logsumexp(0)


def bumps(draws: Tensor, labels: Tensor | None = None) -> Bumps:
    """A bump for each label that has enough draws: [n, D], [n] -> Bumps.

    Raises:
        ArithmeticError: if the draws lie in a subspace, or are too few.
    """
    groups = (
        [draws] if labels is None else [draws[labels == k] for k in range(int(labels.max()) + 1)]
    )
    groups = [group for group in groups if len(group) >= 5 * draws.shape[1] + 10]
    if not groups:
        raise ArithmeticError(f"{len(draws)} draws are too few to fit a density to.")
    roots, info = torch.linalg.cholesky_ex(
        torch.stack([group.T.cov().reshape(draws.shape[1], -1) for group in groups])
    )
    if bool(info.any()):
        raise ArithmeticError("The draws lie in a subspace.")
    weights = torch.tensor([len(group) for group in groups], dtype=draws.dtype)
    return Bumps(weights / weights.sum(), torch.stack([group.mean(0) for group in groups]), roots)


@dataclass(frozen=True, eq=False)
class Bridge:
    """Both sides of the identity of the bridge.

    Args:
        scores: left minus right for h = 1 and for each test function, in standard errors, [3 D +
            2].
        overlap: the average of 2 r / (p + r) over p: 1 where r equals p, 0 where they have nothing
            in common.
        log_z: log of the integral of p that would balance the sides for h = 1, nats; NaN where
            the two have too little in common.
    """

    scores: Tensor
    overlap: float
    log_z: float


def bridge(
    draws: Tensor, log_density: LogDensity, proposal: Proposal, generator: Generator
) -> Bridge:
    """Hold draws [n, D] against a normalised log density."""
    proposed = proposal.sample(len(draws), generator)
    log_p, log_r = log_density(draws), log_density(proposed)
    h = gauge(draws, log_p)
    there, here = log_r - proposal.log_prob(proposed), log_p - proposal.log_prob(draws)
    left = torch.sigmoid(there).unsqueeze(-1) * _with_one(h(proposed, log_r))
    right = torch.sigmoid(-here).unsqueeze(-1) * _with_one(h(draws, log_p))
    overlap = float(left[:, 0].mean() + right[:, 0].mean())
    try:
        log_z = balanced(here, there)
    except ArithmeticError:
        log_z = math.nan
    return Bridge(scores(left - right), overlap, log_z)


def _with_one(values: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(values[:, :1]), values], -1)


def balanced(here: Tensor, there: Tensor) -> float:
    """The log Z at which both sides are equal, from log ratios p / r at draws of p and of r.

    Raises:
        ArithmeticError: if there is none.
    """
    value = float(here.median())
    for _ in range(ROUNDS):
        step = float(
            torch.sigmoid(there - value).mean().log() - torch.sigmoid(value - here).mean().log()
        )
        if not math.isfinite(step):
            break
        value += step
        if abs(step) < TOLERANCE:
            return value
    raise ArithmeticError(
        "The fitted mixture and the posterior have too little in common for bridge sampling."
    )
