r"""The heads' affine maps, fitted before the game begins.

As long as the network is silent q is the mixture of Gaussians r itself, log q - log r is 0, and so
is the best T: adaptive contrast leaves a rival nothing to say. The sampler's objective is then that
of a mixture of Gaussians,

.. math:: E_q[T^* + \log r - \log p] = E_r[\log r - \log p]

a smooth function on fixed draws, which L-BFGS descends in the density's own units, and from many
starts. The network and the discriminator begin where that has come to, and learn the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator as Steps
from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.gaussians.elbo import Loss, normals
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.gaussians.mixture_elbo import MixtureLoss
from methods.parts.gaussians.mixture_fit import apart, begun, climb
from methods.parts.optimisation.begin import beginnings

STARTS = 64  # points that are climbed from, uniform on (-2, 2) in each coordinate
LOOKING = 0.4  # share of the gradients after which no other point is climbed from
DRAWS, GROWTH, ROUNDS = 128, 4, 2  # of a head in the first round; in the next; rounds
STEPS = 300  # of L-BFGS in a round
TOLERANCE = 0.003  # nats that a round gains at most at its end
ENOUGH = 0.01  # nats; a mixture that is as near needs no other components


class SpentError(Exception):
    """The gradients that were granted are spent."""


class Metered:
    """A target that grants so many gradients and no more.

    Args:
        target: the density.
        granted: rows of gradient evaluations.
    """

    def __init__(self, target: Target, granted: int) -> None:
        self._target, self.granted, self.spent = target, granted, 0

    @property
    def dim(self) -> int:
        """D, the number of coordinates."""
        return self._target.dim

    def log_density(self, z: Tensor) -> Tensor:
        """[..., D] -> [...], nats."""
        return self._target.log_density(z)

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """[..., D] -> ([...], [..., D]).

        Raises:
            SpentError: if that is more than was granted; nothing is evaluated then.
        """
        self._spend(z)
        return self._target.value_and_grad(z)

    def gradient(self, z: Tensor) -> Tensor:
        """[..., D] -> [..., D].

        Raises:
            SpentError: if that is more than was granted; nothing is evaluated then.
        """
        self._spend(z)
        return self._target.gradient(z)

    def _spend(self, z: Tensor) -> None:
        rows = z.numel() // z.shape[-1]
        if self.spent + rows > self.granted:
            raise SpentError
        self.spent += rows


def fitted(target: Metered, heads: int, generator: Generator) -> Iterator[GaussianMixture]:
    """Yield ever better mixtures of so many Gaussians until the gradients are spent, or no more is
    to be had; none where the density is finite at none of the starts.
    """
    if not target.granted:
        return
    try:
        points = beginnings(target, STARTS, generator, "AVB")
    except (FloatingPointError, SpentError):
        return
    try:
        for q in _rounds(target, heads, points, generator):
            yield split(q, heads)
    except SpentError:
        return


def split(q: GaussianMixture, heads: int) -> GaussianMixture:
    """The same density by so many components: the heaviest halved until they are as many."""
    weights, rows = q.weights.tolist(), list(range(len(q.weights)))
    while len(rows) < heads:
        k = max(range(len(rows)), key=weights.__getitem__)
        weights[k] /= 2
        weights.append(weights[k])
        rows.append(rows[k])
    halved = torch.tensor(weights, dtype=torch.float64)
    return GaussianMixture(halved, q.locs[rows], q.scale_trils[rows])


def _rounds(
    target: Metered, heads: int, points: Tensor, generator: Generator
) -> Iterator[GaussianMixture]:
    """The Gaussians on the way up from the points; if those leave something, as many as there are
    heads.
    """
    # Sobol points are even in powers of two
    draws = 1 << (max(DRAWS, 4 * target.dim) - 1).bit_length()
    eps = normals(draws, target.dim, generator)
    early = itertools.takewhile(lambda _: target.spent < LOOKING * target.granted, points)
    found = apart(target, Loss(target, eps), early, heads)
    if not found:
        return
    q = yield from _descended(target, begun(found, len(found), generator), eps)
    if len(found) < heads and _gap(target, q, eps) > ENOUGH:
        q = yield from _descended(target, begun(found, heads, generator), eps)
    for _ in range(1, ROUNDS):
        draws *= GROWTH
        q = yield from _descended(target, q, normals(draws, target.dim, generator))


def _descended(
    target: Metered, q: GaussianMixture, eps: Tensor
) -> Steps[GaussianMixture, None, GaussianMixture]:
    yield q
    q, _ = yield from climb(MixtureLoss(target, eps), q, STEPS, TOLERANCE)
    return q


def _gap(target: Target, q: GaussianMixture, eps: Tensor) -> float:
    """KL(q||p) of a mixture that is near, nats: half the variance of log q - log p."""
    z = (q.locs.unsqueeze(1) + eps @ q.scale_trils.mT).flatten(0, 1)
    with torch.no_grad():
        excess = q.log_prob(z) - target.log_density(z)
    shares = q.weights.repeat_interleave(len(eps)) / len(eps)
    return 0.5 * float(shares @ (excess - shares @ excess).square())
