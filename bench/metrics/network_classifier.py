"""A small network that tells two samples apart: curved differences in many coordinates, which trees and Gaussians miss."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional

WIDTH = 64  # of two hidden layers
EPOCHS, STEPS = 30, 400  # passes over the draws, and steps at most
BATCH = 256
FARTHEST = 30.0  # sd; draws beyond are told by any classifier, and upset this one
RATE, DECAY = 1e-2, 1e-2  # AdamW's, the rate falling to zero


def network(points: NDArray[np.float64], of_q: NDArray[np.bool_], at: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Guesses at other draws, [m], whether they are of q, learnt from standardised ones.

    Args:
        points: [n, D]; of_q: which of them are, [n]; at: [m, D].
    """
    generator = Generator().manual_seed(0)  # equal draws, equal guesses
    x, z = (torch.from_numpy(part).clamp(-FARTHEST, FARTHEST).float() for part in (points, at))
    y = torch.from_numpy(of_q).float()
    weights = _weights(x.shape[1], generator)
    share = float(y.mean().clamp(1e-6, 1 - 1e-6))
    steps = max(1, min(STEPS, EPOCHS * len(x) // BATCH))
    adam = torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY)
    for step in range(steps):
        adam.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        with torch.enable_grad():
            loss = functional.binary_cross_entropy_with_logits(_odds(weights, x[rows]), y[rows])
            for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.grad = slope
        adam.step()
    with torch.no_grad():
        guesses: NDArray[np.bool_] = (_odds(weights, z) > math.log(share / (1 - share))).numpy()  # copies may unbalance a split
    return guesses


def _weights(dim: int, generator: Generator) -> list[Tensor]:
    layers = [
        (torch.randn(a, b, generator=generator) / math.sqrt(a), torch.zeros(b))
        for a, b in itertools.pairwise((dim, WIDTH, WIDTH))
    ]
    found = [*(part for layer in layers for part in layer), torch.zeros(WIDTH, 1), torch.zeros(1)]
    return [weight.requires_grad_() for weight in found]


def _odds(weights: list[Tensor], x: Tensor) -> Tensor:
    """Log odds of q at points [n, D]: [n]."""
    a, b, c, d, e, f = weights
    hidden = functional.silu(torch.addmm(b, x, a))
    return torch.addmm(f, functional.silu(torch.addmm(d, hidden, c)), e)[:, 0]
