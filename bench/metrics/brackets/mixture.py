r"""The density of a sampler of several maps: what each of them puts at the draws of all.

.. math::
    q(z) = \sum_k w_k \sum_{\epsilon: f_k(\epsilon) = z} \frac{N(\epsilon; 0, I)}{|\det
    J_k(\epsilon)|}

Each map is searched for the preimages of every draw, as in ``preimages``: what is found bounds log
q from below. Above, a draw names the map and the noise that it came from, as in ``upper``, where a
blind guess takes map k with chance w_k.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.metrics.brackets.preimages import Atlas, Preimages, grows, search
from bench.metrics.brackets.pushforward import Branch, branch
from bench.metrics.brackets.upper import LOCAL, log_chance, shares
from methods import PushforwardMixture

FEWEST = 1000  # draws of each map that a search starts from
MOST = 10.0  # nats that the other maps are guessed to add


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws of a mixture, and what the noise and the map behind each accounts for.

    Args:
        chosen: the map, [n]; eps: its noise, [n, D]; known: log w_k and all, [n].
    """

    chosen: Tensor
    eps: Tensor
    known: Branch


@dataclass(frozen=True, eq=False)
class Mixed:
    """Bounds in expectation on log q at draws of a mixture of maps.

    Args:
        points: z, [n, D]; log_q: a guess that is near it, nats, [n].
        lower, upper: what log q has above that, at the last m points, nats, [m].
        missed: of how many of those m the search overlooked the noise.
        fault: what speaks against every map being one-to-one and searched to the end, or nothing.
    """

    points: Tensor
    log_q: Tensor
    lower: Tensor
    upper: Tensor
    missed: int
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
    found = [
        search(head, behind.known.points, atlas)
        for head, atlas in zip(mixture.heads, atlases, strict=True)
    ]
    lower, upper, missed = _excess(mixture, atlases, behind, found, generator)
    guesses = [_guess(mixture, atlases, drawn) for drawn in (apart, behind)]
    return Mixed(
        torch.cat([apart.known.points, behind.known.points]),
        torch.cat([apart.known.log_q + guesses[0], behind.known.log_q + guesses[1]]),
        lower - guesses[1],
        upper - guesses[1],
        int(missed.sum()),
        _fault(mixture, atlases, [apart, behind], found),
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


def _guess(mixture: PushforwardMixture, atlases: list[Atlas], drawn: Drawn) -> Tensor:
    """About how much the other maps add to log q, [n]: as if each were a Gaussian. It takes most of
    the chance out of an average over few draws, and goes out of the figures by itself.
    """
    parts = []
    for weight, atlas in zip(mixture.log_weights, atlases, strict=True):
        centred = atlas.whiten(drawn.known.points) - atlas.whiten(atlas.known.points).mean(0)
        parts.append(weight - atlas.log_scale - 0.5 * centred.square().sum(-1))
    log_joint = torch.stack(parts, 1)
    own = log_joint.gather(1, drawn.chosen.unsqueeze(1))[:, 0]
    return (log_joint.logsumexp(1) - own).clamp(max=MOST)


def _excess(
    mixture: PushforwardMixture,
    atlases: list[Atlas],
    behind: Drawn,
    found: list[Preimages],
    generator: Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Bounds on what log q has above what is known, and whether the search overlooked that, [m]."""
    missed, chance = torch.zeros_like(behind.chosen, dtype=torch.bool), behind.eps.new_zeros(())
    chance = chance.repeat(len(missed))
    for k, (head, atlas) in enumerate(zip(mixture.heads, atlases, strict=True)):
        rows = (behind.chosen == k).nonzero()[:, 0]
        rows = rows[found[k].column(rows, behind.eps[rows]) < 0]
        missed[rows] = True
        if len(rows):
            points = behind.known.points[rows]
            starts = atlas.starts(points, LOCAL)
            named = log_chance(head, points, behind.eps[rows], starts, generator)
            chance[rows] = mixture.log_weights[k] + named
    parts = [
        part.log_density + weight for part, weight in zip(found, mixture.log_weights, strict=True)
    ]
    total, log_q = torch.stack(parts).logsumexp(0), behind.known.log_q
    lower = torch.where(missed, torch.logaddexp(total, log_q), total) - log_q
    some = total > -torch.inf
    balanced = torch.stack([part.balanced for part in found]).all(0)
    kinds = some & balanced, some & ~balanced
    doubt = torch.where(some, shares(missed, kinds), 1.0)
    upper = torch.where(missed, -doubt.log() - chance, lower - torch.log1p(-doubt))
    return lower, upper, missed


def _fault(
    mixture: PushforwardMixture,
    atlases: list[Atlas],
    drawn: list[Drawn],
    found: list[Preimages],
) -> str:
    chosen = torch.cat([part.chosen for part in drawn])
    positive = torch.cat([part.known.sign for part in drawn]) > 0
    for k, head in enumerate(mixture.heads):
        of_map = positive[chosen == k]
        rarer = min(int(of_map.sum()), int((~of_map).sum()))
        if rarer:
            share = rarer / len(of_map)
            return f"map {k + 1} folds: det J has the rarer sign on {share:.2%} of its draws"
        if int((found[k].count != 1).sum()):
            return f"under map {k + 1} not every draw was found to have one preimage"
        if not grows(head, atlases[k]):
            return f"map {k + 1} does not grow in all directions"
    return ""
