r"""The ways up to the modes of a density from several points at once: L-BFGS on minus the log
density with its own history and step length for each point, one call of the density for all.

Source: D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, 1989,
doi:10.1007/BF01589116; the line search: A. S. Lewis, M. L. Overton, Nonsmooth optimization via
quasi-Newton methods, 2013, doi:10.1007/s10107-012-0514-2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.base import Target
from methods.parts.gaussians.laplace import FLAT, STEPS
from methods.parts.optimisation.lbfgs import BISECTIONS, CURVATURE, DECREASE, PATIENCE

Array = NDArray[np.float64]
MEMORY = 20  # past steps that an inverse Hessian is made of


class Way(NamedTuple):
    """A path up to a mode, [n, D], and the log densities on it, [n], nats."""

    path: Tensor
    values: Tensor


def ascents(target: Target, locs: Tensor) -> list[Way]:
    """The way of each point, which ends when five steps together gain less than FLAT nats.

    Args:
        target: the density, finite with its gradient at each of the points.
        locs: where they begin, [S, D].
    """
    rows = [_Ascent(x) for x in locs.numpy()]
    active = rows
    while active:
        points = torch.from_numpy(np.stack([row.asked for row in active]))
        values, slopes = target.value_and_grad(points)
        for row, value, slope in zip(active, (-values).tolist(), -slopes.numpy(), strict=True):
            with np.errstate(all="ignore"):  # a step without length ends a way, by a NaN
                row.told(value, slope)
        active = [row for row in active if not row.done]
    return [
        Way(torch.from_numpy(np.stack(row.path)), -torch.tensor(row.values, dtype=torch.float64))
        for row in rows
    ]


class _Ascent:
    """One L-BFGS that asks for the point it wants evaluated and is told the outcome."""

    def __init__(self, x: Array) -> None:
        self.asked, self.done = x, False
        self.path: list[Array] = []
        self.values: list[float] = []
        self._pairs: list[tuple[Array, Array, np.float64]] = []
        self._low, self._high, self._t, self._tries = 0.0, np.inf, 1.0, 0

    def told(self, value: float, gradient: Array) -> None:
        """Minus the log density and its gradient at the point that was asked for."""
        if not self.path:
            self._arrived(value, gradient)
            return
        slope = float(gradient @ self._direction)
        enough = value <= self.values[-1] + DECREASE * self._t * self._slope
        if not (enough and np.isfinite(value + slope)):
            self._high = self._t
        elif slope < CURVATURE * self._slope:
            self._low = self._t
        else:
            step, change = self.asked - self.path[-1], gradient - self._gradient
            self._pairs = [*self._pairs, (step, change, np.float64(step @ change))][-MEMORY:]
            self._arrived(value, gradient)
            return
        self._tries += 1
        self.done = self._tries >= BISECTIONS
        self._t = 2 * self._low if np.isinf(self._high) else 0.5 * (self._low + self._high)
        self.asked = self.path[-1] + self._t * self._direction

    def _arrived(self, value: float, gradient: Array) -> None:
        self.path.append(self.asked)
        self.values.append(value)
        self._gradient = gradient
        past = self.values[-PATIENCE - 1 :]
        self._direction = -self._precondition(gradient)
        self._slope = float(gradient @ self._direction)
        idle = len(past) > PATIENCE and past[0] - value < FLAT
        self.done = idle or len(self.path) > STEPS or not self._slope < 0
        self._low, self._high, self._t, self._tries = 0.0, np.inf, 1.0, 0
        self.asked = self.path[-1] + self._direction

    def _precondition(self, gradient: Array) -> Array:
        if not self._pairs:
            return gradient / max(1.0, float(np.linalg.norm(gradient)))
        q, weights = gradient, []
        for step, change, product in reversed(self._pairs):
            weights.append(weight := step @ q / product)
            q = q - weight * change
        _, change, product = self._pairs[-1]
        q = q * (product / (change @ change))
        for (step, change, product), weight in zip(self._pairs, reversed(weights), strict=True):
            q = q + (weight - change @ q / product) * step
        return q
