"""A small network that tells two samples apart: curved differences in many coordinates, which trees
and Gaussians miss.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator
from torch.nn import functional

from bench.metrics.models.network import descend, first_weights, output

EPOCHS, STEPS = 30, 400  # passes over the draws, and steps at most
BATCH = 256
FARTHEST = 30.0  # sd; draws beyond are told by any classifier, and upset this one
RATE, DECAY = 1e-2, 1e-2  # AdamW's, the rate falling to zero


def network(
    points: NDArray[np.float64], of_q: NDArray[np.bool_], at: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Guesses at other draws, [m], whether they are of q, learnt from standardised ones.

    Args:
        points: [n, D]; of_q: which of them are, [n]; at: [m, D].
    """
    generator = Generator().manual_seed(0)  # equal draws, equal guesses
    x, z = (torch.from_numpy(part).clamp(-FARTHEST, FARTHEST).float() for part in (points, at))
    y = torch.from_numpy(of_q).float()
    weights = first_weights(x.shape[1], generator)
    share = float(y.mean().clamp(1e-6, 1 - 1e-6))
    steps = max(1, min(STEPS, EPOCHS * len(x) // BATCH))
    adam = torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY)
    for step in range(steps):
        adam.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        with torch.enable_grad():
            loss = functional.binary_cross_entropy_with_logits(output(weights, x[rows]), y[rows])
            descend(adam, loss)
    with torch.no_grad():
        odds = output(weights, z)
    # copies may unbalance a split
    guesses: NDArray[np.bool_] = (odds > math.log(share / (1 - share))).numpy()
    return guesses
