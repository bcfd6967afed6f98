r"""Stein identities: what the gradient of a density says of its draws, whoever made them.

.. math::
    E_p[\, \phi'(u_j) + \phi(u_j)\, s_j\, \partial_j \log p \,] = 0, \qquad
    E_p[\, \phi(u_{j+1})\, s_j\, \partial_j \log p \,] = 0

for bounded functions of the standardised coordinates u, s their scales; here 1, tanh and tanh
squared, and tanh of the next coordinate. One gradient a draw, and no second route, normalising
constant or sampler has to be trusted.

Source: C. Stein, 1972; J. Gorham, L. Mackey, Measuring sample quality with Stein's method, 2015,
arXiv:1506.03039.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bench.reference.limits import Check, below, together

KINDS = ("location", "scale", "skew", "tie to the next coordinate")


def stein(draws: Tensor, gradient: Tensor, coordinates: Sequence[str]) -> Check:
    """Hold independent draws [n, D] against the gradients of the log density there [n, D]."""
    scale = draws.std(0)
    side, pull = ((draws - draws.mean(0)) / scale).tanh(), gradient * scale
    slope = 1 - side.square()
    terms = [
        pull,
        slope + side * pull,
        2 * side * slope + side.square() * pull,
        side.roll(-1, -1) * pull,
    ]
    if draws.shape[1] == 1:
        del terms[3]
    every = torch.cat(terms, -1)
    scores = (every.mean(0) / (every.std(0) / math.sqrt(len(draws)))).abs().nan_to_num(nan=math.inf)
    worst = int(scores.argmax())
    kind, j = divmod(worst, draws.shape[1])
    note = f"worst of {len(scores)} in standard errors: {KINDS[kind]} of {coordinates[j]}"
    return below("Stein identities", float(scores[worst]), together(len(scores)), note)
