r"""Do these draws follow that density? Two tests in which every term is bounded, so that heavy
tails break neither.

Leaps, for a density up to its constant. A move z -> z' that is as likely as its reverse, taken with
probability a(z, z') = p(z') / (p(z) + p(z')), leaves p as it is (A. A. Barker, 1965,
doi:10.1071/PH650119), so that

.. math:: E_{z \sim p}\, a(z, z')\,(h(z') - h(z)) = 0 \quad \text{for every bounded } h.

The moves are differences of other draws (C. J. F. ter Braak, 2006, doi:10.1007/s11222-006-8769-1),
so that they have the scale of the posterior and lead from mode to mode.

Bridge, for the constant too. For any density r that can be drawn from, here Student-t bumps fitted
to other draws,

.. math:: E_{z \sim r}\, \frac{h\,p}{p + r} = E_{z \sim p}\, \frac{h\,r}{p + r}

(X.-L. Meng and W. H. Wong, Simulating ratios of normalizing constants via a simple identity, 1996).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

# standard errors that count as broken: some hundred averages are tested, each wrong once in two
# million
SIGMAS = 5.0
FREEDOM = 5  # degrees of freedom of the Student-t bumps
KINDS = ("location", "spread", "tie to the next coordinate")
LogDensity = Callable[[Tensor], Tensor]


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


def label(index: int, coordinates: Sequence[str]) -> str:
    """What a test function tells, in words."""
    kind, i = divmod(index, len(coordinates))
    return f"{KINDS[kind]} of {coordinates[i]}" if kind < len(KINDS) else "height of the density"


def scores(terms: Tensor) -> Tensor:
    """Averages in standard errors, [n, K] -> [K]; 0 where nothing varies around 0."""
    mean, deviation = terms.mean(0), terms.std(0)
    return torch.where(
        (mean == 0) & (deviation == 0), 0.0, mean / (deviation / math.sqrt(len(terms)))
    )


def leaps(
    draws: Tensor, log_density: LogDensity, generator: Generator
) -> Iterator[tuple[str, Tensor]]:
    """For each kind of move: its name, and how far it drives each test function, in standard errors
    [3 D + 1].

    Each draw moves by the difference of the next two, there and back. The terms of the average
    share draws, but each has mean zero given all draws but its own, so no two of them are
    correlated.
    """
    log_p = log_density(draws)
    h = gauge(draws, log_p)
    before = h(draws, log_p)
    for name, step in _steps(draws.roll(-1, 0) - draws.roll(-2, 0), generator):
        drift = torch.zeros_like(before)
        for new in (draws + step, draws - step):
            new_log_p = log_density(new)
            drift += torch.sigmoid(new_log_p - log_p).unsqueeze(-1) * (h(new, new_log_p) - before)
        yield name, scores(drift)


def _steps(apart: Tensor, generator: Generator) -> Iterator[tuple[str, Tensor]]:
    n, dim = apart.shape
    shorter = 10 ** -torch.rand(n, 1, generator=generator, dtype=apart.dtype)
    yield "leaps as long as from draw to draw", apart
    yield "short steps", apart * shorter * (2.4 / math.sqrt(2 * dim))
    one = torch.nn.functional.one_hot(torch.randint(dim, (n,), generator=generator), dim)
    yield "steps along one coordinate", apart * one * shorter


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
        """[n, D]."""
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
        """[n, D] -> [n], nats."""
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
        log_z: log of the integral of p that would balance the sides for h = 1, nats.
    """

    scores: Tensor
    overlap: float
    log_z: float


def bridge(draws: Tensor, log_density: LogDensity, proposal: Bumps, generator: Generator) -> Bridge:
    """Hold draws [n, D] against a normalised log density."""
    proposed = proposal.sample(len(draws), generator)
    log_p, log_q = log_density(draws), log_density(proposed)
    h = gauge(draws, log_p)
    ratio_q, ratio_p = log_q - proposal.log_prob(proposed), log_p - proposal.log_prob(draws)
    left = torch.sigmoid(ratio_q).unsqueeze(-1) * _with_one(h(proposed, log_q))
    right = torch.sigmoid(-ratio_p).unsqueeze(-1) * _with_one(h(draws, log_p))
    overlap = float(left[:, 0].mean() + right[:, 0].mean())
    return Bridge(scores(left - right), overlap, _balance(ratio_q, ratio_p))


def _with_one(values: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(values[:, :1]), values], -1)


def _balance(ratio_q: Tensor, ratio_p: Tensor) -> float:
    log_z = 0.0
    for _ in range(100):
        log_z += float(
            torch.sigmoid(ratio_q - log_z).mean().log()
            - torch.sigmoid(log_z - ratio_p).mean().log()
        )
    return log_z
