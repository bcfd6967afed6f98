r"""The density of a map with more noise than coordinates: give it the coordinates that it lacks,
and integrate them out again.

With K noise dimensions for D coordinates, keep K - D of the noise, a = V^T eps. Then F(eps) =
(f(eps), a) is square and has a density q(z, a), and for every conditional density s(a | z) and a_k
~ s

.. math::
   E \log \frac{1}{M + 1} \Bigl[g(z) + \sum_{k=1}^M \frac{q(z, a_k)}{s(a_k | z)}\Bigr] \;\le\;
   E \log q(z) \;\le\; E \log \frac{1}{M + 1} \sum_{k=0}^M \frac{q(z, a_k)}{s(a_k | z)}

where a_0 is the one behind z = f(eps_0), an exact draw of q(a | z). The first is Jensen's
inequality, and then Gibbs', g being a density, the mixture's below: finite even where no weight
could be had. The second holds because the average weight over q(z) is the density of M + 1 draws,
one exact and hidden among M from s, relative to M + 1 draws from s, and a relative entropy is not
negative. V spans what f ignores most; s is the conditional of a Gaussian mixture of (z, a). Of
q(z, a) the weights hold what a search for preimages finds. Above, that bounds the density of what
can be found; a draw whose noise cannot be is named one by one, and which of the two it is costs
-log(1 - lambda) or -log lambda, as in ``upper``. Maps into the plane have a way of their own:
``planar``.

Sources: Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders" (2016), arXiv 1509.00519;
Yin & Zhou, "Semi-implicit variational inference" (2018), arXiv 1805.11183; Grosse, Ghahramani &
Adams (2015), arXiv 1511.02543. Unlike in semi-implicit inference no noise is added to z: q(z | a)
is itself the density of a square map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.metrics.brackets.preimages import Atlas, search
from bench.metrics.brackets.pushforward import branch
from bench.metrics.brackets.upper import excess, shares
from bench.metrics.models.gaussian_mixture import Gaussians, choose
from methods.base import Pushforward

COMPONENTS = (1, 2, 4, 8, 16)  # of the mixture behind s, tried in turn
PROPOSALS = 16  # M
DIRECTIONS = 500  # draws that tell which directions of the noise matter


@dataclass(frozen=True, eq=False)
class Augmented(Pushforward):
    """The square map F(eps) = (f(eps), V^T eps) made of a map f with more noise than coordinates.

    Args:
        inner: f, from R^K to R^D, D < K.
        kept: V, [K, K - D], orthonormal.
    """

    inner: Pushforward
    kept: Tensor

    @property
    def noise_dim(self) -> int:  # type: ignore[override]
        """K, the dimension of the noise."""
        return len(self.kept)

    def forward(self, eps: Tensor) -> Tensor:
        return torch.cat([self.inner.forward(eps).double(), eps @ self.kept], -1)

    def jacobian(self, eps: Tensor) -> Tensor:
        rows = self.kept.T.expand(len(eps), -1, -1)
        return torch.cat([self.inner.jacobian(eps).double(), rows], -2)


def augment(inner: Pushforward, eps: Tensor) -> Augmented:
    """Keep the directions of the noise that f depends on least, over draws eps, [n, K]."""
    across = torch.linalg.svd(inner.jacobian(eps).double(), full_matrices=False).Vh  # [n, D, K]
    _, vectors = torch.linalg.eigh(torch.einsum("ndi,ndj->ij", across, across))
    return Augmented(inner, vectors[:, : eps.shape[1] - across.shape[1]].contiguous())


@dataclass(frozen=True, eq=False)
class Conditional:
    """s(a | z), from a mixture over (z, a).

    Args:
        joint: the mixture, over R^K; dim: D, the length of z.
    """

    joint: Gaussians
    dim: int

    def log_prob(self, z: Tensor, a: Tensor) -> Tensor:
        """Log s(a | z): [n, D], [n, K - D] -> [n]."""
        return self.joint.log_prob(torch.cat([z, a], -1)) - self.of_z.log_prob(z)

    def sample(self, z: Tensor, generator: Generator) -> Tensor:
        """One draw of a for each z: [n, D] -> [n, K - D]."""
        part, of_z = self.dim, self.of_z
        chosen = torch.multinomial(of_z.log_joint(z).softmax(-1), 1, generator=generator)[:, 0]
        factors, means = self.joint.factors[chosen], self.joint.means[chosen]
        white = torch.linalg.solve_triangular(
            factors[:, :part, :part], (z - means[:, :part]).unsqueeze(-1), upper=False
        )
        rest = factors.shape[-1] - part
        fresh = torch.randn(len(z), rest, 1, generator=generator, dtype=z.dtype)
        a: Tensor = (factors[:, part:, :part] @ white + factors[:, part:, part:] @ fresh)[..., 0]
        return means[:, part:] + a

    @property
    def of_z(self) -> Gaussians:
        """The mixture of z alone."""
        part = self.dim
        return Gaussians(
            self.joint.log_weights, self.joint.means[:, :part], self.joint.factors[:, :part, :part]
        )


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds in expectation on log q at draws of a map.

    Args:
        points: z, [n, D].
        log_q: log q_1(z, a_0) - log s(a_0 | z), a_0 by the noise behind z, or another guess at log
            q, nats, [n].
        lower, upper: bounds on what log q has above that, at the last m points, nats, [m].
        missed: share of those looked for whose noise the search overlooked.
    """

    points: Tensor
    log_q: Tensor
    lower: Tensor
    upper: Tensor
    missed: float


