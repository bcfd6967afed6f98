r"""A mixture of Gaussians fitted by expectation maximisation: the density model that needs nothing
but draws.

.. math:: \hat q(z) = \sum_k w_k N(z; m_k, S_k)

Source: Dempster, Laird & Rubin, "Maximum likelihood from incomplete data via the EM algorithm"
(1977), doi 10.1111/j.2517-6161.1977.tb01600.x; started from the seeds of Arthur & Vassilvitskii,
"k-means++: the advantages of careful seeding" (2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

STEPS = 60
GAIN = 1e-4  # nats in a step, below which EM has arrived
BETTER = 0.005  # nats on other draws that more components must bring
FLOOR = 1e-4  # variance added to a component in every direction, in units of the sample's
WORTH = (
    0.5  # draws' worth of the whole sample's covariance in every component's, where it is shrunk
)
LARGEST = 60_000  # entries of all covariances together: what EM can climb in seconds


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture of Gaussians over R^D, with its log density in closed form.

    Args:
        log_weights: [K]; means: [K, D]; factors: L with S = L L^T, lower triangular, [K, D, D].
    """

    log_weights: Tensor
    means: Tensor
    factors: Tensor

    def log_joint(self, z: Tensor) -> Tensor:
        """Log weight plus log density of each component: [n, D] -> [n, K], nats."""
        count, dim = self.means.shape
        inverse = torch.linalg.inv(self.factors)
        shift = torch.einsum("kij,kj->ki", inverse, self.means)
        # one matrix product for all components
        white = (z @ inverse.flatten(0, 1).T).reshape(len(z), count, dim) - shift
        scale = self.factors.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * dim * math.log(
            2 * math.pi
        )
        log_joint: Tensor = self.log_weights - scale - 0.5 * white.square().sum(-1)
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

    def moved(self, centre: Tensor, scale: Tensor) -> GaussianMixture:
        """The law of centre + scale * z, both [D]."""
        return GaussianMixture(
            self.log_weights, centre + scale * self.means, scale.unsqueeze(-1) * self.factors
        )


def fit(
    sample: Tensor,
    components: int,
    generator: Generator,
    steps: int = STEPS,
    *,
    shrunk: bool = False,
) -> GaussianMixture:
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


def choose(
    sample: Tensor, other: Tensor, components: Sequence[int], generator: Generator
) -> GaussianMixture:
    """Of mixtures fitted to a sample the one that other draws find likeliest; tried in turn while
    it pays.
    """
    best, best_value = None, -math.inf
    for count in components:
        if best is not None and count * sample.shape[1] ** 2 > LARGEST:
            break
        mixture = fit(sample, count, generator)
        value = float(mixture.log_prob(other).mean())
        if best is not None and value < best_value + BETTER:
            return mixture if value > best_value else best
        best, best_value = mixture, value
    assert best is not None, "components is empty"
    return best


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


def _maximise(unit: Tensor, share: Tensor, common: Tensor | None) -> GaussianMixture:
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
    factors, failed = torch.linalg.cholesky_ex(torch.stack(covs))
    if bool(failed.any()):
        raise ArithmeticError("The draws lie in a subspace: no Gaussian can be fitted to them.")
    return GaussianMixture((mass / mass.sum()).log(), means, factors)
