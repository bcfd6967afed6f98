r"""Adam on one flat vector of weights, its gradient clipped, by torch's fused update.

Torch's optimiser costs ten times the update itself in checks and look-ups where there is a single
parameter. The gradient g is divided by :math:`\max(1, |g| / c)`, c the largest norm.

Source: D. P. Kingma, J. Ba, Adam: a method for stochastic optimization, 2015, arXiv:1412.6980.
"""

from __future__ import annotations

import torch
from torch import Tensor

BETA2, EPS = 0.999, 1e-8  # the authors'


class Adam:
    """The optimiser of a vector that it changes in place.

    Args:
        weights: [weights].
        beta1: memory of the gradient.
        clip: largest norm of a gradient.
    """

    def __init__(self, weights: Tensor, beta1: float, clip: float) -> None:
        self.weights, self.beta1, self.clip = weights, beta1, clip
        self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)
        self.steps = torch.zeros((), device=weights.device)

    def step(self, gradient: Tensor, norm: Tensor, lr: float) -> None:
        """Change the weights by a gradient, which is used up, and its norm."""
        self.steps += 1
        torch._fused_adam_(
            [self.weights],
            [gradient],
            [self.mean],
            [self.square],
            [],
            [self.steps],
            lr=lr,
            beta1=self.beta1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
            grad_scale=(norm / self.clip).clamp_(min=1.0),
        )
