r"""How large the density of a folding map can be at most: by how many nats it takes to name the
noise behind a draw.

A map makes z of noise eps_0, and other noise may make the same z. Call q_1 the density that eps_0
alone accounts for, and r(eps | z) the chance that the noise was eps. Then

.. math:: \log q(z) = \log q_1(z) - \log r(\epsilon_0 | z), \qquad
   E[-\log r(\epsilon_0 | z)] \le E[-\log s(\epsilon_0 | z)]

for every distribution s over the preimages of z that is made without a look at eps_0: Gibbs'
inequality, equality for s = r. The one used here knows the set S that a search from elsewhere has
found, and doubts it with probability lambda:

.. math:: s(\epsilon | z) = (1 - \lambda)\, q_\epsilon / \textstyle\sum_S q \;\text{ in } S, \qquad
   \lambda\, t(\epsilon | z) \;\text{ elsewhere,}

where t is the chance that Newton's method ends in eps when it starts blindly, from u ~ g. Starts
near eps_0 tell what that is:

.. math::
    \hat t = \frac 1 M \sum_k \frac{g(u_k)}{l(u_k)}\, 1\{u_k \to \epsilon_0\}, \quad u_k \sim
    l(\cdot | \epsilon_0), \qquad E[-\log \hat t] \ge -\log t,

so the bound holds in expectation however much the search has overlooked. Lambda is the share
overlooked in the other half of the draws. That noise which is known to lie behind a draw is an
exact draw of the posterior, and bounds from above, is the idea of Grosse, Ghahramani & Adams,
"Sandwiching the marginal likelihood using bidirectional Monte Carlo" (2015), arXiv 1511.02543; the
bound with an auxiliary s that of Ranganath, Tran & Blei, "Hierarchical variational models" (2016),
arXiv 1511.02386.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.metrics.brackets.newton import solve
from bench.metrics.brackets.preimages import APART, Atlas, Preimages, search
from bench.metrics.brackets.pushforward import Branch, branch
from methods.base import Pushforward

RADII = tuple(4.0**-j for j in range(8))  # of the starts about a preimage that was overlooked
SOLVES = 20_000  # starts spent on all of them
FEWEST_STARTS, MOST_STARTS = 3, 40  # starts per preimage and radius
# g is half N(0, I), half Gaussians of that width about the noise of as many draws near by, of each
# sign of det J
LOCAL, WIDTH = 6, 0.5


@dataclass(frozen=True, eq=False)
class Excess:
    """What the preimages beside the known one add to log q at n draws.

    Args:
        lower: by those found, nats, [n].
        upper: by naming the known one, a bound in expectation, nats, [n].
        known: the draws, and what the known preimage accounts for.
        found: by the search.
        missed: whether the search did not come back to the known one, [n].
        chance: log t of the known one where it was missed, from below, and 0 elsewhere, nats, [n].
    """

    lower: Tensor
    upper: Tensor
    known: Branch
    found: Preimages
    missed: Tensor
    chance: Tensor


def excess(approximation: Pushforward, eps: Tensor, atlas: Atlas, generator: Generator) -> Excess:
    """Bounds on log q - log q_1 at f(eps), for noise eps [n, D].

    Args:
        atlas: draws independent of eps.
    """
    known = branch(approximation, eps)
    found = search(approximation, known.points, atlas)
    missed = found.column(torch.arange(len(eps)), eps) < 0
    total = found.log_density
    lower = torch.where(missed, torch.logaddexp(total, known.log_q), total) - known.log_q
    chance, rows = torch.zeros_like(lower), missed.nonzero()[:, 0]
    if len(rows):
        points = known.points[rows]
        chance[rows] = log_chance(
            approximation, points, eps[rows], atlas.starts(points, LOCAL), generator
        )
    some = found.count > 0  # where nothing was found, all is doubt
    doubt = torch.where(some, shares(missed, (some & found.balanced, some & ~found.balanced)), 1.0)
    upper = torch.where(missed, -doubt.log() - chance, lower - torch.log1p(-doubt))
    return Excess(lower, upper, known, found, missed, chance)


def shares(missed: Tensor, kinds: Sequence[Tensor]) -> Tensor:
    """Lambda of each point, [n]: the share missed in the other half of the points of its kind, each
    a mask, [n].
    """
    share, half = torch.zeros(len(missed), dtype=torch.float64), torch.arange(len(missed)) % 2 == 0
    for kind in kinds:
        for side in (half, ~half):
            other = kind & ~side
            share[kind & side] = (float(missed[other].sum()) + 0.5) / (float(other.sum()) + 1)
    return share


def log_chance(
    approximation: Pushforward, points: Tensor, eps: Tensor, centres: Tensor, generator: Generator
) -> Tensor:
    """Log t of preimages eps of points, both [n, D], estimated from below: [n].

    Args:
        centres: of the local half of g, [n, k, D].
    """
    n, dim = eps.shape
    each = min(max(SOLVES // (n * len(RADII)), FEWEST_STARTS), MOST_STARTS)
    radii = torch.tensor(RADII, dtype=torch.float64).repeat(each).unsqueeze(-1)
    starts = eps.unsqueeze(1) + radii * torch.randn(
        n, len(radii), dim, generator=generator, dtype=torch.float64
    )
    root, done = solve(approximation, points.repeat_interleave(len(radii), 0), starts.flatten(0, 1))
    away = torch.linalg.vector_norm(root - eps.repeat_interleave(len(radii), 0), dim=-1)
    origin = torch.zeros(n, 1, dim, dtype=torch.float64)
    blind = torch.logaddexp(
        _log_normals(starts, origin, 1.0), _log_normals(starts, centres, WIDTH)
    ) - math.log(2)
    near = torch.stack([_log_normals(starts, eps.unsqueeze(1), radius) for radius in RADII])
    weights = blind - near.logsumexp(0) + math.log(len(RADII))
    back = (done & (away < APART)).reshape(weights.shape)
    return torch.where(back, weights, -torch.inf).logsumexp(1) - math.log(len(radii))


def _log_normals(points: Tensor, centres: Tensor, width: float) -> Tensor:
    """Log density of an equal mixture of Gaussians about k centres: [n, m, D], [n, k, D] ->
    [n, m].
    """
    squares = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
    constant = points.shape[-1] * (math.log(width) + 0.5 * math.log(2 * math.pi)) + math.log(
        centres.shape[1]
    )
    return (-0.5 * squares / width**2).logsumexp(-1) - constant
