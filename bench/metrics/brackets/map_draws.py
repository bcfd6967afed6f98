"""Draws of a map that hides its density, and what can be known of it there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Kind, Skipped, kept
from bench.metrics.brackets import auxiliary, hierarchy, mixture, planar
from bench.metrics.brackets.own import fresh_count, log_density
from bench.metrics.brackets.preimages import Atlas, grows
from bench.metrics.brackets.pushforward import Branch, branch
from bench.metrics.brackets.upper import Excess, excess
from methods import PushforwardMixture
from methods.base import Pushforward, SemiImplicit

FEWEST_STARTS = 2000  # draws that a search starts from, however few are shared
WORK = 1e9  # numbers that the draws of a map which need no search may write
UNLESS = "Exact if the map is one-to-one: "
MIXED = 4  # times as many draws bound a mixture over noise, which needs no search
# times as many draws are searched for several maps, whose parts are known by the search alone
OF_MAPS = 4
# coordinates beyond which fewer draws are searched, by the square of how many times more there are:
# a step of the search inverts matrices of their number
WIDE = 30
FEW = 20  # draws that are searched at least
FEWER = 4  # times fewer draws are searched where noise has to be integrated out
SLICED, FEW_SLICED = 25, 10  # times fewer under every slice of a map into the plane; at least


@dataclass(frozen=True, eq=False)
class MapDraws:
    """Draws of a map and what is known of its density there, of all preimages at the last m of
    them.

    Args:
        points: [n, D]; log_q: log q_1, nats, [n]; of a mixture of maps, a guess at log q.
        lower, upper: bounds on the excess, nats, [m]; lower is -inf where none was found.
        guessed: whether log_q is no more than that, so that only the searched draws tell a density.
        least: a bound from below at each of the m draws, nats, [m], where ``lower`` is one on
            average alone.
    """

    points: Tensor
    log_q: Tensor
    lower: Tensor
    upper: Tensor
    kind: Kind
    note: str
    guessed: bool = False
    least: Tensor | None = None


@kept
@torch.no_grad()
def log_density_at(comparison: Comparison, searched: int) -> Tensor:
    """Log p at the draws of ``known_draws``, [n], where there are any."""
    drawn = known_draws(comparison, searched)
    assert not isinstance(drawn, Skipped)
    return log_density(comparison, drawn.points)


@kept
@torch.no_grad()
def known_draws(comparison: Comparison, searched: int) -> MapDraws | Skipped:
    """Fresh draws of a map of at least as much noise as coordinates, or why its density is out of
    reach.
    """
    approximation, dim = comparison.approximation, comparison.problem.dim
    if isinstance(approximation, PushforwardMixture):
        return _of_maps(comparison, approximation, searched)
    if not isinstance(approximation, Pushforward):
        return Skipped("The approximation is draws alone, without a density.")
    noise, generator = approximation.noise_dim, comparison.generator()
    if isinstance(approximation, SemiImplicit):
        return _of_mixture(approximation, dim, MIXED * searched, generator)
    if noise < dim:
        return Skipped(
            f"The map has {noise} noise dimensions for {dim} coordinates: it has no density, and"
            " KL(q||p) is infinite."
        )
    count, many = max(len(comparison.draws), FEWEST_STARTS), _affordable(comparison, approximation)
    if noise == dim:
        eps, more, rest = (
            torch.randn(n, dim, generator=generator, dtype=torch.float64)
            for n in (count, searched, max(many - count, 1))
        )
        apart = branch(approximation, rest)
        return _of_square_map(
            approximation, Atlas(eps, branch(approximation, eps)), apart, more, generator
        )
    if dim == planar.PLANE:
        few = max(searched // SLICED, FEW_SLICED)
        return _of_wide_map(
            approximation, few, planar.bounds(approximation, (many, few), generator)
        )
    few = max(searched // FEWER, 2)
    return _of_wide_map(
        approximation, few, auxiliary.bounds(approximation, dim, (count, many, few), generator)
    )


def _affordable(comparison: Comparison, approximation: Pushforward) -> int:
    """How many draws the average that needs no search rests on."""

    def once(rows: int) -> object:
        eps = torch.zeros(rows, approximation.noise_dim, dtype=torch.float64)
        points = approximation.forward(eps)
        return approximation.jacobian(eps), comparison.problem.log_density(points)

    return fresh_count(comparison, once, WORK)


def _of_square_map(
    approximation: Pushforward, atlas: Atlas, apart: Branch, more: Tensor, generator: Generator
) -> MapDraws | Skipped:
    known = [atlas.known, apart]
    singular = sum(int((part.sign == 0).sum()) for part in known)
    if singular:
        return _flat(singular, sum(len(part.sign) for part in known))
    behind = excess(approximation, more, atlas, generator)
    singular = int((behind.known.sign == 0).sum())
    if singular:
        return _flat(singular, len(more))
    known.append(behind.known)
    points = torch.cat([part.points for part in known])
    log_q = torch.cat([part.log_q for part in known])
    signs = torch.cat([part.sign for part in known])
    return MapDraws(
        points, log_q, behind.lower, behind.upper, *_judged(approximation, atlas, behind, signs)
    )


def _flat(singular: int, count: int) -> Skipped:
    return Skipped(
        f"The map is singular at {singular} of {count} draws: it has no density there, and KL(q||p)"
        " is infinite."
    )


def _judged(
    approximation: Pushforward, atlas: Atlas, behind: Excess, signs: Tensor
) -> tuple[Kind, str]:
    """Whether a square map is taken for one-to-one, and what there is to say."""
    searched = len(behind.missed)
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


def _of_maps(
    comparison: Comparison, approximation: PushforwardMixture, searched: int
) -> MapDraws | Skipped:
    dim = comparison.problem.dim
    if any(head.noise_dim != dim for head in approximation.heads):
        return Skipped("Not every map of the mixture has as much noise as there are coordinates.")
    count = max(len(comparison.draws), FEWEST_STARTS)
    many = max(_affordable(comparison, approximation.heads[0]) - count, 1)
    searched = max(int(OF_MAPS * searched * min(1.0, (WIDE / dim) ** 2)), FEW)
    found = mixture.bounds(approximation, (count, many, searched), comparison.generator())
    if found is None:
        return Skipped("A map of the mixture is singular at some draws: it has no density there.")
    maps = f"of {len(approximation.heads)} maps"
    kind: Kind = "lower bound" if found.fault or found.missed else "exact"
    end = f"; {found.thorough} were searched to the end."
    note = (
        f"A mixture {maps}: {found.fault or 'all were searched'}; of {searched} draws the search"
        f" overlooked the noise of {found.missed}{end}"
        if kind == "lower bound"
        else f"{UNLESS}a search of {searched} draws under each {maps}, where it is not faint, found"
        f" one preimage{end}"
    )
    drawn = found.points, found.log_q, found.lower, found.upper
    return MapDraws(*drawn, kind, note, True, found.least)


def _of_mixture(approximation: SemiImplicit, dim: int, n: int, generator: Generator) -> MapDraws:
    found = hierarchy.bounds(approximation, dim, n, generator)
    gap = found.upper - found.lower
    note = (
        f"A mixture of Gaussians over {approximation.mixing_dim} dimensions of noise, integrated"
        f" out by {hierarchy.PROPOSALS} proposals at each of {n} draws."
    )
    return MapDraws(found.points, found.lower, torch.zeros_like(gap), gap, "lower bound", note)


def _of_wide_map(
    approximation: Pushforward, few: int, found: auxiliary.Bounds | None
) -> MapDraws | Skipped:
    if found is None:
        return Skipped(
            "The map is singular at some draws, together with the noise that it ignores most."
        )
    note = (
        f"The map has {approximation.noise_dim} noise dimensions for {found.points.shape[1]}"
        f" coordinates; the rest is integrated out at {few} draws. The search overlooked the noise"
        f" of {found.missed:.2%}."
    )
    return MapDraws(found.points, found.log_q, found.lower, found.upper, "lower bound", note)
