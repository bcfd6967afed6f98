r"""Gaussians read off the way of a quasi-Newton climb: a fit while others are still warming up.

.. math::
    q_l = N(z_l + H_l \nabla \log p(z_l),\ H_l), \quad l^* = \arg\max_l \mathrm{ELBO}(q_l)

From each of several starts L-BFGS climbs log p; at each point of its way the inverse Hessian
:math:`H_l` that its steps imply gives a Gaussian, and the one with the greatest ELBO is kept. With
one path that is the approximation. With several, draws of all the paths' Gaussians are weighted by
p over the mixture of them and the weights smoothed (PSIS). What is yielded is

- ``mixture``: the mixture of the paths' Gaussians, each by the share that its draws have of the
  weights. It has a density, so that every metric applies.
- ``resampled``: draws chosen by their weights, none twice: nearer to p, and without a density.

Where the tail of the weights is too heavy (k-hat of 0.7 or more) no estimate of log Z is made of
them. The mixture in the denominator is where this departs from the paper, in which each path's
draws are weighted against that path alone: a mode that many paths have found would gain by it.

Source: L. Zhang, B. Carpenter, A. Gelman, A. Vehtari, Pathfinder: parallel quasi-Newton variational
inference, 2022, JMLR 23(306), arXiv:2108.03782.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Generator, Tensor

from methods.base import Approximation, Budget, Draws, Method, Target
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.gaussians.inverse_hessian import PathGaussian, gaussians
from methods.parts.gaussians.laplace import triangular
from methods.parts.optimisation.begin import beginnings
from methods.parts.optimisation.lbfgs import minimise
from methods.parts.sampling.psis import RELIABLE, evidence, smoothed
from methods.parts.validate import require

SETTLED = 1e-6  # nats; a climb ends when five steps gain less


class Path(NamedTuple):
    """The best Gaussian of one climb, and its ELBO in nats."""

    gaussian: Gaussian
    elbo: float


@dataclass(frozen=True)
class Pathfinder(Method):
    """The best Gaussians of several climbs.

    Args:
        paths: how many climbs, from points uniform on (-2, 2) in each coordinate.
        yields: ``mixture`` or ``resampled``, where there is more than one path.
        memory: past steps that an inverse Hessian is made of.
        elbo_draws: draws, and so evaluations of the density, per ELBO; the paper's 5, and Stan's
            25.
        path_draws: of each path's Gaussian, to be weighted.
        draws: kept of them where they are resampled.
        iterations: of L-BFGS on one climb, at most.

    Raises:
        ValueError: if a field lies outside its range.
        FloatingPointError: from ``run``, if no climb gives a Gaussian.
    """

    paths: int = 20
    yields: Literal["mixture", "resampled"] = "mixture"
    memory: int = 6
    elbo_draws: int = 25
    path_draws: int = 1000
    draws: int = 4000
    iterations: int = 1000
    name: ClassVar[str] = "pathfinder"
    source: ClassVar[str] = "Zhang, Carpenter, Gelman & Vehtari, 2022, arXiv:2108.03782"

    def __post_init__(self) -> None:
        kinds = ("mixture", "resampled")
        require(self, "yields", self.yields in kinds, "be 'mixture' or 'resampled'")
        for field in ("paths", "memory", "elbo_draws", "draws", "iterations"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        require(self, "path_draws", self.path_draws >= 25, "be at least 25")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        """Yield the best Gaussian so far after each climb, and what they make together at the
        end.
        """
        found: list[Path] = []
        for loc in beginnings(target, self.paths, generator, "Pathfinder"):
            path = self._path(target, loc, generator)
            if path is not None:
                found.append(path)
                yield max(found, key=lambda path: path.elbo).gaussian
        if not found:
            raise FloatingPointError(
                f"Pathfinder found no Gaussian on {self.paths} paths: L-BFGS took no step, or no"
                " inverse Hessian was positive definite at a point with a finite ELBO."
            )
        if self.paths > 1:
            yield self._together(target, found, generator)

    def _path(self, target: Target, loc: Tensor, generator: Generator) -> Path | None:
        """The Gaussian with the greatest ELBO on the way up from a point [D]."""
        points, slopes = _climb(target, loc, self.iterations)
        offered = [q for q in gaussians(points, slopes, self.memory) if q is not None]
        if not offered:
            return None
        eps = torch.randn(
            len(offered), self.elbo_draws, len(loc), generator=generator, dtype=torch.float64
        )
        elbos = torch.stack([_elbo(target, q, e) for q, e in zip(offered, eps, strict=True)])
        best = int(elbos.argmax())
        if not elbos[best].isfinite():
            return None
        q = offered[best]
        figures = {"elbo": float(elbos[best])}
        return Path(Gaussian(q.loc, triangular(q.factor), figures), float(elbos[best]))

    def _together(
        self, target: Target, found: list[Path], generator: Generator
    ) -> GaussianMixture | Draws:
        """The paths' Gaussians as a mixture by weights, or their draws resampled."""
        locs = torch.stack([path.gaussian.loc for path in found])
        factors = torch.stack([path.gaussian.scale_tril for path in found])
        equal = torch.full((len(found),), 1 / len(found), dtype=torch.float64)
        z = torch.cat([path.gaussian.sample(self.path_draws, generator) for path in found])
        with torch.no_grad():
            ratios = target.log_density(z) - GaussianMixture(equal, locs, factors).log_prob(z)
        ratios = ratios.nan_to_num(nan=-math.inf)
        weighted = smoothed(ratios)
        figures = {"khat": weighted.khat, "paths": float(len(found))}
        known = evidence(ratios) if weighted.khat < RELIABLE else None
        if self.yields == "resampled":
            chosen = z[weighted.without_replacement(self.draws, generator)]
            return Draws(chosen.unsqueeze(0), figures, known)
        shares = weighted.weights.reshape(len(found), -1).sum(1)
        return GaussianMixture(shares / shares.sum(), locs, factors, figures, known)


def _climb(target: Target, loc: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The points of L-BFGS from a point [D] up, that one included, and the gradients of log p
    there, [n, D] each.
    """
    seen: dict[bytes, Tensor] = {}

    def loss(z: Tensor) -> tuple[float, Tensor]:
        value, slope = target.value_and_grad(z)
        seen[z.numpy().tobytes()] = slope
        return -float(value), -slope

    climb = itertools.islice(minimise(loss, loc, tolerance=SETTLED), iterations)
    points = [loc, *(z for _, z in climb)]
    return torch.stack(points), torch.stack([seen[z.numpy().tobytes()] for z in points])


def _elbo(target: Target, q: PathGaussian, eps: Tensor) -> Tensor:
    """Of N(loc, factor factor^T) on noise [n, D]; minus infinity where the density is not finite
    at every draw.
    """
    with torch.no_grad():
        log_p = target.log_density(q.loc + eps @ q.factor.T)
    constant = 0.5 * len(q.loc) * math.log(2 * math.pi)
    entropy = q.log_det + 0.5 * eps.square().sum(1).mean() + constant
    return (log_p.mean() + entropy).nan_to_num(nan=-math.inf, posinf=-math.inf)
