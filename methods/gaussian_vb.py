r"""Gaussian variational Bayes that finds the best Gaussian there is: the yardstick for every richer
approximation.

.. math::
    \max_{m, L}\ \mathrm{ELBO}(m, L) = E_{\epsilon \sim N(0, I)} \log p(m + L \epsilon)
    + \sum_i \log L_{ii} + \tfrac D2 \log 2\pi e

The expectation is an average over fixed quasi-random draws, so it is a smooth function, which
L-BFGS climbs in tens of steps with no step size to tune and no noise to wait for. An average over
few draws can be overfitted: each round takes four times the draws of the last, judges what that
found on draws it has not seen, and climbs on from there. The method ends when that gains less than
the tolerance. Where there are several optima, the best of several starts is kept.

Source: A. Kucukelbir, D. Tran, R. Ranganath, A. Gelman, D. M. Blei, Automatic differentiation
variational inference, 2017, arXiv:1603.00788; fixed draws: R. Giordano, M. Ingram, T. Broderick,
Black box variational inference with a deterministic objective, 2024, arXiv:2304.05527.
"""

from __future__ import annotations

import math
from collections.abc import Generator as Steps
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor
from torch.quasirandom import SobolEngine

from methods.base import Budget, Method, Target
from methods.parts.gaussian import Gaussian
from methods.parts.lbfgs import minimise
from methods.parts.validate import require

GROWTH = 4  # draws of a round, as a multiple of the last one's
SURVIVAL = 3  # one candidate in so many goes on to the next round
# of the starts in turn: narrow ones find single modes, wide ones the optima that span several
WIDTHS = (0.1, 1.0)
TRIES = 100  # starting points drawn before giving up
HALVINGS = 30  # of the width, to bring every draw to where the density is finite


@dataclass(frozen=True)
class GaussianVB(Method):
    """The Gaussian with the least KL(q||p), by L-BFGS on the ELBO.

    Args:
        covariance: ``diagonal`` (mean field) or ``full``.
        starts: how many starting points, uniform on (-2, 2) in each coordinate; the best optimum
            counts.
        draws: in the first round, and so gradient evaluations per step; at least 4 D are taken.
        max_draws: of the last round, whether or not the tolerance is met.
        tolerance: nats; the method ends when four times the draws raise the ELBO, on draws not used
            before, by less.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite
            nowhere it looked.
    """

    covariance: Literal["diagonal", "full"] = "diagonal"
    starts: int = 8
    draws: int = 256
    max_draws: int = 65536
    tolerance: float = 0.003
    name: ClassVar[str] = "gaussian-vb"

    def __post_init__(self) -> None:
        require(
            self, "covariance", self.covariance in ("diagonal", "full"), "be 'diagonal' or 'full'"
        )
        require(self, "starts", self.starts >= 1, "be at least 1")
        require(self, "draws", self.draws >= 1, "be at least 1")
        require(self, "max_draws", self.max_draws >= self.draws, f"be at least draws, {self.draws}")
        require(self, "tolerance", 0 < self.tolerance < math.inf, "be positive and finite")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Gaussian]:
        # Sobol points are even in powers of two
        draws = 1 << (max(self.draws, 4 * target.dim) - 1).bit_length()
        loss = self._loss(target, draws, generator)
        ranked: list[tuple[float, Tensor]] = []
        for i in range(self.starts):
            ranked.append(self._start(loss, WIDTHS[i % len(WIDTHS)], generator))
            ranked.sort(key=_value)
            yield loss.gaussian(ranked[0][1])
        while True:
            judged = ranked[0][0]
            ended = yield from _climb(loss, ranked, tolerance=0.1 * self.tolerance)
            draws *= GROWTH
            if judged - ended[0][0] < self.tolerance or draws > self.max_draws:
                return
            loss = self._loss(target, draws, generator)
            kept = ended[: math.ceil(len(ended) / SURVIVAL)]
            ranked = sorted((_narrowed(loss, x) for _, x in kept), key=_value)

    def _loss(self, target: Target, draws: int, generator: Generator) -> _Loss:
        return _Loss(target, self.covariance == "full", _normals(draws, target.dim, generator))

    def _start(self, loss: _Loss, width: float, generator: Generator) -> tuple[float, Tensor]:
        for _ in range(TRIES):
            loc = 4 * torch.rand(loss.target.dim, generator=generator, dtype=torch.float64) - 2
            value, x = _narrowed(loss, loss.start(loc, width))
            if math.isfinite(value):
                return value, x
        raise ValueError(
            f"GaussianVB found no finite density around any of {TRIES} points drawn from (-2, 2)"
            " per coordinate."
        )


