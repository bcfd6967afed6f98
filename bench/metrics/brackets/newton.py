r"""Newton's method for many systems at once: from a point and a guess to the noise that a sampler
network made it from.

.. math:: \epsilon \leftarrow \epsilon - \alpha J^{-1} (f(\epsilon) - z), \quad J = J_f(\epsilon)

A step is taken where the next one, by the same J, would be shorter: the natural monotonicity test,
which does not depend on the units of z. Else alpha is halved. Source: Deuflhard, "Newton Methods
for Nonlinear Problems" (2004), section 3.3, doi 10.1007/978-3-642-23899-4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.base import Pushforward

ROWS = 500  # systems held at a time, for the sake of the [rows, D, D] inverses
MOST_EVALUATIONS = 60  # evaluations of the map per system
# correction at which one last full step ends the search: convergence is quadratic there
CLOSE = 1e-6
LONGEST = 2.0  # step, in standard deviations of the noise
SHORTEST = 1e-3  # alpha at which a start is given up


def solve(
    approximation: Pushforward,
    points: Tensor,
    start: Tensor,
    rows: int = ROWS,
    evaluations: int = MOST_EVALUATIONS,
) -> tuple[Tensor, Tensor]:
    """A preimage of each point, where the start leads to one: a function of the row's point and
    start alone.

    Args:
        approximation: a square map, R^D -> R^D.
        points: z, [n, D]; start: where to begin, [n, D].
        rows: systems held at a time; evaluations: of the map per system, at most.

    Returns:
        Noise eps with f(eps) = z, [n, D], and whether it was found, [n].
    """
    found = [
        _System(approximation, z, u).solve(evaluations)
        for z, u in zip(torch.split(points, rows), torch.split(start, rows), strict=True)
    ]
    return torch.cat([eps for eps, _ in found]), torch.cat([done for _, done in found])


@dataclass(eq=False)
class _System:
    """The rows of one block, some of them done and some given up."""

    approximation: Pushforward
    points: Tensor
    eps: Tensor

    def __post_init__(self) -> None:
        n, dim = self.points.shape
        self.eps = self.eps.clone()
        self.residual = self.approximation.forward(self.eps).double() - self.points
        self.inverse = self.points.new_zeros(n, dim, dim)
        self.step = torch.zeros_like(self.eps)
        self.length = self.points.new_full((n,), torch.inf)
        self.alpha = self.points.new_ones(n)
        self.moved = torch.ones(n, dtype=torch.bool)
        self.done = torch.zeros(n, dtype=torch.bool)
        self.over = ~self.residual.isfinite().all(-1)

    def solve(self, evaluations: int) -> tuple[Tensor, Tensor]:
        for _ in range(evaluations):
            self._aim()
            rows = (~self.over).nonzero()[:, 0]
            if len(rows) == 0:
                break
            self._try(rows)
        return self.eps, self.done

    def _aim(self) -> None:
        """A new step for the rows that have moved."""
        rows = (self.moved & ~self.over).nonzero()[:, 0]
        if len(rows) == 0:
            return
        inverse, singular = torch.linalg.inv_ex(
            self.approximation.jacobian(self.eps[rows]).double()
        )
        lost = (singular != 0) | ~inverse.isfinite().flatten(1).all(-1)
        inverse[lost] = 0.0
        step = -torch.einsum("nij,nj->ni", inverse, self.residual[rows])
        length = torch.linalg.vector_norm(step, dim=-1)
        reach = (LONGEST / length).clamp(max=1.0)
        self.inverse[rows], self.step[rows], self.length[rows] = inverse, step, length
        self.alpha[rows] = torch.minimum(2 * self.alpha[rows], reach)
        self.moved[rows], self.over[rows] = False, lost

    def _try(self, rows: Tensor) -> None:
        """Take the steps that lead nearer; shorten the others."""
        alpha, length = self.alpha[rows], self.length[rows]
        eps = self.eps[rows] + alpha.unsqueeze(-1) * self.step[rows]
        residual = self.approximation.forward(eps).double() - self.points[rows]
        ahead = torch.einsum("nij,nj->ni", self.inverse[rows], residual)
        left = torch.linalg.vector_norm(ahead, dim=-1)
        nearer = left <= (1 - alpha / 2) * length + 1e-13  # False where the map is not finite
        taken, refused = rows[nearer], rows[~nearer]
        self.eps[taken], self.residual[taken], self.moved[taken] = (
            eps[nearer],
            residual[nearer],
            True,
        )
        last = left < CLOSE
        ended = rows[nearer & last]
        self.eps[ended] -= ahead[nearer & last]
        self.done[ended] = self.over[ended] = True
        self.alpha[refused] /= 2
        self.over[refused[self.alpha[refused] < SHORTEST]] = True
