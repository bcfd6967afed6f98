r"""A mixture of Gaussians fitted to draws by expectation maximisation: what metrics take for a
density, bridge sampling for a proposal, and chains for jumps.

.. math:: \hat q(z) = \sum_k w_k N(z; m_k, S_k)

Source: Dempster, Laird & Rubin, "Maximum likelihood from incomplete data via the EM algorithm"
(1977), doi 10.1111/j.2517-6161.1977.tb01600.x; started from the seeds of Arthur & Vassilvitskii,
"k-means++: the advantages of careful seeding" (2007).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

STEPS = 60
GAIN = 1e-4  # nats in a step, below which EM has arrived
FLOOR = 1e-4  # variance added to a component in every direction, in units of the sample's
WORTH = (
    0.5  # draws' worth of the whole sample's covariance in every component's, where it is shrunk
)
ENOUGH = 5  # draws per component and coordinate; with fewer no component is tried
DEFENCE = 0.1  # weight of the wide component that defends against what is overlooked
WIDER = 1.5  # its width, in those of all draws


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A mixture of Gaussians over R^D, with its log density in closed form.

    Args:
        log_weights: [K]; means: [K, D]; factors: L with S = L L^T, lower triangular, [K, D, D].
    """

    log_weights: Tensor
    means: Tensor
    factors: Tensor

    @functools.cached_property
    def _inverses(self) -> Tensor:
        """Of the factors, [K, D, D]."""
        inverses: Tensor = torch.linalg.inv(self.factors)
        return inverses

    @functools.cached_property
    def _shifts(self) -> Tensor:
        """The means after the inverses, [K, D]."""
        return torch.einsum("kij,kj->ki", self._inverses, self.means)

    @functools.cached_property
    def _peaks(self) -> Tensor:
        """Log weight plus log density of each component at its mean, [K], nats."""
        sizes = self.factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        peaks: Tensor = self.log_weights - (
            sizes + 0.5 * self.means.shape[1] * math.log(2 * math.pi)
        )
        return peaks

    def log_joint(self, z: Tensor) -> Tensor:
        """Log weight plus log density of each component: [n, D] -> [n, K], nats."""
        count, dim = self.means.shape
        # one matrix product for all components
        white = (z @ self._inverses.flatten(0, 1).T).reshape(len(z), count, dim) - self._shifts
        log_joint: Tensor = self._peaks - 0.5 * white.square().sum(-1)
        return log_joint

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density: [n, D] -> [n], nats."""
        return torch.logsumexp(self.log_joint(z), -1)

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Independent draws of the mixture, [n, D], float64."""
        weights = self.log_weights.exp()
        counts = torch.multinomial(weights, n, replacement=True, generator=generator).bincount(
            minlength=len(weights)
        )
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        parts = torch.split_with_sizes(noise, counts.tolist())
        return torch.cat(
            [m + e @ factor.T for m, e, factor in zip(self.means, parts, self.factors, strict=True)]
        )

    def moved(self, centre: Tensor, scale: Tensor) -> Gaussians:
        """The law of centre + scale * z, both [D]."""
        return Gaussians(
            self.log_weights, centre + scale * self.means, scale.unsqueeze(-1) * self.factors
        )


def fit(
    sample: Tensor,
    components: int,
    generator: Generator,
    steps: int = STEPS,
    *,
    shrunk: bool = False,
) -> Gaussians:
    """The mixture that EM climbs to from k-means++ seeds.

    Args:
        sample: [n, D], float64, no coordinate constant.
        components: K.
        generator: the only source of randomness.
        steps: of EM, at most.
        shrunk: whether each covariance is shrunk a little towards that of the whole sample, which
            suits samples that are nearly singular; else every component is widened by a floor.

    Raises:
        ArithmeticError: if the draws lie in a subspace.
    """
    centre, scale = sample.mean(0), sample.std(0)
    unit = (sample - centre) / scale
    common = unit.T.cov().reshape(unit.shape[1], -1) if shrunk else None
    mixture, before = _maximise(unit, _seeded(unit, components, generator), common), -math.inf
    for _ in range(steps if components > 1 else 0):
        joint = mixture.log_joint(unit)
        total = joint.logsumexp(-1)
        gain, before = float(total.mean()) - before, float(total.mean())
        if gain < GAIN:
            break
        mixture = _maximise(unit, (joint - total.unsqueeze(-1)).exp(), common)
    return mixture.moved(centre, scale)


