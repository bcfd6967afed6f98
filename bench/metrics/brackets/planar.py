r"""The density of a map of much noise into the plane: hold all of the noise but two coordinates,
find every preimage in the plane that is left, and average over what was held.

.. math::
    q(z) = E_a[q(z | a)], \qquad
    q(z | a) = \sum_{b: f(U b + a) = z} \frac{N(b; 0, I)}{|\det J_f U|}

U spans what f depends on most, a is the rest of the noise. With a_0 the one behind a draw z, M
others that know nothing of z, and a density g that was made of other draws,

.. math::
   E \log \Bigl[\frac{1 - w}{M} \sum_{k=1}^M q(z | a_k) + w g(z)\Bigr] \;\le\; E \log q(z)
   \;\le\; E \log \frac{1}{M + 1} \sum_{k=0}^M q(z | a_k).

The first, for 0 < w < 1: Jensen's inequality, and then Gibbs', as (1 - w) q + w g is a density; it
is finite wherever g is, however many slices miss z. The second as in ``auxiliary``, of which this
is the case s(a) = p(a): so the slices behind all draws serve every draw. What one slice adds to
q(z | a_k) / q(z) is 1 on average over z, whatever the slice: to first order draws that share slices
are as good as independent. A draw whose noise the search overlooked is named, as in ``upper``.

Sources: Yin & Zhou, "Semi-implicit variational inference" (2018), arXiv 1805.11183, and those of
``auxiliary``.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from bench.metrics.brackets.auxiliary import DIRECTIONS, Bounds
from bench.metrics.brackets.preimages import APART
from bench.metrics.brackets.slices import Slice, search
from bench.metrics.brackets.upper import log_chance
from bench.metrics.models.gaussian_mixture import choose
from bench.metrics.models.smoothed import smoothed
from methods.base import Pushforward

PLANE = 2
COUNTED = 180_000  # draws that g is made of
CHOOSING = 20_000  # draws that tell which g is likeliest
CLIMBED = 16_000  # of those counted, draws that its mixture of Gaussians is fitted to
COMPONENTS = (1, 2, 4, 8, 16, 32)  # of the mixture, tried in turn
WEIGHT = 0.2  # w, of g
SLICES, OF_EACH = 400, 4  # at least; for each draw whose preimages are looked for


def bounds(
    approximation: Pushforward, counts: tuple[int, int], generator: Generator
) -> Bounds | None:
    """Bounds at fresh draws of a map into the plane; None where it is singular.

    Args:
        counts: n - m draws; m draws, whose preimages are looked for.
    """
    fit, many, few = (
        torch.randn(n, approximation.noise_dim, generator=generator, dtype=torch.float64)
        for n in (COUNTED + CHOOSING, counts[0], max(OF_EACH * counts[1], SLICES))
    )
    drawn, choosing = torch.split(approximation.forward(fit).double(), [COUNTED, CHOOSING])
    if not bool((drawn.std(0) > 0).all()):
        return None
    mixture = choose(drawn[:CLIMBED], choosing[: CLIMBED // 4], COMPONENTS, generator)
    guess = smoothed(drawn, choosing, mixture)
    plane = _across(approximation, fit[:DIRECTIONS])
    slices = Slice(approximation, plane, few - few @ plane @ plane.T)
    sliced = _sliced(slices, few @ plane, counts[1], generator)
    if sliced is None:
        return None
    table, named, missed = sliced
    m, each = table.shape
    points = approximation.forward(torch.cat([many, few[:m]])).double()
    log_g = guess.log_prob(points)
    others = table.masked_fill(torch.eye(m, each, dtype=torch.bool), -torch.inf).logsumexp(1)
    lower = torch.logaddexp(
        others + math.log((1 - WEIGHT) / (each - 1)), log_g[-m:] + math.log(WEIGHT)
    )
    # the share missed of the other draws: a draw must not know its own part
    doubt = ((missed.sum() - missed.double() + 0.5) / each)[:m]
    found = table.logsumexp(1) - math.log(each) - torch.log1p(-doubt)
    upper = torch.where(missed[:m], named - doubt.log(), found)
    share = float(missed.double().mean())
    return Bounds(points, log_g, lower - log_g[-m:], upper - log_g[-m:], share)


def _sliced(
    slices: Slice, own: Tensor, m: int, generator: Generator
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Of draws made by noise ``own``, [M, 2], in a slice each: log q(z_i | a_k) of the first m of
    them under every slice, as far as found, [m, M]; log q(z_i | a_i) by the known noise less the
    log chance that a blind search ends there where it was missed, [m]; and which of the M the
    search missed. None where a slice is singular.
    """
    sign, log_det = torch.linalg.slogdet(slices.jacobian(own))
    if bool((sign == 0).any()):
        return None
    points, each = slices.forward(own), len(own)
    found = search(slices, points[:m], points)
    shared = found.points < m
    place = found.points[shared] * each + found.slices[shared]
    total = torch.zeros(m * each, dtype=torch.float64)
    total = total.index_add_(0, place, found.log_q[shared].exp())
    behind, missed = found.slices[~shared], torch.ones(each, dtype=torch.bool)
    away = torch.linalg.vector_norm(found.eps[~shared] - own[behind], dim=-1)
    missed[behind[away < APART]] = False
    named = (-0.5 * own.square().sum(1) - math.log(2 * math.pi) - log_det)[:m]
    origin = torch.zeros(1, 1, PLANE, dtype=torch.float64)
    for i in missed[:m].nonzero()[:, 0].tolist():
        one = Slice(slices.inner, slices.plane, slices.held[i])
        named[i] -= log_chance(one, points[i : i + 1], own[i : i + 1], origin, generator)[0]
    return total.log().reshape(m, each), named, missed


def _across(approximation: Pushforward, eps: Tensor) -> Tensor:
    """The plane of the noise that f depends on most, over draws eps, [n, K]: U, [K, 2]."""
    # every draw counts alike, however much f stretches it
    across = torch.linalg.svd(approximation.jacobian(eps).double(), full_matrices=False).Vh
    vectors: Tensor = torch.linalg.eigh(torch.einsum("ndi,ndj->ij", across, across)).eigenvectors
    return vectors[:, -PLANE:].contiguous()
