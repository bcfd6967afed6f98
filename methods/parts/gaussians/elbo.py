r"""The evidence lower bound of a Gaussian on fixed draws, in coordinates in which that Gaussian is
round.

.. math::
    -\mathrm{ELBO}(u, \Lambda) = -\frac1n \sum_k \log p\big(m + B (u + \Lambda \epsilon_k)\big)
    - \sum_i \log \Lambda_{ii} - \sum_i \log B_{ii}

The frame (m, B) is any Gaussian of the family; with B lower triangular, or diagonal, so is
:math:`B \Lambda`. Near the optimum B the Hessian is that of a standard normal whatever the scale
of a coordinate: 1 in u, 2 in :math:`\log \Lambda_{ii}` and 1 below the diagonal. This makes the
climb independent of units, and half the squared gradient, so weighted, the gap that is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.quasirandom import SobolEngine

from methods.base import Target

# evaluated at a time: few enough to stay in the cache, enough to keep a cheap density busy, and as
# many whatever the number of all draws, so that the target records one shape
ROWS = 1024
FLATTEST = 1e-3  # least curvature that a gap is estimated with: less is told from noise too badly


@dataclass(frozen=True, eq=False)
class Frame:
    """The Gaussian N(loc, factor factor^T), and the map from standard normal draws to its own.

    Args:
        loc: [D].
        factor: lower triangular [D, D], or [D] for a diagonal family.
    """

    loc: Tensor
    factor: Tensor

    @property
    def full(self) -> bool:
        """Whether the factor has more than its diagonal."""
        return self.factor.dim() == 2

    @property
    def diagonal(self) -> Tensor:
        """The diagonal of the factor, [D]."""
        return self.factor.diagonal() if self.full else self.factor

    def move(self, u: Tensor) -> Tensor:
        """Differences of u as differences of z: [..., D] -> [..., D]."""
        return u @ self.factor.T if self.full else u * self.factor

    def pull(self, slope: Tensor) -> Tensor:
        """Gradients by z as gradients by u: [..., D] -> [..., D]."""
        return slope @ self.factor if self.full else slope * self.factor

    def on(self, device: str) -> Frame:
        """The same Gaussian on a device."""
        return Frame(self.loc.to(device), self.factor.to(device))

    def halved(self) -> Frame:
        """The same Gaussian with half the width."""
        return Frame(self.loc, self.factor / 2)

    def divergence(self, other: Frame) -> float:
        """KL of this Gaussian from another of the same family, nats."""
        if self.full:
            ratio = torch.linalg.solve_triangular(other.factor, self.factor, upper=False)
            shift = torch.linalg.solve_triangular(
                other.factor, (self.loc - other.loc).unsqueeze(1), upper=False
            )
            scales = ratio.diagonal()
        else:
            ratio = scales = self.factor / other.factor
            shift = (self.loc - other.loc) / other.factor
        squares = ratio.square().sum() + shift.square().sum() - len(self.loc)
        return float(0.5 * squares - scales.log().sum())

    def at(self, x: Tensor) -> Frame:
        """The Gaussian at a point [P] of this frame: u, the logarithms of the diagonal of Lambda,
        and its entries below.
        """
        u, log_diagonal, below = _parts(x, len(self.loc))
        if not self.full:
            return Frame(self.loc + self.move(u), self.factor * log_diagonal.exp())
        return Frame(self.loc + self.move(u), self.factor @ _triangle(log_diagonal.exp(), below))


class Local(NamedTuple):
    """A loss around a frame's own Gaussian, in the frame's units.

    Args:
        value: nats, inf where the density is not finite at every draw.
        gradient: [P].
        curvature: minus the mean Hessian of log p, [D, D], by Stein's identity.
    """

    value: float
    gradient: Tensor
    curvature: Tensor

    def inverse(self, gradient: Tensor, flattest: float = FLATTEST) -> Tensor:
        """The inverse Hessian times a gradient, [P] -> [P], as it is at an optimum: 1 for u, 1/2
        for the logarithms of the diagonal, 1 below it. The means of a diagonal family are tied by
        the correlations that it leaves out, so there it is the curvature's for u.
        """
        u, log_diagonal, below = _parts(gradient, len(self.curvature))
        if not len(below):
            values, vectors = torch.linalg.eigh(self.curvature)
            u = vectors @ ((vectors.T @ u) / values.abs().clamp(min=flattest))
        return torch.cat([u, log_diagonal / 2, below])


@dataclass(frozen=True, eq=False)
class Loss:
    """Minus the ELBO on fixed draws, up to its constant.

    Args:
        target: the density.
        eps: standard normal draws, [n, D].
    """

    target: Target
    eps: Tensor

    def __call__(self, frame: Frame, x: Tensor) -> tuple[float, Tensor]:
        """The loss at a point of a frame, inf where the density is not finite at every draw, and
        its gradient: [P] -> nats, [P].
        """
        u, log_diagonal, below = _parts(x, self.target.dim)
        scale = log_diagonal.exp()
        shape = _triangle(scale, below) if frame.full else scale
        inner = u + (self.eps @ shape.T if frame.full else self.eps * shape)
        log_p, slope = self._evaluated(frame.loc + frame.move(inner))
        slope = frame.pull(slope)
        if frame.full:
            by_shape = slope.T @ self.eps / len(self.eps)
            by_below, by_scale = by_shape[_below(scale)], by_shape.diagonal()
        else:
            by_below, by_scale = x[:0], (slope * self.eps).mean(0)
        value = float(-log_p.mean() - log_diagonal.sum() - frame.diagonal.log().sum())
        gradient = -torch.cat([slope.mean(0), by_scale * scale + 1, by_below])
        return _or_inf(value, gradient), gradient

    def here(self, frame: Frame) -> Local:
        """The loss at the frame's own Gaussian, from one evaluation."""
        log_p, slope = self._evaluated(frame.loc + frame.move(self.eps))
        slope = frame.pull(slope)
        matrix = slope.T @ self.eps / len(self.eps)
        below = matrix[_below(matrix[0])] if frame.full else matrix[0, :0]
        value = float(-log_p.mean() - frame.diagonal.log().sum())
        gradient = -torch.cat([slope.mean(0), matrix.diagonal() + 1, below])
        return Local(_or_inf(value, gradient), gradient, -0.5 * (matrix + matrix.T))

    def _evaluated(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log density and gradient, [n] and [n, D]."""
        if len(z) <= ROWS:
            return self.target.value_and_grad(z)
        values, slopes = zip(
            *(self.target.value_and_grad(rows) for rows in torch.split(z, ROWS)), strict=True
        )
        return torch.cat(values), torch.cat(slopes)

    def origin(self, frame: Frame) -> Tensor:
        """The point of a frame that is the frame itself: zeros, [P]."""
        dim = self.target.dim
        below = dim * (dim - 1) // 2 if frame.full else 0
        return self.eps.new_zeros(2 * dim + below)


def gap(one: Local, other: Local) -> float:
    """What the nearest optimum is better by, nats: half the squared gradient over the curvature.

    Of two losses on independent draws, to which the Gaussian was not fitted, the estimate has no
    bias from the noise of either; it is then cut at 0, and NaN where a density is not finite.
    """
    if not math.isfinite(one.value + other.value):
        return math.nan
    return max(0.0, 0.5 * float(one.gradient @ one.inverse(other.gradient)))


def together(one: Local, other: Local) -> Local:
    """Two losses of one Gaussian on as many draws each as the loss on all of them."""
    return Local(
        0.5 * (one.value + other.value),
        0.5 * (one.gradient + other.gradient),
        0.5 * (one.curvature + other.curvature),
    )


def normals(n: int, dim: int, generator: Generator) -> Tensor:
    """Scrambled Sobol points made normal, with mean 0 and covariance I exactly: [n, dim].

    With exact moments the average of a quadratic is exact, so a Gaussian posterior needs no more
    draws in 100 dimensions.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    sobol = SobolEngine(dim, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    corners = sobol.draw(n, dtype=torch.float64)
    # the centres of the cells: never 0 or 1
    eps = torch.special.ndtri(corners + 0.5**SobolEngine.MAXBIT / 2)
    eps = eps - eps.mean(0)
    factor: Tensor = torch.linalg.cholesky(eps.T @ eps / n)
    white: Tensor = torch.linalg.solve_triangular(factor, eps.T, upper=False)
    return white.T.contiguous()


def _or_inf(value: float, gradient: Tensor) -> float:
    return value if math.isfinite(value) and gradient.isfinite().all() else math.inf


def _parts(x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    u, log_diagonal, below = x.tensor_split([dim, 2 * dim])
    return u, log_diagonal, below


def _triangle(diagonal: Tensor, below: Tensor) -> Tensor:
    matrix = diagonal.diag()
    matrix[_below(diagonal)] = below
    return matrix


def _below(diagonal: Tensor) -> tuple[Tensor, Tensor]:
    """Where the entries below a diagonal, [D], are."""
    dim = len(diagonal)
    rows, columns = torch.tril_indices(dim, dim, -1, device=diagonal.device)
    return rows, columns
