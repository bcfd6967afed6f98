"""Draws of several maps, searched under each of them: all of them briefly, a sample to the end.

One start from each side of a fold finds nearly all that eight rounds of them do, at an eighth of
the cost. So every draw has one; and to the end are searched all that it does not settle, and of the
others a sample, which stands for them: its weight makes up for those left out, so that averages are
what they would be if all had been searched, with an error that their spread tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.metrics.brackets.preimages import Atlas, search
from bench.metrics.brackets.pushforward import Branch
from methods import PushforwardMixture

SAMPLE = 12  # times fewer of the draws that are settled are searched to the end
# nats by which a map must be guessed to lie below the strongest to be left out at a point; and by
# how much more than at any draw of its own that was seen
FAINT, BEYOND = 25.0, 10.0


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
class Maps:
    """A mixture with draws of each of its maps to start from."""

    mixture: PushforwardMixture
    atlases: Sequence[Atlas]

    def guess(self, points: Tensor) -> Tensor:
        """Log density of each map at points [n, D], as if it were a Gaussian: [n, heads], up to one
        constant.
        """
        parts = []
        for weight, atlas in zip(self.mixture.log_weights, self.atlases, strict=True):
            centred = atlas.whiten(points) - atlas.whiten(atlas.known.points).mean(0)
            parts.append(weight - atlas.log_scale - 0.5 * centred.square().sum(-1))
        return torch.stack(parts, 1)

    def near(self, points: Tensor) -> Tensor:
        """Which maps are not faint at each point, [n, heads]: a function of the point alone."""
        own = [
            _below(self.guess(atlas.known.points))[:, k].max()
            for k, atlas in enumerate(self.atlases)
        ]
        reach = torch.stack(own).add(BEYOND).clamp(min=FAINT)
        return _below(self.guess(points)) < reach


def _below(guess: Tensor) -> Tensor:
    """By how much each map is guessed to lie below the strongest, nats."""
    return guess.amax(1, keepdim=True) - guess


@dataclass(frozen=True, eq=False)
class Looked:
    """What was found at n draws.

    Args:
        brief: log of the density that one start from each side accounts for, nats, [n].
        most: the same at the end of the search; as ``brief`` where it was not led there.
        weight: for how many draws one that was searched to the end stands, 0 for the others, [n].
        missed: whether the noise behind a draw was not found at the end, [n].
        balanced: whether signs add up under every map after one start, [n].
        single: of each map, whether one preimage of every draw was found where it is not faint,
            and no other.
    """

    brief: Tensor
    most: Tensor
    weight: Tensor
    missed: Tensor
    balanced: Tensor
    single: Sequence[bool]


def look(maps: Maps, drawn: Drawn) -> Looked:
    """Search under every map that is not faint."""
    points, every = drawn.known.points, torch.arange(len(drawn.eps))
    near = maps.near(points)
    first = _Round(maps, drawn, every, near, 1, 0)
    unsettled = first.missed.clone()
    if all(atlas.sides == 1 for atlas in maps.atlases):  # where none folds, few are
        unsettled |= (near & (first.count != 1)).any(1)
    rest = (~unsettled).nonzero()[:, 0]
    sample = rest[: -(-len(points) // SAMPLE)]
    weight = unsettled.double()
    weight[sample] = len(rest) / max(len(sample), 1)
    rows = torch.cat([unsettled.nonzero()[:, 0], sample])
    last = _Round(maps, drawn, rows, near[rows])
    most, missed = first.total.clone(), first.missed.clone()
    most[rows] = torch.maximum(first.parts[rows], last.parts).logsumexp(1)
    missed[rows] &= last.missed
    single = [bool((last.count[:, k][near[rows, k]] == 1).all()) for k in range(near.shape[1])]
    return Looked(first.total, most, weight, missed, first.balanced, single)


class _Round:
    """A search of r rows of the draws under the maps that are asked for, a mask [r, heads].

    ``parts``: log density found, w_k and all, [r, heads]; ``count``: of how many preimages, [r,
    heads]; ``total``: of all maps, [r]; ``missed``: whether the noise behind was not found, [r];
    ``balanced``: the signs under every map, [r].
    """

    def __init__(
        self,
        maps: Maps,
        drawn: Drawn,
        rows: Tensor,
        asked: Tensor,
        first: int | None = None,
        rounds: int | None = None,
    ) -> None:
        points, chosen, eps = drawn.known.points[rows], drawn.chosen[rows], drawn.eps[rows]
        weights = maps.mixture.log_weights
        self.parts = points.new_full(asked.shape, -torch.inf)
        self.count = torch.zeros(asked.shape, dtype=torch.long)
        self.missed = torch.ones(len(rows), dtype=torch.bool)
        self.balanced = self.missed.clone()
        for k, (head, atlas) in enumerate(zip(maps.mixture.heads, maps.atlases, strict=True)):
            here = asked[:, k].nonzero()[:, 0]
            found = search(head, points[here], atlas, first, rounds)
            self.parts[here, k] = found.log_density + weights[k]
            self.count[here, k] = found.count
            self.balanced[here] &= found.balanced
            own = (chosen[here] == k).nonzero()[:, 0]
            self.missed[here[own]] = found.column(own, eps[here[own]]) < 0
        self.total = self.parts.logsumexp(1)
