"""Where a method begins, and how far it plans to go: points at which the density and its gradient
are finite, and as many iterations as the budget allows.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from methods.base import Budget, Target
from methods.parts.finite import sound, whereabouts

REACH = 2.0  # starts are uniform on (-REACH, REACH) in each coordinate, as Stan's are
BATCHES = 10  # of points tried before giving up
BATCH = 20


def beginnings(target: Target, n: int, generator: Generator, who: str) -> Tensor:
    """Starting points, uniform on (-2, 2) in each coordinate where the density is finite, [n, D].

    Args:
        target: the density.
        n: how many.
        generator: of the points.
        who: the method, as its error names it.

    Raises:
        FloatingPointError: if the density is finite at none of the points tried.
    """
    found = torch.empty(0, target.dim, dtype=torch.float64)
    z = found
    for _ in range(BATCHES):
        z = torch.rand(max(n, BATCH), target.dim, generator=generator, dtype=torch.float64)
        z = REACH * (2 * z - 1)
        found = torch.cat([found, z[sound(*target.value_and_grad(z))]])
        if len(found) >= n:
            return found[:n]
    if len(
        found
    ):  # a density that is finite on a small part of the box: begin there more than once
        return found[torch.arange(n) % len(found)]
    raise FloatingPointError(
        f"{who} found no point to start from, uniform on (-{REACH:g}, {REACH:g}) in each"
        " coordinate: the density is not finite"
        f" {whereabouts(target, z, *target.value_and_grad(z))}."
    )


def planned(budget: Budget, iterations: int, gradients: int) -> int:
    """Iterations that a budget of gradients allows, at so many each: at most ``iterations``, at
    least one. The last gradient stays unspent, for after it the target answers no more.
    """
    if budget.gradients is None:
        return iterations
    return max(1, min(iterations, (budget.gradients - 1) // gradients))
