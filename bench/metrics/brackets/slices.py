r"""A map of much noise into the plane, cut into slices that are maps of a plane; and all preimages
of points under every slice, from a mesh laid over its noise.

Over every triangle of the mesh a slice is nearly linear, which tells in which triangles a point has
its preimages, and Newton's method goes on from there. Where neighbouring triangles lie on different
sides of a fold, the search starts from their corners too: both preimages near a fold may lie in one
triangle. What is found depends on the slice and the points alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bench.metrics.brackets.newton import solve
from bench.metrics.brackets.preimages import APART
from methods.base import Pushforward

NODES = 41  # of the mesh, along each axis
REACH = 5.0  # standard deviations of the noise that the mesh covers on each side
SLACK = 0.02  # by which triangles are widened, in barycentric coordinates
DEPARTURE = 0.25  # of a smooth map from its triangles, per second difference: twice what it may be
ABOUT = 1.0  # mesh widths within which preimages of both signs say that a fold has been seen to
TOGETHER = 20  # slices whose systems are solved at a time
ROWS, EVALUATIONS = 10_000, 25  # systems held at a time; evaluations for each, begun so near


@dataclass(frozen=True, eq=False)
class Slice(Pushforward):
    """b -> f(U b + a): a map f of K noise coordinates, all but a plane of them held.

    Args:
        inner: f, from R^K to the plane.
        plane: U, [K, 2], orthonormal.
        held: a, [K], orthogonal to the plane; or [n, K], one for each row.
    """

    inner: Pushforward
    plane: Tensor
    held: Tensor
    noise_dim: int = 2

    def forward(self, eps: Tensor) -> Tensor:
        return self.inner.forward(self.held + eps @ self.plane.T).double()

    def jacobian(self, eps: Tensor) -> Tensor:
        return self.inner.jacobian(self.held + eps @ self.plane.T).double() @ self.plane


@dataclass(frozen=True, eq=False)
class _Stack(Pushforward):
    """(b, k) -> (f(U b + a_k), k): slices side by side, k their number, for systems to be solved
    together.
    """

    slices: Slice
    noise_dim: int = 3

    def forward(self, eps: Tensor) -> Tensor:
        return torch.cat([self.at(eps[:, 2]).forward(eps[:, :2]), eps[:, 2:]], 1)

    def jacobian(self, eps: Tensor) -> Tensor:
        inner = self.at(eps[:, 2]).jacobian(eps[:, :2])
        whole = torch.nn.functional.pad(inner, (0, 1, 0, 1))
        whole[:, 2, 2] = 1.0
        return whole

    def at(self, k: Tensor) -> Slice:
        """Row by row the slice of that number, [n]."""
        return Slice(self.slices.inner, self.slices.plane, self.slices.held[k.long()])


class Found(NamedTuple):
    """Preimages of points under slices, in no order.

    Args:
        points: which point each is of, [k]; slices: under which slice, [k].
        eps: the noise in the plane, [k, 2].
        log_q: log N(eps) - log|det J|, nats, [k]; sign: of det J, [k].
    """

    points: Tensor
    slices: Tensor
    eps: Tensor
    log_q: Tensor
    sign: Tensor


def search(slices: Slice, points: Tensor, own: Tensor) -> Found:
    """Look for every preimage of points under every slice.

    Args:
        slices: m of them, ``held`` being [m, K].
        points: [n, 2]; own: one more for each slice, [m, 2], whose number is n.
    """
    sought = _Sought(slices, points, own, Mesh(NODES))
    found = [sought.under(part) for part in torch.split(torch.arange(len(own)), TOGETHER)]
    return Found(*(torch.cat(parts) for parts in zip(*found, strict=True)))


@dataclass(frozen=True, eq=False)
class _Sought:
    """Points, and the slices under which their preimages are looked for."""

    slices: Slice
    points: Tensor
    own: Tensor
    mesh: Mesh

    def under(self, numbers: Tensor) -> Found:
        """The preimages of all points under the slices of these numbers, [m]."""
        inside: list[tuple[Tensor, ...]] = []
        folds: list[tuple[Tensor, ...]] = []
        for k in numbers.tolist():
            one = Slice(self.slices.inner, self.slices.plane, self.slices.held[k])
            values, points = one.forward(self.mesh.nodes), torch.cat([self.points, self.own[[k]]])
            for starts, (rows, eps) in (
                (inside, self.mesh.inside(values, points)),
                (folds, self.mesh.folds(values, points)),
            ):
                starts.append((rows, torch.full_like(rows, k), eps))
        first = self._solved(*map(torch.cat, zip(*inside, strict=True)))
        rows, of, eps = map(torch.cat, zip(*folds, strict=True))
        alone = _alone(first, self._row(rows, of), eps, self._row, ABOUT * self.mesh.width)
        more = self._solved(rows[alone], of[alone], eps[alone])
        both = [torch.cat(pair) for pair in zip(first, more, strict=True)]
        new = _first(self._row(both[0], both[1]), both[2])
        return Found(*(one[new] for one in both))

    def _row(self, points: Tensor, slices: Tensor) -> Tensor:
        """A number for each pair of a point and a slice."""
        return slices * (len(self.points) + 1) + points

    def _solved(self, rows: Tensor, of: Tensor, starts: Tensor) -> Found:
        """Where Newton's method ends from each start, if it does."""
        number, mine = of.double().unsqueeze(1), rows == len(self.points)
        points = self.own[of].clone()
        points[~mine] = self.points[rows[~mine]]
        stack = _Stack(self.slices)
        ended, done = solve(
            stack, torch.cat([points, number], 1), torch.cat([starts, number], 1), ROWS, EVALUATIONS
        )
        rows, of, eps = rows[done], of[done], ended[done, :2]
        new = _first(self._row(rows, of), eps)
        rows, of, eps = rows[new], of[new], eps[new]
        sign, log_det = torch.linalg.slogdet(stack.at(of).jacobian(eps))
        log_q = -0.5 * eps.square().sum(1) - math.log(2 * math.pi) - log_det
        return Found(rows, of, eps, log_q, sign)


