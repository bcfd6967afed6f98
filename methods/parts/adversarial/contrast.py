"""The density that a sampler is compared with: a Gaussian which follows it, so that little is left
to be learnt.

With ``none`` it stays N(0, I); else it has the sampler's own moments, ``diagonal`` or ``full``: the
adaptive contrast of L. Mescheder, S. Nowozin, A. Geiger, Adversarial Variational Bayes, ICML 2017,
arXiv:1701.04722.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["none", "diagonal", "full"]
MEMORY = 0.02  # share of the newest batch in running figures: an average over the last 50 batches
REMEDY = (
    "try a smaller sampler_lr or discriminator_lr, more steps, or a scale nearer to the posterior's"
)


class Contrast:
    """r, a Gaussian on R^D, and the coordinates u in which it is N(0, I).

    Args:
        kind: which of the sampler's moments it takes.
        draws: of the sampler, [n, D], float64, for the first moments.

    Raises:
        FloatingPointError: here and in ``follow``, if the moments are not those of a Gaussian.
    """

    def __init__(self, kind: Kind, draws: Tensor) -> None:
        self.kind = kind
        self.loc, self.covariance = draws.mean(0), _covariance(draws)
        self._factor()

    def follow(self, draws: Tensor) -> None:
        """Move the moments towards those of a batch, [n, D]."""
        if self.kind == "none":
            return
        shift = draws.mean(0) - self.loc
        self.loc = self.loc + MEMORY * shift
        self.covariance = (1 - MEMORY) * (
            self.covariance + MEMORY * shift.outer(shift)
        ) + MEMORY * _covariance(draws)
        self._factor()

    def _factor(self) -> None:
        if self.kind == "none":
            self.loc, self.covariance = (
                torch.zeros_like(self.loc),
                torch.eye(len(self.loc), dtype=self.loc.dtype),
            )
        elif self.kind == "diagonal":
            self.covariance = self.covariance.diagonal().diag()
        self.factor, failed = torch.linalg.cholesky_ex(self.covariance)
        if failed or not self.factor.isfinite().all():
            raise FloatingPointError(
                f"AVB diverged: its draws have no finite, positive covariance; {REMEDY}."
            )
        self.inverse = torch.linalg.inv(self.factor)
        self.log_det = self.factor.diagonal().log().sum()

    def standardise(self, z: Tensor) -> Tensor:
        """[n, D] -> u, [n, D]."""
        u: Tensor = (z - self.loc) @ self.inverse.T
        return u

    def restore(self, u: Tensor) -> Tensor:
        """The way back: [n, D] -> [n, D]."""
        z: Tensor = self.loc + u @ self.factor.T
        return z

    def log_prob(self, u: Tensor) -> Tensor:
        """Log density of z at standardised u, nats: [n, D] -> [n]."""
        log_r: Tensor = log_normal(u) - self.log_det
        return log_r


def _covariance(draws: Tensor) -> Tensor:
    # torch's is a number where D = 1
    return torch.cov(draws.T).reshape(draws.shape[1], draws.shape[1])


def log_normal(u: Tensor) -> Tensor:
    """Log density of N(0, I), nats: [n, D] -> [n]."""
    return -0.5 * u.square().sum(-1) - 0.5 * u.shape[-1] * math.log(2 * math.pi)
