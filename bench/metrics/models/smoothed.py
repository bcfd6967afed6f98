r"""A density in the plane from very many draws: counted in fine cells, smoothed by a Gaussian, and
mixed with another density that reaches where no draw fell.

.. math:: g(z) = (1 - s)\, \hat q_h(z) + s\, g_0(z)

where q-hat_h is linear between the centres of cells, the counts there averaged over a width h. It
follows edges that a mixture of Gaussians cannot. Other draws choose h and s.

Source: B. W. Silverman, Density estimation for statistics and data analysis, 1986, section 3.5.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bench.metrics.models.gaussian_mixture import Gaussians

SIDE = 512  # cells along each axis
WIDTHS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)  # of the smoothing, cells
SHARES = (0.05, 0.2, 0.5)  # of the other density
REACH = 4.0  # widths; the Gaussian of the smoothing is cut off there
MARGIN = 0.02  # of the extent of the draws that cells go on beyond them, on each side


@dataclass(frozen=True, eq=False)
class Smoothed:
    """A density in the plane, integrating to one or a little less.

    Args:
        low, high: the centres of the first and last cell, [2] each.
        height: of q-hat at the centres of cells, [SIDE, SIDE].
        other: the density mixed with it, of share ``share``.
    """

    low: Tensor
    high: Tensor
    height: Tensor
    other: Gaussians
    share: float

    def log_prob(self, z: Tensor) -> Tensor:
        """Log g, nats: [n, 2] -> [n]."""
        return _mixed(self.between(z), self.other.log_prob(z), self.share)

    def between(self, z: Tensor) -> Tensor:
        """q-hat, linear between the centres: [n, 2] -> [n]."""
        place = 2 * (z - self.low) / (self.high - self.low) - 1
        found = functional.grid_sample(
            self.height[None, None], place.flip(1)[None, None], align_corners=True
        )
        return found[0, 0, 0]


def smoothed(draws: Tensor, choosing: Tensor, other: Gaussians) -> Smoothed:
    """The likeliest such density, by other draws: [n, 2], [m, 2]."""
    least, most = draws.min(0).values, draws.max(0).values
    room = MARGIN * (most - least)
    cell = (most - least + 2 * room) / SIDE
    low, high = least - room + cell / 2, most + room - cell / 2
    number = ((draws - least + room) / cell).long()
    counts = torch.bincount(number[:, 0] * SIDE + number[:, 1], minlength=SIDE**2)
    height = counts.double().reshape(SIDE, SIDE) / (len(draws) * cell.prod())
    of_other = other.log_prob(choosing)
    widths = [Smoothed(low, high, _averaged(height, width), other, 0.0) for width in WIDTHS]
    candidates = [
        (float(_mixed(at, of_other, share).mean()), one, share)
        for (one, at), share in itertools.product(
            [(w, w.between(choosing)) for w in widths], SHARES
        )
    ]
    _, best, share = max(candidates, key=lambda candidate: candidate[0])
    return Smoothed(low, high, best.height, other, share)


def _mixed(found: Tensor, log_other: Tensor, share: float) -> Tensor:
    return torch.logaddexp(found.log() + math.log(1 - share), log_other + math.log(share))


def _averaged(height: Tensor, width: float) -> Tensor:
    """Smoothed along both axes; nothing lies outside."""
    reach = math.ceil(REACH * width)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width).double() ** 2)
    weights = (weights / weights.sum())[None, None]
    for _ in range(2):
        rows = functional.conv1d(height[:, None], weights, padding=reach)
        height = rows[:, 0].T.contiguous()
    return height