def fitted(
    draws: Tensor, counts: Sequence[int], generator: Generator, steps: int = STEPS
) -> Gaussians:
    """The mixture, of those with so many components, that fits draws [n, D] best: on a third of
    them that was kept out. Its covariances are shrunk, as ``fit`` says. No more components are
    tried once more of them fit worse.

    Raises:
        ArithmeticError: if the draws lie in a subspace.
    """
    n, dim = draws.shape
    shuffled = draws[torch.randperm(n, generator=generator)]
    train, held = shuffled[n // 3 :], shuffled[: n // 3]
    best, most = None, -math.inf
    for k in counts:
        if best is not None and len(train) < ENOUGH * k * dim:
            break
        mixture = fit(train, k, generator, steps, shrunk=True)
        score = float(mixture.log_prob(held).mean())
        if best is not None and score <= most:
            break
        best, most = mixture, score
    assert best is not None, "no number of components to try"
    return best


def defended(mixture: Gaussians, draws: Tensor) -> Gaussians:
    """The mixture with a wide Gaussian about all draws [n, D] beside it: where only that reaches,
    chains that jump would otherwise stay too long.
    """
    root = WIDER * _roots(draws.T.cov().reshape(1, draws.shape[1], -1))
    wide = torch.tensor([DEFENCE], dtype=torch.float64)
    weights = torch.cat([(1 - DEFENCE) * mixture.log_weights.exp(), wide])
    return Gaussians(
        weights.log(),
        torch.cat([mixture.means, draws.mean(0, keepdim=True)]),
        torch.cat([mixture.factors, root]),
    )


def _seeded(unit: Tensor, components: int, generator: Generator) -> Tensor:
    """Each draw's share of each component to begin with, [n, K]: all in that of the nearest
    seed.
    """
    rows = torch.randint(len(unit), (1,), generator=generator)
    squares = torch.cdist(unit, unit[rows]).square()
    for _ in range(components - 1):
        rows = torch.cat([rows, torch.multinomial(squares.amin(1), 1, generator=generator)])
        squares = torch.cat([squares, torch.cdist(unit, unit[rows[-1:]]).square()], 1)
    return torch.nn.functional.one_hot(squares.argmin(1), components).double()


def _maximise(unit: Tensor, share: Tensor, common: Tensor | None) -> Gaussians:
    """The likeliest mixture for shares [n, K]; covariances shrunk towards ``common``, [D, D], or
    widened by the floor.
    """
    mass = share.sum(0) + 1e-9
    means = share.T @ unit / mass.unsqueeze(-1)
    floor = FLOOR * torch.eye(unit.shape[1], dtype=unit.dtype)
    covs = []
    for mean, part, total in zip(means, share.T, mass, strict=True):
        centred = unit - mean
        scatter = (centred * part.unsqueeze(-1)).T @ centred
        if common is None:
            covs.append(scatter / total + floor)
        else:
            covs.append((scatter + WORTH * common) / (total + WORTH))
    return Gaussians((mass / mass.sum()).log(), means, _roots(torch.stack(covs)))


def _roots(covariances: Tensor) -> Tensor:
    """Cholesky factors of covariances, [K, D, D]."""
    factors: Tensor
    factors, failed = torch.linalg.cholesky_ex(covariances)
    if bool(failed.any()):
        raise ArithmeticError("The draws lie in a subspace: no Gaussian can be fitted to them.")
    return factors
