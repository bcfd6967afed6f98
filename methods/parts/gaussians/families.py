r"""Families of Gaussians as functions of parameters without bounds: what a gradient climbs in.

.. math:: z = m + b \odot (A\, \epsilon), \qquad
    A = \mathrm{diag}(s), \quad L, \quad \text{or} \quad [\mathrm{diag}(s), W]

with a unit b for each coordinate, held fixed, L lower triangular, and W of a low rank, whose
Gaussian has the covariance :math:`b^2 (\mathrm{diag}(s^2) + W W^\top)`.

Source of the last: V. M.-H. Ong, D. J. Nott, M. S. Smith, Gaussian variational approximation with a
factor covariance structure, 2018, arXiv:1701.03208.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Generator, Tensor

from methods.parts.gaussians.gaussian import Gaussian

Covariance = Literal["diagonal", "full", "low-rank"]
FIRST = 0.1  # standard deviation of the first entries of W: at 0 they would have no slope


@dataclass(frozen=True, eq=False)
class Family:
    """One of the three families on R^D.

    Args:
        covariance: which.
        centre: what m is counted from, in units b, [D].
        units: b, [D].
        rank: columns of W.
    """

    covariance: Covariance
    centre: Tensor
    units: Tensor
    rank: int = 0

    @property
    def dim(self) -> int:
        """D, the number of coordinates of the family's Gaussians."""
        return len(self.centre)

    @property
    def noise_dim(self) -> int:
        """Standard normals that one draw takes."""
        return self.dim + (self.rank if self.covariance == "low-rank" else 0)

    def first(self, scale: float, generator: Generator) -> Tensor:
        """Parameters of N(centre, (scale b)^2) in a row, [P]; W is near 0, at random."""
        dim = self.dim
        log_scale = torch.full((dim,), scale, dtype=torch.float64).log()
        if self.covariance == "full":
            rest = torch.zeros(dim * (dim - 1) // 2, dtype=torch.float64)
        else:
            wanted = dim * self.rank if self.covariance == "low-rank" else 0
            rest = torch.randn(wanted, generator=generator, dtype=torch.float64) * FIRST * scale
        row = torch.cat([torch.zeros_like(log_scale), log_scale, rest])
        return row.to(self.centre.device)

    def move(self, x: Tensor, eps: Tensor) -> Tensor:
        """Draws made of noise, differentiable by the parameters: [P], [..., K] -> [..., D]."""
        loc, scale, rest = self._parts(x)
        if self.covariance == "full":
            inner = eps @ self._lower(scale, rest).T
        elif self.covariance == "low-rank":
            inner = eps[..., : self.dim] * scale + eps[..., self.dim :] @ rest.reshape(-1, self.dim)
        else:
            inner = eps * scale
        return self.centre + self.units * (loc + inner)

    def log_det(self, x: Tensor) -> Tensor:
        """Half the log determinant of the covariance, differentiable, []."""
        _, scale, rest = self._parts(x)
        own = scale.log().sum() + self.units.log().sum()
        if self.covariance != "low-rank":
            return own
        # not by the smaller determinant of the rank: that loses its digits where an s nears 0
        w = rest.reshape(-1, self.dim)
        inner: Tensor = torch.linalg.slogdet(scale.square().diag() + w.T @ w)[1]
        return 0.5 * inner + self.units.log().sum()

    def gaussian(self, x: Tensor) -> Gaussian:
        """The member of the family at parameters [P], detached."""
        loc, scale, rest = self._parts(x.detach())
        loc = self.centre + self.units * loc
        if self.covariance == "diagonal":
            return Gaussian(loc, self.units * scale)
        if self.covariance == "full":
            return Gaussian(loc, self.units[:, None] * self._lower(scale, rest))
        w = self.units * rest.reshape(-1, self.dim)
        cov = (self.units * scale).square().diag() + w.T @ w
        return Gaussian(loc, torch.linalg.cholesky(cov))

    def around(self, x: Tensor) -> tuple[Family, Tensor]:
        """The same family in units of the member at parameters [P], and that member's parameters
        there.
        """
        loc, scale, rest = self._parts(x.detach())
        if self.covariance == "full":
            raise ValueError("Family.around(...) is for a diagonal and a low rank.")
        here = replace(self, centre=self.centre + self.units * loc, units=self.units * scale)
        rest = (rest.reshape(-1, self.dim) / scale).flatten()
        return here, torch.cat([rest.new_zeros(2 * self.dim), rest])

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loc, log_scale, rest = x.tensor_split([self.dim, 2 * self.dim])
        return loc, log_scale.exp(), rest

    def _lower(self, scale: Tensor, below: Tensor) -> Tensor:
        rows, columns = torch.tril_indices(self.dim, self.dim, -1, device=scale.device)
        return scale.diag().index_put((rows, columns), below)
