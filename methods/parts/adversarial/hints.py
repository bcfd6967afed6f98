"""What an informed discriminator is told of a draw, and what its verdict then says of log q - log
p.

The hint is log p - log r less its usual level, for p is known up to a constant only, and kept
within a knee on both sides. An informed T is network(u, hint) + hint, and the hint's own slope
cancels that of log p. Beyond the knee it would not: there log p counts as capped, or a narrow
funnel, whose neck the network cannot see, would draw everything in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.parts.networks.discriminator import Discriminator

# nats; how far log p - log r may be from its usual level before an informed discriminator is told
# "far" alone
KNEE = 10.0


def hints(excess: Tensor, level: Tensor, newest: Tensor) -> tuple[Tensor, Tensor]:
    """The hints of S lessons, [S, 2 n], and the level after the last, [].

    Args:
        excess: log p - log r at n draws of q and then n of r in each lesson, [S, 2 n], nats.
        level: running median of it on q, [].
        newest: share of the newest lesson in that, [].
    """
    usual = excess[:, : excess.shape[1] // 2].nanmedian(1).values
    levels = []
    for middle in usual.unbind():
        level = level.lerp(middle, newest)
        levels.append(level)
    # where r strays, a density may overflow
    hint = (excess - torch.stack(levels).unsqueeze(1)).clamp(-KNEE, KNEE).nan_to_num(nan=-KNEE)
    return hint, level


def verdict(
    discriminator: Discriminator, rival: Tensor, u: Tensor, excess: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """T - excess, [n], nats, and its slopes by u, [n, D], and by excess, [n].

    Args:
        discriminator: the network, with weights ``rival``, [weights].
        u: the draws as it sees them, [n, D].
        excess: log p - log r less its usual level, [n], nats.
    """
    inputs = torch.column_stack([u, excess.clamp(-KNEE, KNEE)]).float()
    said, by_input = discriminator.judge(rival, inputs)
    by_excess = by_input[:, -1] * (excess.abs() < KNEE) - (excess < -KNEE).double()
    return said + (-KNEE - excess).clamp(min=0), by_input[:, :-1], by_excess