class Mesh:
    """Triangles over the plane of the noise.

    Args:
        nodes: along each axis.
    """

    def __init__(self, nodes: int) -> None:
        axis = torch.linspace(-REACH, REACH, nodes, dtype=torch.float64)
        self.nodes, self.side = torch.cartesian_prod(axis, axis), nodes
        self.width = 2 * REACH / (nodes - 1)
        index = torch.arange(nodes * nodes).reshape(nodes, nodes)
        low, high = index[:-1, :-1], index[1:, 1:]
        right, left = index[1:, :-1], index[:-1, 1:]
        halves = (low, right, left), (high, left, right)  # both turn the same way
        self.corners = torch.cat([torch.stack(half, -1).reshape(-1, 3) for half in halves])

    def inside(self, values: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """In which triangles points, [n, 2], lie, by the values of a map at the nodes: whose
        numbers, [k], and where they would be if the map were linear there, [k, 2].
        """
        corners = values[self.corners]
        edges = corners[:, 1:] - corners[:, :1]  # [T, 2, 2], as rows
        area = _area(edges)
        across = torch.stack([edges[:, 1, 1], -edges[:, 1, 0]], 0) / area  # [2, T]
        along = torch.stack([-edges[:, 0, 1], edges[:, 0, 0]], 0) / area
        first = points @ across - (corners[:, 0].T * across).sum(0)
        second = points @ along - (corners[:, 0].T * along).sum(0)
        inside = (torch.minimum(first, second) >= -SLACK) & (first + second <= 1 + SLACK)
        rows, triangles = inside.nonzero(as_tuple=True)
        at = torch.stack([first[rows, triangles], second[rows, triangles]], -1).unsqueeze(-1)
        ends = self.nodes[self.corners[triangles]]
        return rows, ends[:, 0] + (at * (ends[:, 1:] - ends[:, :1])).sum(1)

    def folds(self, values: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Near which corners of triangles about a fold points may have preimages: whose numbers,
        [k], and the corners, [k, 2].
        """
        corners = self._folded(values)
        bend = DEPARTURE * self._bend(values)[corners].amax(1)
        low, high = values[corners].amin(1) - bend, values[corners].amax(1) + bend
        each = points.unsqueeze(1)
        rows, triangles = ((each >= low) & (each <= high)).all(-1).nonzero(as_tuple=True)
        near = torch.zeros(len(points), len(self.nodes), dtype=torch.bool)
        near[rows.unsqueeze(1), corners[triangles]] = True
        rows, nodes = near.nonzero(as_tuple=True)
        return rows, self.nodes[nodes]

    def _folded(self, values: Tensor) -> Tensor:
        """Triangles that share a node with one that is turned over, by their nodes: [T', 3]."""
        corners = values[self.corners]
        areas = _area(corners[:, 1:] - corners[:, :1])
        turned = torch.zeros(2, len(self.nodes), dtype=torch.bool)
        for side, chosen in enumerate((areas > 0, areas <= 0)):
            turned[side, self.corners[chosen].flatten()] = True
        return self.corners[turned.all(0)[self.corners].any(1)]

    def _bend(self, values: Tensor) -> Tensor:
        """Second differences of a map along both axes, added up: [nodes, 2]."""
        grid = values.reshape(self.side, self.side, 2)
        bend, size = torch.zeros_like(grid), self.side - 2
        for axis in (0, 1):
            ends = grid.narrow(axis, 0, size) + grid.narrow(axis, 2, size)
            bend.narrow(axis, 1, size).add_((ends - 2 * grid.narrow(axis, 1, size)).abs())
        return bend.reshape(-1, 2)


def _area(edges: Tensor) -> Tensor:
    """Twice the areas of triangles, with their signs, by two edges: [T, 2, 2] -> [T]."""
    return edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]


def _table(rows: Tensor, values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Values, [k, d], in a table with NaN where there is none, [count, width, d], and the column of
    each, [k].
    """
    order, sizes = rows.argsort(stable=True), torch.bincount(rows, minlength=count)
    column = torch.empty_like(rows)
    column[order] = torch.arange(len(rows)) - (sizes.cumsum(0) - sizes)[rows[order]]
    table = values.new_full((count, int(sizes.max()), values.shape[1]), math.nan)
    table[rows, column] = values
    return table, column


def _first(rows: Tensor, eps: Tensor) -> Tensor:
    """Which noise, [k, 2], is not the same, of the same row, as some before it: [k]."""
    if not len(rows):
        return torch.zeros(0, dtype=torch.bool)
    rows = rows - rows.min()
    table, column = _table(rows, eps, int(rows.max()) + 1)
    apart = torch.linalg.vector_norm(table.unsqueeze(2) - table.unsqueeze(1), dim=-1)
    repeated = torch.tril(apart < APART, -1).any(-1)
    return ~repeated[rows, column]


def _alone(
    found: Found, rows: Tensor, corners: Tensor, row: Callable[..., Tensor], about: float
) -> Tensor:
    """Near which corners, [k, 2], of their rows no preimages of both signs were found: [k]."""
    if not len(rows) or not len(found.points):
        return torch.ones(len(rows), dtype=torch.bool)
    each = row(found.points, found.slices)
    count = int(torch.maximum(each.max(), rows.max())) + 1
    table, _ = _table(each, torch.cat([found.eps, found.sign.unsqueeze(1)], 1), count)
    mine = table[rows]
    near = torch.linalg.vector_norm(mine[..., :2] - corners.unsqueeze(1), dim=-1) < about
    seen: Tensor = (near & (mine[..., 2] > 0)).any(1) & (near & (mine[..., 2] < 0)).any(1)
    return ~seen
