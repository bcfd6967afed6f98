r"""The density of a semi-implicit approximation between two bounds: the Gaussians that it mixes are
known, so the noise behind a draw is integrated out by proposals, with no search.

For z drawn by way of psi_0, and psi_1, ..., psi_M from any s(psi | z), with weights w_k = q(z |
psi_k) N(psi_k; 0, I) / s(psi_k | z),

.. math:: E \log \frac 1 M \sum_{k=1}^M w_k \;\le\; \log q(z) \;\le\;
   E \log \frac{1}{M + 1} \sum_{k=0}^M w_k

The first is Jensen's inequality. The second holds because psi_0 is an exact draw of q(psi | z)
hidden among M proposals; see ``auxiliary``. With s the law of the noise these are the bounds of
semi-implicit variational inference. Here each proposal is of that law or of the conditional of a
Gaussian mixture fitted to (z, psi), by a fair coin: the first keeps the weights bounded, the second
lies where they are large. Every draw has proposals of its own, so that draws err independently.

Source: M. Yin, M. Zhou, "Semi-implicit variational inference" (2018), arXiv 1805.11183; the
proposals as in Sobolev & Vetrov, "Importance weighted hierarchical variational inference" (2019),
arXiv 1905.03290.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.metrics.brackets.auxiliary import COMPONENTS, Conditional
from bench.metrics.models.gaussian_mixture import choose
from methods.base import SemiImplicit

PROPOSALS = 64  # M
FIT = 4000  # draws that the mixture is fitted to, a fifth of them to choose its size by
BLOCK = 16_000  # proposals held at a time


@dataclass(frozen=True, eq=False)
class Between:
    """Draws of a semi-implicit approximation, and bounds in expectation on its log density there.

    Args:
        points: z, [n, D]; lower, upper: nats, [n].
    """

    points: Tensor
    lower: Tensor
    upper: Tensor


def bounds(approximation: SemiImplicit, dim: int, n: int, generator: Generator) -> Between:
    """Bounds at n fresh draws of D coordinates."""
    learnt = _conditional(approximation, dim, generator)
    parts = []
    for rows in torch.split(torch.arange(n), max(BLOCK // PROPOSALS, 1)):
        eps = _normal(len(rows), approximation.noise_dim, generator)
        parts.append(_bounded(approximation, eps, learnt, generator))
    points, lower, upper = (torch.cat(column) for column in zip(*parts, strict=True))
    return Between(points, lower, upper)


def _conditional(approximation: SemiImplicit, dim: int, generator: Generator) -> Conditional | None:
    """Of psi given z, from draws of both; None where no mixture can be fitted to them."""
    eps, cut = _normal(FIT, approximation.noise_dim, generator), FIT * 4 // 5
    psi = eps[:, : approximation.mixing_dim]
    drawn = torch.cat([approximation.forward(eps).double(), psi], -1)
    try:
        return Conditional(choose(drawn[:cut], drawn[cut:], COMPONENTS, generator), dim)
    except ArithmeticError:
        return None


def _bounded(
    approximation: SemiImplicit, eps: Tensor, learnt: Conditional | None, generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Points, lower and upper bounds of draws by noise eps, [n, K + D]."""
    z, n = approximation.forward(eps).double(), len(eps)
    behind = eps[:, : approximation.mixing_dim]
    many = z.repeat_interleave(PROPOSALS, 0)
    psi = _normal(len(many), approximation.mixing_dim, generator)
    if learnt is not None:
        coin = torch.rand(len(many), 1, generator=generator) < 0.5
        psi = torch.where(coin, psi, learnt.sample(many, generator))
    others = _log_weights(approximation, many, psi, learnt).reshape(n, PROPOSALS)
    known = _log_weights(approximation, z, behind, learnt).unsqueeze(-1)
    total = others.logsumexp(-1, keepdim=True)
    upper = torch.logaddexp(total, known) - math.log(PROPOSALS + 1)
    return z, total[:, 0] - math.log(PROPOSALS), upper[:, 0]


def _log_weights(
    approximation: SemiImplicit, z: Tensor, psi: Tensor, learnt: Conditional | None
) -> Tensor:
    """Log w, nats: [n, D], [n, K] -> [n]."""
    loc, scale = approximation.conditional(psi)
    given = _log_normal((z - loc) / scale) - scale.log().sum(-1)
    if learnt is None:
        return given
    prior = _log_normal(psi)
    return given + prior - torch.logaddexp(prior, learnt.log_prob(z, psi)) + math.log(2)


def _log_normal(u: Tensor) -> Tensor:
    return -0.5 * u.square().sum(-1) - 0.5 * u.shape[-1] * math.log(2 * math.pi)


def _normal(n: int, dim: int, generator: Generator) -> Tensor:
    return torch.randn(n, dim, generator=generator, dtype=torch.float64)
