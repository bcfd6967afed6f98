"""Densities of sampler networks: where a map has as many inputs as outputs, its Jacobian tells how
it spreads the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.base import Pushforward

BLOCK = 1000  # rows of Jacobians held at a time


@dataclass(frozen=True, eq=False)
class Branch:
    r"""The part of a pushforward's density that one known preimage of each point accounts for.

    .. math::
        \log q_1(f(\epsilon)) = \log N(\epsilon; 0, I) - \log |\det J_f(\epsilon)| \le \log
        q(f(\epsilon))

    with equality where the point has no other preimage; q is the sum of this term over all of them.

    Args:
        points: z = f(eps), [n, D].
        log_q: log q_1 at the points, nats, [n].
        sign: of det J, [n]: 1, -1, or 0 where the map is singular.
    """

    points: Tensor
    log_q: Tensor
    sign: Tensor


def branch(approximation: Pushforward, eps: Tensor) -> Branch:
    """Push noise [n, D] through a square map and account for the density by the preimage that is
    known.
    """
    points, log_dets, signs = [], [], []
    with torch.no_grad():
        for start in range(0, len(eps), BLOCK):
            part = eps[start : start + BLOCK]
            sign, log_det = torch.linalg.slogdet(approximation.jacobian(part).double())
            points.append(approximation.forward(part).double())
            log_dets.append(log_det)
            signs.append(sign)
    normal = -0.5 * eps.square().sum(-1) - 0.5 * eps.shape[1] * math.log(2 * math.pi)
    return Branch(torch.cat(points), normal - torch.cat(log_dets), torch.cat(signs))
