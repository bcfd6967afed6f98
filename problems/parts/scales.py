"""Priors of positive parameters, as densities of the logarithm that samplers move: finite wherever
the logarithm is.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

# nats: beyond, exp is held still, so that no square overflows and no 0 * inf arises
EXTREME = 150.0


def exponential(log_x: Tensor) -> Tensor:
    """exp, held still beyond EXTREME either way: [...] -> [...]."""
    return log_x.clamp(-EXTREME, EXTREME).exp()


def log_half_cauchy(log_x: Tensor, scale: float) -> Tensor:
    """Log density of log x where x ~ HalfCauchy(scale), Jacobian included: [...] -> [...], nats."""
    tail = softplus(2 * (log_x - math.log(scale)), threshold=50.0)  # log(1 + (x / scale)^2)
    return math.log(2 / (math.pi * scale)) + log_x - tail


def log_half_normal(log_x: Tensor, scale: float) -> Tensor:
    """Log density of log x where x = |N(0, scale^2)|, Jacobian included: [...] -> [...], nats."""
    return (
        0.5 * math.log(2 / math.pi)
        - math.log(scale)
        + log_x
        - 0.5 * (exponential(log_x) / scale).square()
    )
