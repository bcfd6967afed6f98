r"""A law on the line known up to its constant: the constant to rounding, and draws by an inverse
CDF that has no grid.

The line is cut into panels, and each is halved until a Legendre series of degree 15 follows the
density on it to a relative 1e-12, in the tails as at the peak. The series is integrated term by
term, which gives the mass of every panel and the CDF inside it; a quantile is the root of that
polynomial, by Newton's method inside a bracket.

Source: L. N. Trefethen, Approximation Theory and Approximation Practice, 2013,
doi:10.1137/1.9781611975949, chapter 19; S. Olver and A. Townsend, Fast inverse transform sampling
in one and two dimensions, 2013, arXiv:1307.1223.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial import legendre
from torch import Generator, Tensor

NODES = 16
PANELS = 64  # at the start
HALVINGS = 40  # at most
# panels still rough at once: more means a density that is not a number there, or not smooth
CROWD = 10_000
TOLERANCE = 1e-12  # of the last coefficients, relative to the largest on the panel
NEGLIGIBLE = 60.0  # nats below the peak: a panel down there is kept as it is
SETTLED = 1e-9  # a Newton step this small (panel: [-1, 1]) squares to rounding


@dataclass(frozen=True, eq=False)
class Law:
    """A density on an interval, normalised, panel by panel.

    Args:
        left, half: left ends and half widths of the P panels, [P].
        density: Legendre coefficients of the density on [-1, 1] of each panel, [16, P].
        cumulative: those of its integral from the left end of the panel, [17, P].
        below: CDF at the left ends, and 1, [P + 1].
        log_mass: log of the integral of the density as it was given, nats.
    """

    left: Tensor
    half: Tensor
    density: Tensor
    cumulative: Tensor
    below: Tensor
    log_mass: float

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Independent draws of the one-dimensional distribution, [n], float64."""
        return self.quantile(torch.rand(n, generator=generator, dtype=torch.float64))

    def quantile(self, share: Tensor) -> Tensor:
        """Inverse of the CDF, [n] -> [n]; shares in [0, 1)."""
        panel = (torch.searchsorted(self.below, share, right=True) - 1).clamp(0, len(self.left) - 1)
        return self.left[panel] + self.half[panel] * (
            1 + self._root(panel, share - self.below[panel])
        )

    def _root(self, panel: Tensor, mass: Tensor) -> Tensor:
        """Where, in [-1, 1], the integral over the panel reaches the mass: [n], [n] -> [n]."""
        low, high = -torch.ones_like(mass), torch.ones_like(mass)
        x = torch.zeros_like(mass)
        for _ in range(HALVINGS):
            total, slope = self._series(panel, x)
            over = total > mass
            low, high = torch.where(over, low, x), torch.where(over, x, high)
            new = x - (total - mass) / slope
            inside = (new >= low - SETTLED) & (new <= high + SETTLED)  # False for NaN
            new = torch.where(inside, new.clamp(low, high), 0.5 * (low + high))
            step = (new - x).abs()
            x = new
            if not bool((step > SETTLED).any()):
                break
        return x

    def _series(self, panel: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Integral and density at x in [-1, 1] of the panels: [n], [n] -> [n], [n]."""
        before, now = torch.ones_like(x), x
        total = self.cumulative[0][panel] + self.cumulative[1][panel] * x
        slope = self.density[0][panel] + self.density[1][panel] * x
        for k in range(1, NODES):  # (k + 1) P_{k+1} = (2k + 1) x P_k - k P_{k-1}
            before, now = now, (x * now).mul_((2 * k + 1) / (k + 1)).sub_(before, alpha=k / (k + 1))
            total.addcmul_(self.cumulative[k + 1][panel], now)
            if k + 1 < NODES:
                slope.addcmul_(self.density[k + 1][panel], now)
        return total, slope


def law(log_density: Callable[[Tensor], Tensor], low: float, high: float) -> Law:
    """The law on [low, high] with this log density, in nats, up to a constant, finite everywhere:
    [n] -> [n].

    Raises:
        ArithmeticError: if halving does not resolve it: it jumps, has a pole, or is not finite.
    """
    with torch.no_grad():
        left, half, peak, series = _resolve(log_density, low, high)
    top = peak.max()
    density = series * (half * (peak - top).exp())
    mass = 2 * density[0].sum()
    density = density / mass
    cumulative = torch.from_numpy(legendre.legint(density.numpy(), lbnd=-1, axis=0))
    below = torch.cat([torch.zeros(1, dtype=torch.float64), (2 * density[0]).cumsum(0)])
    return Law(left, half, density, cumulative, below / below[-1], float(top + mass.log()))


def _resolve(
    log_density: Callable[[Tensor], Tensor], low: float, high: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Panels from left to right: left ends [P], half widths [P], log of the peak [P], series over
    that peak [16, P].
    """
    nodes, project = _rule()
    edges = torch.linspace(low, high, PANELS + 1, dtype=torch.float64)
    left, half = edges[:-1], edges.diff() / 2
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    top = -math.inf
    for _ in range(HALVINGS):
        value = log_density((left + half * (1 + nodes[:, None])).flatten()).reshape(NODES, -1)
        peak = value.amax(0)
        top = max(top, float(peak.max()))
        series = project @ (value - peak).exp()
        rough = series[-3:].abs().amax(0) > TOLERANCE * series.abs().amax(0)
        rough = (rough & (peak > top - NEGLIGIBLE)) | ~peak.isfinite()
        found.append((left[~rough], half[~rough], peak[~rough], series[:, ~rough]))
        if not bool(rough.any()):
            columns = [torch.cat(parts, -1) for parts in zip(*found, strict=True)]
            order = columns[0].argsort()
            return columns[0][order], columns[1][order], columns[2][order], columns[3][:, order]
        left, half = torch.cat([left[rough], left[rough] + half[rough]]), half[rough].repeat(2) / 2
        if len(left) > CROWD:
            break
    raise ArithmeticError(
        f"The density is not finite and smooth near {float(left[0]):.6g}: ever finer panels do not"
        " follow it."
    )


@functools.cache
def _rule() -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes [16], and the matrix from values there to Legendre coefficients [16,
    16].
    """
    nodes, weights = legendre.leggauss(NODES)
    project = (np.arange(NODES)[:, None] + 0.5) * legendre.legvander(nodes, NODES - 1).T * weights
    return torch.from_numpy(nodes), torch.from_numpy(project)