def _narrowed(loss: _Loss, x: Tensor) -> tuple[float, Tensor]:
    """The loss and its point, drawn together around its mean until the density is finite at every
    draw.
    """
    value = loss(x)[0]
    for _ in range(HALVINGS):
        if math.isfinite(value):
            break
        x = loss.halved(x)
        value = loss(x)[0]
    return value, x


def _climb(
    loss: _Loss, ranked: list[tuple[float, Tensor]], tolerance: float
) -> Steps[Gaussian, None, list[tuple[float, Tensor]]]:
    """One round: improve each candidate, yield the best so far, and return where they ended, best
    first.
    """
    best = ranked[0]
    yield loss.gaussian(best[1])
    ends = []
    for end in ranked:
        for value, x in minimise(loss, end[1], tolerance=tolerance):
            end = value, x
            best = min(best, end, key=_value)
            yield loss.gaussian(best[1])
        ends.append(end)
    return sorted(ends, key=_value)


def _value(pair: tuple[float, Tensor]) -> float:
    return pair[0]


@dataclass(frozen=True, eq=False)
class _Loss:
    """Minus the ELBO on fixed draws, up to its constant, as a function of [P]: m, log L_ii, then L
    below the diagonal.

    Args:
        target: the density.
        full: whether L has more than its diagonal.
        eps: the draws, [n, D].
    """

    target: Target
    full: bool
    eps: Tensor

    def __call__(self, x: Tensor) -> tuple[float, Tensor]:
        """The loss, inf where the density is not finite at every draw, and its gradient: [P] ->
        nats, [P].
        """
        dim = self.target.dim
        loc, scale = self._parts(x)
        log_p, slope = self.target.value_and_grad(
            loc + (self.eps @ scale.T if self.full else self.eps * scale)
        )
        if self.full:
            by_scale = slope.T @ self.eps / len(self.eps)
            below = by_scale[self._below]
            by_scale, scale = by_scale.diagonal(), scale.diagonal()
        else:
            by_scale, below = (slope * self.eps).mean(0), x[:0]
        value = float(-log_p.mean() - x[dim : 2 * dim].sum())
        gradient = -torch.cat([slope.mean(0), by_scale * scale + 1, below])
        return (value if math.isfinite(value) and gradient.isfinite().all() else math.inf), gradient

    def start(self, loc: Tensor, width: float) -> Tensor:
        """N(loc, width^2 I) as a point: [D] -> [P]."""
        dim = self.target.dim
        below = torch.zeros(dim * (dim - 1) // 2 if self.full else 0, dtype=torch.float64)
        return torch.cat([loc, torch.full_like(loc, math.log(width)), below])

    def halved(self, x: Tensor) -> Tensor:
        """The same Gaussian with half the width: [P] -> [P]."""
        loc, log_diagonal, below = x.tensor_split([self.target.dim, 2 * self.target.dim])
        return torch.cat([loc, log_diagonal - math.log(2), below / 2])

    def gaussian(self, x: Tensor) -> Gaussian:
        """The approximation at a point, [P]."""
        return Gaussian(*self._parts(x))

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_diagonal, below = x.tensor_split([self.target.dim, 2 * self.target.dim])
        if not self.full:
            return loc, log_diagonal.exp()
        scale = log_diagonal.exp().diag()
        scale[self._below] = below
        return loc, scale

    @cached_property
    def _below(self) -> tuple[Tensor, Tensor]:
        rows, columns = torch.tril_indices(self.target.dim, self.target.dim, -1)
        return rows, columns


def _normals(n: int, dim: int, generator: Generator) -> Tensor:
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
