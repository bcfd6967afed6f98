r"""A mixture of Gaussians fitted to draws: near enough to any posterior with a few bumps and bends
to propose jumps that are accepted.

.. math:: q(z) = \sum_k w_k\, N(z; m_k, C_k)

Fitted by expectation and maximisation (A. P. Dempster, N. M. Laird, D. B. Rubin, 1977,
doi:10.1111/j.2517-6161.1977.tb01600.x), each covariance shrunk a little towards that of all draws.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

ITERATIONS = 15
# draws' worth of the covariance of all draws that every component's is mixed with
WEIGHT_OF_ALL = 0.5
DEFENCE = 0.1  # weight of the wide component
WIDER = 1.5  # its width, in those of all draws
ENOUGH = 5  # draws per component and coordinate; with fewer no component is tried


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A mixture of Gaussians: the proposal of jumps.

    Args:
        weights: [K], they sum to one.
        means: [K, D].
        roots: Cholesky factors of the covariances, [K, D, D].
    """

    weights: Tensor
    means: Tensor
    roots: Tensor

    @functools.cached_property
    def inverses(self) -> Tensor:
        """Inverses of the roots, transposed, [K, D, D]."""
        unit = torch.eye(self.means.shape[1], dtype=self.roots.dtype)
        inverses: Tensor = torch.linalg.solve_triangular(
            self.roots, unit.expand_as(self.roots), upper=False
        )
        return inverses.mT

    @functools.cached_property
    def constants(self) -> Tensor:
        """Log of weight over the determinant of the root, normalised, [K]."""
        logs = self.roots.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.weights.log() - logs - 0.5 * self.means.shape[1] * math.log(2 * math.pi)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Independent draws of the mixture, [n, D], float64, one component after the other."""
        counts = torch.multinomial(self.weights, n, replacement=True, generator=generator).bincount(
            minlength=len(self.weights)
        )
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        parts = torch.split_with_sizes(noise, counts.tolist())
        return torch.cat(
            [m + e @ root.T for m, e, root in zip(self.means, parts, self.roots, strict=True)]
        )

    def log_prob(self, z: Tensor) -> Tensor:
        """Normalised log density of the mixture: [n, D] -> [n], nats."""
        return self.log_parts(z).logsumexp(-1)

    def log_parts(self, z: Tensor) -> Tensor:
        """Log of weight times density of each component: [n, D] -> [n, K], nats."""
        u = (z - self.means.unsqueeze(1)) @ self.inverses
        return (self.constants.unsqueeze(-1) - 0.5 * u.square().sum(-1)).T


def fitted(draws: Tensor, counts: Sequence[int], generator: Generator) -> Gaussians:
    """The mixture, of those with so many components, that fits draws [n, D] best: on a third of
    them that was kept out.

    Raises:
        ArithmeticError: if the draws lie in a subspace.
    """
    n, dim = draws.shape
    shuffled = draws[torch.randperm(n, generator=generator)]
    train, held = shuffled[n // 3 :], shuffled[: n // 3]
    tried = [_fit(train, k, generator) for k in counts if k == 1 or len(train) >= ENOUGH * k * dim]
    best = max(tried, key=lambda mixture: float(mixture.log_prob(held).mean()))
    return _defended(best, draws)


def _defended(mixture: Gaussians, draws: Tensor) -> Gaussians:
    """The mixture with a wide Gaussian about all draws [n, D] beside it: where only that reaches,
    chains would otherwise stay too long.
    """
    root = WIDER * _root(draws.T.cov().reshape(draws.shape[1], -1))
    return Gaussians(
        torch.cat([(1 - DEFENCE) * mixture.weights, torch.tensor([DEFENCE], dtype=draws.dtype)]),
        torch.cat([mixture.means, draws.mean(0, keepdim=True)]),
        torch.cat([mixture.roots, root.unsqueeze(0)]),
    )


def _fit(draws: Tensor, count: int, generator: Generator) -> Gaussians:
    common = draws.T.cov().reshape(draws.shape[1], -1)
    means = _seeds(draws, common.diagonal().sqrt(), count, generator)
    mixture = Gaussians(
        torch.full((count,), 1 / count, dtype=torch.float64),
        means,
        _root(common).expand(count, -1, -1) / count ** (1 / len(common)),
    )
    for _ in range(ITERATIONS if count > 1 else 1):
        mixture = _improved(mixture, draws, common)
    return mixture


def _seeds(draws: Tensor, scale: Tensor, count: int, generator: Generator) -> Tensor:
    """Draws far from each other, by the rule of k-means++: D. Arthur, S. Vassilvitskii, 2007."""
    some = draws[:5_000] / scale
    chosen = [int(torch.randint(len(some), (), generator=generator))]
    nearest = (some - some[chosen[0]]).square().sum(-1)
    for _ in range(count - 1):
        chosen.append(int(torch.multinomial(nearest, 1, generator=generator)))
        nearest = torch.minimum(nearest, (some - some[chosen[-1]]).square().sum(-1))
    return draws[chosen]


def _improved(mixture: Gaussians, draws: Tensor, common: Tensor) -> Gaussians:
    share = mixture.log_parts(draws).softmax(-1)
    total = share.sum(0).clamp(min=1e-9)
    means = (share.T @ draws) / total.unsqueeze(-1)
    apart = draws - means.unsqueeze(1)  # [K, n, D]
    scatter = (share.T.unsqueeze(-1) * apart).mT @ apart
    weight = (total + WEIGHT_OF_ALL).reshape(-1, 1, 1)
    roots = _root((scatter + WEIGHT_OF_ALL * common) / weight)
    return Gaussians(total / total.sum(), means, roots)


def _root(covariance: Tensor) -> Tensor:
    root: Tensor
    root, info = torch.linalg.cholesky_ex(covariance)
    if bool(info.any()):
        raise ArithmeticError("The draws lie in a subspace: no Gaussian can be fitted to them.")
    return root
