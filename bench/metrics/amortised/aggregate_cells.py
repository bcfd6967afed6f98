r"""KL from the mixture of all codes to the prior in one or two coordinates: by quadrature where the
mixture has a density, else from below by counting draws in cells.

With cells C that cover the space, p their prior masses, and a density that is the prior times a
constant in each cell,

.. math::
    r_C = (1 - \epsilon)\, \frac{n_C}{n\, p_C} + \epsilon, \qquad
    E_{q(z)} \log r_{C(z)} \le KL(q(z) \| p(z)),

since r p is a density: n_C counts some draws, and the average is over others, so that it holds
whatever the counts. What is lost is what q varies inside a cell, and the noise of the counts; a
third set of draws chooses the width of the cells, and the share epsilon, that lose least.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Generator, Tensor

from bench.metrics.amortised.base import Pair
from bench.metrics.amortised.mixture import Aggregate, log_mixture
from bench.metrics.base import Estimate
from methods.amortised.base import GaussianEncoder
from problems.generative.parts.latent_grid import latent_grid, log_prior

WIDTHS = (0.05, 0.1, 0.2, 0.4, 0.8)  # of the cells, prior standard deviations
REACH = 8.0  # where the outermost cells, which have no outer edge, begin
COUNTED, CHOOSING, JUDGED = 200_000, 50_000, 150_000  # draws
AT_ONCE = 50_000  # of them in one call
SHARES = (1e-3, 1e-2)  # of the prior in r: a cell that no draw was counted in is not out of reach
WORK = 2**25  # densities of codes at most
MISSED = 1e-4  # nats of log mass: more means that panels missed a narrow code


class _TooMuchError(Exception):
    """The panels ask for more densities than they are worth."""


def integrated(pair: Pair) -> Estimate | None:
    """The divergence by quadrature; None where the codes are no Gaussians, too narrow, or too
    many.
    """
    if not isinstance(pair.encoder, GaussianEncoder):
        return None  # the density of a flow costs more, and has edges that ask for many panels
    left = WORK

    def ratio(z: Tensor) -> Tensor:
        nonlocal left
        left -= len(z) * len(pair.x)
        if left < 0:
            raise _TooMuchError
        return (log_mixture(pair, z) - log_prior(z)).unsqueeze(1)

    try:
        grid = latent_grid(ratio, pair.decoder.latent_dim)
    except (_TooMuchError, ArithmeticError):
        return None
    if abs(float(grid.log_evidence[0])) > MISSED:
        return None
    return Estimate(float(grid.log_likelihood[0]), 0.0, "exact")


def counted(pair: Pair) -> Estimate:
    """A bound from below by draws alone."""
    q, generator = Aggregate(pair), pair.generator()
    counts = _drawn(q, COUNTED, generator)
    choosing = _drawn(q, CHOOSING, generator)
    judged = _drawn(q, JUDGED, generator)
    choices = list(itertools.product(WIDTHS, SHARES))
    best = max(choices, key=lambda choice: float(log_ratio(counts, choosing, *choice).mean()))
    values = log_ratio(counts, judged, *best)
    stderr = float(values.std()) / math.sqrt(len(values))
    note = f"From below, by draws in cells {best[0]:g} wide."
    return Estimate(float(values.mean()), stderr, "lower bound", note, len(values))


def _drawn(q: Aggregate, n: int, generator: Generator) -> Tensor:
    return torch.cat([q.sample(AT_ONCE, generator) for _ in range(n // AT_ONCE)])


class Cells:
    """Cells of one width that cover all of space, the outermost without an outer edge.

    Args:
        width: prior standard deviations; dim: coordinates, one or two.
    """

    def __init__(self, width: float, dim: int) -> None:
        steps = round(2 * REACH / width) + 1
        self.edges = torch.linspace(-REACH, REACH, steps, dtype=torch.float64)
        self.side, self.count = steps + 1, (steps + 1) ** dim

    def number(self, z: Tensor) -> Tensor:
        """Which cell each point is in: [n, d] -> [n]."""
        place = self._place(z)
        return place[:, 0] * self.side + place[:, 1] if z.shape[1] > 1 else place[:, 0]

    def log_mass(self, z: Tensor) -> Tensor:
        """Log prior mass of the cell that each point is in: [n, d] -> [n], nats."""
        cdf = torch.special.ndtr(self.edges)
        mass = torch.cat([cdf[:1], cdf.diff(), cdf[:1]])
        lower = mass[: (len(mass) + 1) // 2]  # the upper ones by symmetry: they would lose digits
        mass = torch.cat([lower, lower[: len(mass) - len(lower)].flip(0)])
        return mass.log()[self._place(z)].sum(1)

    def _place(self, z: Tensor) -> Tensor:
        return torch.bucketize(z.contiguous(), self.edges)


def log_ratio(counted: Tensor, at: Tensor, width: float, light: float) -> Tensor:
    """Log r, nats, at draws, by the cells that others were counted in: [n, d], [m, d] -> [m]."""
    cells = Cells(width, at.shape[1])
    share = torch.bincount(cells.number(counted), minlength=cells.count) / len(counted)
    held = share[cells.number(at)].double()
    return ((1 - light) * held / cells.log_mass(at).exp() + light).log()
