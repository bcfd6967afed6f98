r"""All the noise that a folding map could have made a point from, as far as it can be found without
being told.

.. math:: q(z) = \sum_{\epsilon: f(\epsilon) = z} \frac{N(\epsilon; 0, I)}{|\det J_f(\epsilon)|}

Newton's method starts from the noise of other draws that landed near z, on either side of a fold.
It never sees the noise that made z; so how often it comes back to it is a fair test of what it
overlooks (see ``upper``).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.metrics.brackets.newton import solve
from bench.metrics.brackets.pushforward import Branch, branch
from methods.base import Pushforward

APART = 1e-4  # preimages nearer than that are one
FIRST = 3  # starts of the first round from draws of each sign of det J
LATER = 2  # starts of each further round, likewise
ROUNDS = 7
FAR = 1e4  # length of the noise by which a map is seen to grow
SLOWEST = 0.01  # growth that counts: standard deviations of z for each of the noise
DIRECTIONS = 2000  # in which it is looked at
HELD = 1000  # points whose distances to all draws are held at a time


class Atlas:
    """Draws of a map with their noise, to start from.

    Args:
        eps: noise, [n, D]; known: what the map makes of it.
    """

    def __init__(self, eps: Tensor, known: Branch) -> None:
        self.eps, self.known = eps, known
        self._sides = [(known.sign > 0).nonzero()[:, 0], (known.sign < 0).nonzero()[:, 0]]
        scale = known.points.std(0)
        correlation = (known.points / scale).T.cov().reshape(len(scale), len(scale))
        jitter = 1e-9 * torch.eye(len(scale), dtype=scale.dtype)
        self._factor = scale.unsqueeze(-1) * torch.linalg.cholesky(correlation + jitter)
        self._white = self.whiten(known.points)

    def starts(self, points: Tensor, count: int) -> Tensor:
        """Noise of draws that landed near each of m points, nearest first and the signs of det J in
        turn: [m, S, D].

        S is at most ``count`` from each side of the fold.
        """
        near = [
            self._nearest(points, rows, min(count, len(rows))) for rows in self._sides if len(rows)
        ]
        if len(near) == 1:
            return self.eps[near[0]]
        width = min(part.shape[1] for part in near)
        turns = torch.stack([part[:, :width] for part in near], 2).flatten(1)
        return self.eps[torch.cat([turns, *(part[:, width:] for part in near)], 1)]

    @property
    def sides(self) -> int:
        """How many signs det J takes: 2 for a map that folds."""
        return sum(len(rows) > 0 for rows in self._sides)

    @property
    def log_scale(self) -> Tensor:
        """Log determinant of what ``whiten`` undoes, nats."""
        log_det: Tensor = self._factor.diagonal().log().sum()
        return log_det

    def _nearest(self, points: Tensor, rows: Tensor, count: int) -> Tensor:
        white = self._white[rows]
        near = [
            torch.cdist(part, white).topk(count, largest=False).indices
            for part in torch.split(self.whiten(points), HELD)
        ]
        return rows[torch.cat(near)]

    def whiten(self, points: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(self._factor, points.T, upper=False)
        return white.T.contiguous()


@dataclass(frozen=True, eq=False)
class Preimages:
    """What a search has found; S is the largest number found for any point.

    Args:
        eps: [n, S, D], NaN where there is none.
        log_q: log N(eps) - log|det J|, [n, S], -inf where there is none.
        sign: of det J, [n, S], 0 where there is none.
    """

    eps: Tensor
    log_q: Tensor
    sign: Tensor

    @staticmethod
    def none(n: int, dim: int) -> Preimages:
        """Of n points, before the search."""
        empty = torch.empty(n, 0, dtype=torch.float64)
        return Preimages(torch.empty(n, 0, dim, dtype=torch.float64), empty, empty)

    @property
    def count(self) -> Tensor:
        """How many preimages of each point were found, [n]."""
        return (self.sign != 0).sum(-1)

    @property
    def log_density(self) -> Tensor:
        """Log of the density that they account for, [n]; -inf where none was found."""
        none = self.log_q.new_full((len(self.log_q), 1), -torch.inf)
        return torch.cat([none, self.log_q], 1).logsumexp(-1)

    @property
    def balanced(self) -> Tensor:
        """Whether the signs of det J add up to what they do for most points, [n].

        That sum, the degree of the map, is the same for all points of a proper map: where it
        differs, some are missing.
        """
        total = self.sign.sum(-1)
        return total == total.mode().values

    def column(self, rows: Tensor, eps: Tensor) -> Tensor:
        """Which column of k rows holds the noise eps, [k, D]; -1 where none does: [k]."""
        if self.eps.shape[1] == 0:
            return torch.full((len(rows),), -1)
        near = torch.linalg.vector_norm(self.eps[rows] - eps.unsqueeze(1), dim=-1) < APART
        return torch.where(near.any(-1), near.double().argmax(-1), -1)

    def add(self, approximation: Pushforward, rows: Tensor, eps: Tensor) -> Preimages:
        """With preimages eps, [k, D], of the points in k different rows, those left out that are
        there already.
        """
        new = self.column(rows, eps) < 0
        if not new.any():
            return self
        rows, eps = rows[new], eps[new]
        more, at = branch(approximation, eps), self.count[rows]
        room = self if int(at.max()) < self.eps.shape[1] else self._with_room()
        return Preimages(
            room.eps.index_put((rows, at), eps),
            room.log_q.index_put((rows, at), more.log_q),
            room.sign.index_put((rows, at), more.sign),
        )

    def _with_room(self) -> Preimages:
        n, _, dim = self.eps.shape
        one = self.log_q.new_zeros(n, 1)
        return Preimages(
            torch.cat([self.eps, one.new_full((n, 1, dim), torch.nan)], 1),
            torch.cat([self.log_q, one - torch.inf], 1),
            torch.cat([self.sign, one], 1),
        )


def search(
    approximation: Pushforward,
    points: Tensor,
    atlas: Atlas,
    first: int | None = None,
    rounds: int | None = None,
) -> Preimages:
    """Look for every preimage of each point, [n, D].

    What is found depends on the points and the atlas alone. Every point is given the starts of the
    first round. Further rounds go to points on folds until one brings nothing new, and to points
    whose signs do not balance until they do.

    Args:
        first: starts of the first round from draws of each sign, ``FIRST`` unless said otherwise.
        rounds: after it, at most, ``ROUNDS`` unless said otherwise.
    """
    first = FIRST if first is None else first
    rounds = ROUNDS if rounds is None else rounds
    found = Preimages.none(len(points), points.shape[1])
    starts = atlas.starts(points, first + rounds * LATER)
    rows, spent = torch.arange(len(points)), 0
    for index in range(1 + rounds):
        before, until = found.count, spent + atlas.sides * (LATER if index else first)
        for start in starts[rows, spent:until].unbind(1):
            eps, done = solve(approximation, points[rows], start)
            found = found.add(approximation, rows[done], eps[done])
        spent, several = until, found.count > 1
        news = (found.count > before) if index else several
        rows = ((news & several) | ~found.balanced).nonzero()[:, 0]
        if len(rows) == 0:
            break
    return found


def grows(approximation: Pushforward, atlas: Atlas) -> bool:
    """Whether f(eps) moves away as eps does, as seen far out in the directions of the draws: then f
    is proper.
    """
    far = FAR * torch.nn.functional.normalize(atlas.eps[:DIRECTIONS], dim=-1)
    reached = torch.linalg.vector_norm(atlas.whiten(approximation.forward(far).double()), dim=-1)
    return bool((reached > FAR * SLOWEST).all())
