r"""The mixture of Gaussians with the least KL(q||p): as good as Gaussian VB on every mode, and no
mode need be left out.

.. math::
    \min_{w, m, L}\ \sum_k w_k\, E_{\epsilon}\big[\log q(z_k) - \log p(z_k)\big], \quad
    z_k = m_k + L_k \epsilon, \quad q = \sum_k w_k N(m_k, L_k L_k^\top)

Every component draws for itself, and fixed quasi-random draws make the sum smooth, so that L-BFGS
climbs it, in rounds of ever more draws, as in ``gaussian-vb``. The reverse KL finds no mode that no
component begins at. So the way up is climbed from many starts, and the Gaussians found on it,
those that differ, are the first components; what is left of K begins beside them, and finds its
place in tails and bends.

Source: W. R. Morningstar, S. M. Vikram, C. Ham, A. Gallagher, J. V. Dillon, Automatic
differentiation variational inference with mixtures, 2021, arXiv:2003.01687; fixed draws: R.
Giordano, M. Ingram, T. Broderick, 2024, arXiv:2304.05527.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from methods.base import Budget, Method, Target
from methods.parts.gaussians.elbo import Loss, normals
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.gaussians.mixture_elbo import MixtureLoss
from methods.parts.gaussians.mixture_fit import apart, begun, climb
from methods.parts.optimisation.begin import beginnings
from methods.parts.sampling.psis import RELIABLE, evidence, smoothed
from methods.parts.validate import require

GROWTH = 4  # draws of a round, as a multiple of the last one's
WEIGHTED = 4000  # draws that estimate log Z at the end


@dataclass(frozen=True)
class GaussianMixtureVB(Method):
    """A mixture of K full Gaussians.

    Args:
        components: K.
        starts: points that are climbed from, uniform on (-2, 2) in each coordinate; a mode that
            none of them leads to is not found.
        draws: of each component in the first round; at least 4 D are taken.
        max_draws: of each component in the last round.
        iterations: steps of L-BFGS in a round, at most.
        tolerance: nats; the method ends when four times the draws raise the ELBO, on draws not used
            before, by less.

    Raises:
        ValueError: if a field lies outside its range.
        FloatingPointError: from ``run``, if no start leads to a Gaussian at whose draws the density
            is finite.
    """

    components: int = 12
    starts: int = 64
    draws: int = 128
    max_draws: int = 2048
    iterations: int = 300
    tolerance: float = 0.003
    name: ClassVar[str] = "gaussian-mixture-vb"
    source: ClassVar[str] = "Morningstar et al., 2021, arXiv:2003.01687"

    def __post_init__(self) -> None:
        for field in ("components", "starts", "draws", "iterations"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")
        require(self, "max_draws", self.max_draws >= self.draws, f"be at least draws, {self.draws}")
        require(self, "tolerance", 0 < self.tolerance < math.inf, "be positive and finite")

    def run(
        self, target: Target, budget: Budget, generator: Generator
    ) -> Iterator[GaussianMixture]:
        """Yield the mixture after every step; the last one says what its draws make of log Z."""
        # Sobol points are even in powers of two
        draws = 1 << (max(self.draws, 4 * target.dim) - 1).bit_length()
        eps = normals(draws, target.dim, generator)
        q = self._first(target, eps, generator)
        yield q
        while True:
            loss = MixtureLoss(target, eps)
            before = loss.here(q)
            q, after = yield from climb(loss, q, self.iterations, self.tolerance)
            draws *= GROWTH
            if before - after < self.tolerance or draws > self.max_draws:
                break
            eps = normals(draws, target.dim, generator)
        yield _weighted(target, q, generator)

    def _first(self, target: Target, eps: Tensor, generator: Generator) -> GaussianMixture:
        """Components at the Gaussians found; the rest of K begins beside them."""
        points = beginnings(target, self.starts, generator, "GaussianMixtureVB")
        found = apart(target, Loss(target, eps), points, self.components)
        if not found:
            raise FloatingPointError(
                "GaussianMixtureVB found no Gaussian at whose draws the density is finite, from"
                f" {self.starts} starts."
            )
        return begun(found, self.components, generator)


def _weighted(target: Target, q: GaussianMixture, generator: Generator) -> GaussianMixture:
    """The mixture with what its own draws make of log Z, where their weights can be trusted."""
    z = q.sample(WEIGHTED, generator)
    with torch.no_grad():
        ratios = (target.log_density(z) - q.log_prob(z)).nan_to_num(nan=-math.inf, neginf=-math.inf)
    khat = smoothed(ratios).khat
    known = evidence(ratios) if khat < RELIABLE else None
    return replace(q, diagnostics={"khat": khat}, evidence=known)