def bounds(
    approximation: Pushforward, dim: int, counts: tuple[int, int, int], generator: Generator
) -> Bounds | None:
    """Bounds at fresh draws of a map with more noise than coordinates; None where F is singular.

    Args:
        dim: D; counts: draws to fit s and to start from; n - m draws; m draws.
    """
    fit, many, few = (
        torch.randn(n, approximation.noise_dim, generator=generator, dtype=torch.float64)
        for n in counts
    )
    square = augment(approximation, fit[:DIRECTIONS])
    atlas, apart, cut = Atlas(fit, branch(square, fit)), branch(square, many), counts[0] * 4 // 5
    if bool((torch.cat([atlas.known.sign, apart.sign]) == 0).any()):
        return None
    drawn = atlas.known.points
    conditional = Conditional(choose(drawn[:cut], drawn[cut:], COMPONENTS, generator), dim)
    behind = excess(square, few, atlas, generator)
    if bool((behind.known.sign == 0).any()):
        return None
    z = torch.cat([apart.points, behind.known.points])
    log_q = torch.cat([apart.log_q, behind.known.log_q]) - conditional.log_prob(
        z[:, :dim], z[:, dim:]
    )
    first = behind.lower.unsqueeze(-1)  # all weights from here on relative to q_1 / s at a_0
    points, known = behind.known.points[:, :dim], log_q[counts[1] :].unsqueeze(-1)
    others = _weights(square, points, conditional, atlas, generator) - known
    guess = conditional.of_z.log_prob(points).unsqueeze(-1) - known
    lower = _log_mean(torch.cat([guess, others], -1))
    doubt = shares(behind.missed, [torch.ones_like(behind.missed)])
    found = _log_mean(torch.cat([first, others], -1)) - torch.log1p(-doubt)
    upper = torch.where(behind.missed, -doubt.log() - behind.chance, found)
    return Bounds(z[:, :dim], log_q, lower, upper, float(behind.missed.double().mean()))


def _weights(
    square: Augmented, z: Tensor, conditional: Conditional, atlas: Atlas, generator: Generator
) -> Tensor:
    """Log q(z, a_k) - log s(a_k | z) of a_k from s, q as far as preimages were found: [m, D] -> [m,
    M].
    """
    many = z.repeat_interleave(PROPOSALS, 0)
    proposed = conditional.sample(many, generator)
    found = search(square, torch.cat([many, proposed], -1), atlas)
    return (found.log_density - conditional.log_prob(many, proposed)).reshape(len(z), PROPOSALS)


def _log_mean(log_weights: Tensor) -> Tensor:
    return log_weights.logsumexp(-1) - math.log(log_weights.shape[1])
