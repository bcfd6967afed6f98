r"""The density of a sampler of several maps: what each of them puts at the draws of all.

.. math::
    q(z) = \sum_k w_k \sum_{\epsilon: f_k(\epsilon) = z} \frac{N(\epsilon; 0, I)}{|\det
    J_k(\epsilon)|}

Each map is searched for the preimages of every draw, as in ``preimages``: what is found bounds log
q from below. Above, a draw names the map and the noise that it came from, as in ``upper``, where a
blind guess takes map k with chance w_k. Maps that are faint at a point are not searched there;
which they are is decided by the point alone, so that a draw of such a map counts as missed, and
both bounds hold. All draws are searched briefly, and a sample of them to the end: see ``looked``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.metrics.brackets.looked import Drawn, Looked, Maps, look
from bench.metrics.brackets.preimages import Atlas, grows
from bench.metrics.brackets.pushforward import Branch, branch
from bench.metrics.brackets.upper import LOCAL, log_chance, shares
from methods import PushforwardMixture

FEWEST = 1000  # draws of each map that a search starts from
MOST = 10.0  # nats that the other maps are guessed to add


@dataclass(frozen=True, eq=False)
class Mixed:
    """Bounds in expectation on log q at draws of a mixture of maps.

    Args:
        points: z, [n, D]; log_q: a guess that is near it, nats, [n].
        lower, upper: what log q has above that on average, by the last m points, nats, [m].
        least: a bound from below at each of these, nats, [m].
        missed: of how many of those m the search overlooked the noise.
        thorough: how many of the m were searched to the end.
        fault: what speaks against every map being one-to-one and searched to the end, or nothing.
    """

    points: Tensor
    log_q: Tensor
    lower: Tensor
    upper: Tensor
    least: Tensor
    missed: int
    thorough: int
    fault: str


def bounds(
    mixture: PushforwardMixture, counts: tuple[int, int, int], generator: Generator
) -> Mixed | None:
    """Bounds at fresh draws of square maps; None where one is singular.

    Args:
        counts: draws to start from; n - m draws; m draws.
    """
    each = max(counts[0] // len(mixture.heads), FEWEST)
    atlases = []
    for head in mixture.heads:
        eps = torch.randn(each, head.noise_dim, generator=generator, dtype=torch.float64)
        atlases.append(Atlas(eps, branch(head, eps)))
    apart, behind = (_draw(mixture, n, generator) for n in counts[1:])
    known = [atlas.known for atlas in atlases] + [apart.known, behind.known]
    if any(bool((part.sign == 0).any()) for part in known):
        return None
    maps = Maps(mixture, atlases)
    found = look(maps, behind)
    lower, upper, least = _bounded(maps, behind, found, generator)
    guesses = [_guess(maps, drawn) for drawn in (apart, behind)]
    guessed = behind.known.log_q + guesses[1]
    return Mixed(
        torch.cat([apart.known.points, behind.known.points]),
        torch.cat([apart.known.log_q + guesses[0], guessed]),
        lower - guessed,
        upper - guessed,
        least - guessed,
        int(found.missed.sum()),
        int((found.weight > 0).sum()),
        _fault(maps, [apart, behind], found),
    )


def _draw(mixture: PushforwardMixture, n: int, generator: Generator) -> Drawn:
    chosen, dim = mixture.choose(n, generator).sort().values, mixture.heads[0].noise_dim
    # in the order of the maps, then shuffled: halves of the draws must be alike
    eps = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    parts = [branch(mixture.heads[k], eps[chosen == k]) for k in sorted(set(chosen.tolist()))]
    mixed = torch.randperm(n, generator=generator)
    log_q = torch.cat([part.log_q for part in parts]) + mixture.log_weights[chosen]
    points, sign = (torch.cat([getattr(part, of) for part in parts]) for of in ("points", "sign"))
    return Drawn(chosen[mixed], eps[mixed], Branch(points[mixed], log_q[mixed], sign[mixed]))


def _guess(maps: Maps, drawn: Drawn) -> Tensor:
    """About how much the other maps add to log q, [n]: as if each were a Gaussian. It takes most of
    the chance out of an average over few draws, and goes out of the figures by itself.
    """
    log_joint = maps.guess(drawn.known.points)
    own = log_joint.gather(1, drawn.chosen.unsqueeze(1))[:, 0]
    return (log_joint.logsumexp(1) - own).clamp(max=MOST)


def _bounded(
    maps: Maps, behind: Drawn, found: Looked, generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Bounds on log q on average from below and above, and one from below at each draw, [m]."""
    log_q, some = behind.known.log_q, found.most > -torch.inf
    doubt = shares(found.missed, (some & found.balanced, some & ~found.balanced))
    doubt = torch.where(some, doubt, 1.0)
    chance = _chances(maps, behind, found.missed, generator)
    least = torch.where(found.missed, torch.logaddexp(found.most, log_q), found.most)
    named = torch.where(
        found.missed, log_q - doubt.log() - chance, found.most - torch.log1p(-doubt)
    )
    # what the end of the search adds at a sample of the draws stands for the rest of them
    further = (found.weight - 1) * (found.most - found.brief)
    further = torch.where(found.weight > 1, further, 0.0)
    return least + further, named + further, least


def _chances(maps: Maps, behind: Drawn, missed: Tensor, generator: Generator) -> Tensor:
    """Log of the chance that a blind guess names the map and the noise where these were missed,
    from below, and 0 elsewhere, nats, [m].
    """
    chance = behind.eps.new_zeros(len(missed))
    for k, (head, atlas) in enumerate(zip(maps.mixture.heads, maps.atlases, strict=True)):
        rows = (missed & (behind.chosen == k)).nonzero()[:, 0]
        if len(rows):
            points = behind.known.points[rows]
            starts = atlas.starts(points, LOCAL)
            named = log_chance(head, points, behind.eps[rows], starts, generator)
            chance[rows] = maps.mixture.log_weights[k] + named
    return chance


def _fault(maps: Maps, drawn: list[Drawn], found: Looked) -> str:
    chosen = torch.cat([part.chosen for part in drawn])
    positive = torch.cat([part.known.sign for part in drawn]) > 0
    for k, (head, atlas) in enumerate(zip(maps.mixture.heads, maps.atlases, strict=True)):
        of_map = positive[chosen == k]
        rarer = min(int(of_map.sum()), int((~of_map).sum()))
        if rarer:
            share = rarer / len(of_map)
            return f"map {k + 1} folds: det J has the rarer sign on {share:.2%} of its draws"
        if not found.single[k]:
            return f"under map {k + 1} not every draw was found to have one preimage"
        if not grows(head, atlas):
            return f"map {k + 1} does not grow in all directions"
    return ""
