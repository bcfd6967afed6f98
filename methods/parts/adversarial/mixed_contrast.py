"""The density that a sampler with several heads is compared with: a mixture of Gaussians, each of
which follows a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from methods.parts.adversarial.contrast import MEMORY, REMEDY

STEP = 0.003  # by which a head's log share falls for each nat that it is above the others
SMALLEST = 0.02  # share of a head, as a multiple of an equal one


class MixedContrast:
    """r, a mixture of H Gaussians on R^D, and coordinates u in which it has mean 0 and covariance
    I.

    Args:
        log_weights: [H], normalised; loc: [H, D]; covariance: [H, D, D]; float64.

    Raises:
        FloatingPointError: here and in ``follow``, if the moments are not those of Gaussians.
    """

    def __init__(self, log_weights: Tensor, loc: Tensor, covariance: Tensor) -> None:
        self.log_weights, self.loc, self.covariance = log_weights, loc, covariance
        self._factor()

    @staticmethod
    def of(draws: Tensor) -> MixedContrast:
        """That of heads of equal shares, with the moments of their draws, [H, n, D], float64."""
        alike = draws.new_full((len(draws),), -math.log(len(draws)))
        return MixedContrast(alike, *_moments(draws))

    def follow(self, draws: Tensor, excess: Tensor) -> None:
        """Move the moments towards those of a batch, [H, n, D], and mass away from the heads where
        log q is too far above log p, [H] nats.
        """
        mean, covariance = _moments(draws)
        shift = mean - self.loc
        self.loc = self.loc + MEMORY * shift
        between = MEMORY * shift.unsqueeze(2) * shift.unsqueeze(1)
        self.covariance = (1 - MEMORY) * (self.covariance + between) + MEMORY * covariance
        above = excess - (excess * self.log_weights.exp()).sum()
        smallest = math.log(SMALLEST / len(draws))
        self.log_weights = (self.log_weights - STEP * above).clamp(min=smallest).log_softmax(0)
        self._factor()

    def _factor(self) -> None:
        weights = self.log_weights.exp()
        middle = weights @ self.loc
        apart = self.loc - middle
        whole = torch.einsum("h,hij->ij", weights, self.covariance) + (weights * apart.T) @ apart
        every = torch.cat([self.covariance, whole.unsqueeze(0)])
        factors, failed = torch.linalg.cholesky_ex(every)
        if failed.any() or not factors.isfinite().all():
            raise FloatingPointError(
                f"AVB diverged: its draws have no finite, positive covariance; {REMEDY}."
            )
        inverses = torch.linalg.inv(factors)
        self.factor, self.inverse = factors[:-1], inverses[:-1]
        log_det = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = self.log_weights - log_det - 0.5 * whole.shape[0] * math.log(2 * math.pi)
        # what recorded functions read: r by its heads, then the frame of u
        self.frame = self.loc, self.factor, self.inverse, constant, middle, inverses[-1]


def log_mixture(z: Tensor, loc: Tensor, inverse: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    """Log r at z, and its slope there: [n, D] -> [n], [n, D]."""
    # all heads in one product: [D, H D], so that row n of u has u_1, ..., u_H side by side
    heads, dim = loc.shape
    turn = inverse.flatten(0, 1).T
    u = torch.addmm(-(inverse @ loc.unsqueeze(2)).flatten(), z, turn)
    log_joint = constant - 0.5 * u.square().view(-1, heads, dim).sum(2)  # [n, H]
    log_r = log_joint.logsumexp(1)
    shares = (log_joint - log_r.unsqueeze(1)).exp()
    slope = (u.view(-1, heads, dim) * -shares.unsqueeze(2)).flatten(1) @ turn.T
    return log_r, slope


def _moments(draws: Tensor) -> tuple[Tensor, Tensor]:
    mean = draws.mean(1)
    apart = draws - mean.unsqueeze(1)
    return mean, apart.transpose(1, 2) @ apart / (draws.shape[1] - 1)
