r"""KL(q||p) of a map without a density, taken between a bound from below and a bound from above.

With q_1 a density that is known at every draw, by the noise behind it,

.. math:: KL(q \| p) = E_q[\log q_1 - \log p] + \log Z + E_q[\log q - \log q_1]

The first part is an average over many draws. The excess, 0 for a map that does not fold, is bounded
from both sides at fewer of them, because every preimage has to be looked for: see ``preimages`` and
``upper``. Maps of more noise than coordinates are made square first: see ``auxiliary``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Kind, Metric, Skipped, kept
from bench.metrics.brackets import auxiliary
from bench.metrics.brackets.preimages import Atlas
from bench.metrics.brackets.pushforward import branch
from bench.metrics.brackets.upper import Excess, excess
from bench.metrics.draws.monte_carlo import divergence
from methods.base import Pushforward

FEWEST = 2000  # draws to start from, however few are shared
FAR = 1e4  # length of the noise by which a map is seen to grow
SLOWEST = 0.01  # growth that counts: standard deviations of z for each of the noise
SEARCHED = 1000  # draws of a map whose preimages are looked for, unless said otherwise
LEAST = 20  # of them
UNLESS = "Exact if the map is one-to-one: "
FEWER = 4  # times fewer draws are searched where noise has to be integrated out


@dataclass(frozen=True)
class Bracket:
    """Bounds on KL(q||p).

    Args:
        lower: kind ``exact`` where q has a density, or is a map and nothing speaks against its
            being one-to-one; else ``lower bound``.
        upper: kind ``exact`` where q has a density, else ``upper bound``.
    """

    lower: Estimate | Skipped
    upper: Estimate | Skipped


@dataclass(frozen=True, eq=False)
class MapDraws:
    """Draws of a map and what is known of its density there, of all preimages at the last m of
    them.

    Args:
        points: [n, D]; log_q: log q_1, nats, [n].
        lower, upper: bounds on the excess, nats, [m]; lower is -inf where none was found.
    """

    points: Tensor
    log_q: Tensor
    lower: Tensor
    upper: Tensor
    kind: Kind
    note: str


@dataclass(frozen=True)
class Searching(Metric):
    """A metric that looks for the preimages of draws of a map.

    Args:
        searched: of how many draws.
    """

    searched: int = SEARCHED

    def __post_init__(self) -> None:
        if self.searched < LEAST:
            raise ValueError(
                f"{type(self).__name__}(searched=...) must be at least {LEAST}, got"
                f" {self.searched}."
            )


def bracket(
    comparison: Comparison, evidence: tuple[float, float], searched: int = SEARCHED
) -> Bracket | Skipped:
    """Bounds on E_q[log q - log p] + log Z by way of densities; both ends are one figure where q
    can be asked for its own.

    Args:
        evidence: log Z and its standard error, nats; (0, 0) leaves minus the ELBO.
        searched: draws of a map whose preimages are looked for.
    """
    if (own := own_densities(comparison)) is not None:
        log_q, log_p = own
        known = divergence(log_q, log_p - evidence[0], ("q", "p"), "exact", evidence[1], "")
        return Bracket(known, known)
    drawn = known_draws(comparison, searched)
    if isinstance(drawn, Skipped):
        return drawn
    log_p = log_density_at(comparison, searched) - evidence[0]
    first = divergence(drawn.log_q, log_p, ("q", "p"), drawn.kind, evidence[1], drawn.note)
    if isinstance(first, Skipped):
        return Bracket(first, first)
    lower = _with_excess(first, drawn.log_q - log_p, drawn.lower, evidence[1])
    upper = _with_excess(first, drawn.log_q - log_p, drawn.upper, evidence[1])
    if isinstance(upper, Estimate):
        upper = replace(upper, kind="upper bound", note=upper.note.removeprefix(UNLESS))
    return Bracket(lower, upper)


def _with_excess(
    first: Estimate, ratio: Tensor, more: Tensor, more_stderr: float
) -> Estimate | Skipped:
    """The average of the ratio, [n], plus that of the excess, [m], which is known at the last m
    draws.
    """
    lost = int((~more.isfinite()).sum())
    if lost:
        return Skipped(f"No bound was found at {lost} of {len(more)} draws.")
    n, m = len(ratio), len(more)
    apart, shared = ratio[: n - m] / n, ratio[n - m :] / n + more / m
    variance = (n - m) * float(apart.var()) + m * float(shared.var())
    return replace(
        first,
        value=float(ratio.mean() + more.mean()),
        stderr=math.hypot(math.sqrt(variance), more_stderr),
    )


@kept
@torch.no_grad()
def own_densities(comparison: Comparison) -> tuple[Tensor, Tensor] | None:
    """Log q and log p at the shared draws, [n] each, or None where q cannot be asked for its
    density.
    """
    log_q = comparison.approximation.log_prob(comparison.draws)
    return (
        None
        if log_q is None
        else (log_q.double(), comparison.problem.log_density(comparison.draws))
    )


@kept
@torch.no_grad()
def log_density_at(comparison: Comparison, searched: int) -> Tensor:
    """Log p at the draws of ``known_draws``, [n], where there are any."""
    drawn = known_draws(comparison, searched)
    assert not isinstance(drawn, Skipped)
    return comparison.problem.log_density(drawn.points)


@kept
@torch.no_grad()
def known_draws(comparison: Comparison, searched: int) -> MapDraws | Skipped:
    """Fresh draws of a map of at least as much noise as coordinates, or why its density is out of
    reach.
    """
    approximation, dim = comparison.approximation, comparison.problem.dim
    if not isinstance(approximation, Pushforward):
        return Skipped("The approximation is draws alone, without a density.")
    noise, generator = approximation.noise_dim, comparison.generator()
    if noise < dim:
        return Skipped(
            f"The map has {noise} noise dimensions for {dim} coordinates: it has no density, and"
            " KL(q||p) is infinite."
        )
    count = max(len(comparison.draws), FEWEST)
    if noise == dim:
        eps, more = (
            torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in (count, searched)
        )
        return _of_square_map(
            approximation, Atlas(eps, branch(approximation, eps)), more, generator
        )
    return _of_wide_map(approximation, dim, (count, max(searched // FEWER, 2)), generator)


def _of_square_map(
    approximation: Pushforward, atlas: Atlas, more: Tensor, generator: torch.Generator
) -> MapDraws | Skipped:
    singular = int((atlas.known.sign == 0).sum())
    if singular:
        return _flat(singular, len(atlas.eps))
    behind = excess(approximation, more, atlas, generator)
    singular = int((behind.known.sign == 0).sum())
    if singular:
        return _flat(singular, len(more))
    points = torch.cat([atlas.known.points, behind.known.points])
    log_q = torch.cat([atlas.known.log_q, behind.known.log_q])
    return MapDraws(
        points, log_q, behind.lower, behind.upper, *_judged(approximation, atlas, behind)
    )


def _flat(singular: int, count: int) -> Skipped:
    return Skipped(
        f"The map is singular at {singular} of {count} draws: it has no density there, and KL(q||p)"
        " is infinite."
    )


def _judged(approximation: Pushforward, atlas: Atlas, behind: Excess) -> tuple[Kind, str]:
    """Whether a square map is taken for one-to-one, and what there is to say."""
    signs, searched = torch.cat([atlas.known.sign, behind.known.sign]), len(behind.missed)
    positive = float((signs > 0).double().mean())
    per_draw, overlooked = float(behind.found.count.double().mean()), int(behind.missed.sum())
    each = "one preimage" if per_draw == 1 else f"{per_draw:.4g} preimages"
    search = (
        f"a search found {each} of each of {searched} draws and overlooked the known one of"
        f" {overlooked}"
    )
    if 0 < positive < 1:
        share = min(positive, 1 - positive)
        return (
            "lower bound",
            (
                f"The map folds: det J has the rarer sign on {share:.2%} of {len(signs)} draws;"
                f" {search}."
            ),
        )
    if int((behind.found.count != 1).sum()) or overlooked:
        return "lower bound", f"det J has one sign on all {len(signs)} draws, yet {search}."
    if not grows(approximation, atlas):
        return (
            "lower bound",
            (
                "The map does not grow in all directions, so it may reach a point twice, although"
                f" {search}."
            ),
        )
    return "exact", f"{UNLESS}det J has one sign on all {len(signs)} draws, and {search}."


def grows(approximation: Pushforward, atlas: Atlas) -> bool:
    """Whether f(eps) moves away as eps does, as seen far out in the directions of the draws: then f
    is proper.
    """
    far = FAR * torch.nn.functional.normalize(atlas.eps[:FEWEST], dim=-1)
    reached = torch.linalg.vector_norm(atlas.whiten(approximation.forward(far).double()), dim=-1)
    return bool((reached > FAR * SLOWEST).all())


def _of_wide_map(
    approximation: Pushforward, dim: int, counts: tuple[int, int], generator: torch.Generator
) -> MapDraws | Skipped:
    found = auxiliary.bounds(approximation, dim, counts, generator)
    if found is None:
        return Skipped(
            "The map is singular at some draws, together with the noise that it ignores most."
        )
    note = (
        f"The map has {approximation.noise_dim} noise dimensions for {dim} coordinates; the rest is"
        f" integrated out at {counts[1]} draws. The search overlooked the noise of"
        f" {found.missed:.2%}."
    )
    return MapDraws(found.points, found.log_q, found.lower, found.upper, "lower bound", note)
