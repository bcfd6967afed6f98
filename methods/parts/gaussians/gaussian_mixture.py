r"""A mixture of Gaussians as an approximation: density and draws in closed form, many modes.

.. math:: q(z) = \sum_k w_k\, N(z; m_k, L_k L_k^\top)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from methods.base import Approximation, Evidence

NORMAL = 1e-9  # by which the sum of the weights may differ from one


@dataclass(frozen=True, eq=False)
class GaussianMixture(Approximation):
    """K Gaussians on R^D, each with a covariance of its own.

    Args:
        weights: w, positive or 0, summing to one, [K], float64.
        locs: m, the means, [K, D], float64.
        scale_trils: L, lower triangular with a positive diagonal, [K, D, D], float64.
        diagnostics: figures that tell how it was found.
        evidence: the method's own estimate of log Z; None where it makes none.

    Raises:
        ValueError: if the shapes do not match, a number is not finite, the weights do not sum to
            one, or a diagonal is not positive.
    """

    weights: Tensor
    locs: Tensor
    scale_trils: Tensor
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        count, dim = self.locs.shape
        if self.weights.shape != (count,) or self.scale_trils.shape != (count, dim, dim):
            raise ValueError(
                "GaussianMixture(...) takes weights [K], locs [K, D] and scale_trils [K, D, D], got"
                f" {list(self.weights.shape)}, {list(self.locs.shape)} and"
                f" {list(self.scale_trils.shape)}."
            )
        parts = (self.weights, self.locs, self.scale_trils)
        positive = bool((self.weights >= 0).all() and (self._diagonals > 0).all())
        if not (all(part.isfinite().all() for part in parts) and positive):
            raise ValueError(
                "GaussianMixture(...) takes finite numbers, weights that are not negative, and"
                " positive diagonals of scale_trils; some are not."
            )
        if abs(float(self.weights.sum()) - 1) > NORMAL:
            raise ValueError(
                "GaussianMixture(weights=...) must sum to one, the sum is"
                f" {float(self.weights.sum()):.12g}."
            )

    @property
    def _diagonals(self) -> Tensor:
        """Of the factors, [K, D]."""
        return self.scale_trils.diagonal(dim1=-2, dim2=-1)

    def sample(self, n: int, generator: Generator) -> Tensor:
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        eps = torch.randn(n, self.locs.shape[1], generator=generator, dtype=torch.float64)
        z = torch.empty_like(eps)
        for k in range(len(self.locs)):
            rows = which == k
            z[rows] = self.locs[k] + eps[rows] @ self.scale_trils[k].T
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        """Normalised log density, [..., D] -> [...], nats."""
        parts = component_log_probs(z.reshape(-1, z.shape[-1]), self.locs, self.scale_trils)
        return (parts + self.weights.log()).logsumexp(-1).reshape(z.shape[:-1])


def component_log_probs(z: Tensor, locs: Tensor, scale_trils: Tensor) -> Tensor:
    r"""Log density of each Gaussian at each point, [n, D], [K, D], [K, D, D] -> [n, K], nats."""
    white = white_differences(z, locs, scale_trils)
    log_dets = scale_trils.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = 0.5 * z.shape[-1] * math.log(2 * math.pi)
    return -0.5 * white.square().sum(1).T - log_dets - constant


def white_differences(z: Tensor, locs: Tensor, scale_trils: Tensor) -> Tensor:
    """What each Gaussian takes for the noise of each point, L_k^-1 (z - m_k): [K, D, n]."""
    away = z.T - locs.unsqueeze(-1)
    white: Tensor = torch.linalg.solve_triangular(scale_trils, away, upper=False)
    return white
