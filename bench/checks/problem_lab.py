"""A problem on the bench of its checks: its truth, draws of it, and points where there are none."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from bench.checks.finding import InapplicableError, expect, once
from bench.checks.settings import snapshot
from bench.checks.trial import generator
from problems.base import Problem, Reference, Truth
from problems.parts.stored import MissingReferenceError

SAMPLE = 30_000  # draws of the truth, and
NUMBERS = 1_000_000  # the coordinates in them, at most
POINTS = 16
ANYWHERE = 1000  # points of N(0, I) that stand in for draws of the truth while there are none


class ProblemLab:
    """A problem, its truth, and draws of it that the checks share.

    Args:
        problem: what is checked.
        name: as the command line takes it, for what to do next where it has no reference yet.
    """

    def __init__(self, problem: Problem, name: str) -> None:
        self.problem, self.name = problem, name
        self.fields = snapshot(problem)

    @once
    def dimension(self) -> int:
        """D, once it is known to be a number of coordinates."""
        dim = self.problem.dim
        expect(
            isinstance(dim, int) and dim >= 1, f"dim is {dim!r}; expected a whole number, 1 or more"
        )
        return dim

    @once
    def truth(self) -> Truth:
        """The problem's truth, asked for once.

        Raises:
            InapplicableError: if it waits for a reference that has not been built.
        """
        if self.waits:
            raise InapplicableError(
                f"there is no reference yet; next: `postbench reference build {self.name}`"
            )
        return self.problem.truth

    @cached_property
    def waits(self) -> bool:
        """Whether the truth waits for a reference that has not been built."""
        try:
            _ = self.problem.truth
        except MissingReferenceError:
            return True
        except Exception:  # told by the check that asks for the truth
            return False
        return False

    @once
    def draws(self) -> Tensor:
        """Draws of the truth that all checks share, [n, D], float64."""
        most = min(SAMPLE, NUMBERS // self.dimension)
        stored = len(self.truth.draws) if isinstance(self.truth, Reference) else most
        with torch.no_grad():
            draws = self.truth.sample(min(most, stored), generator(1))
        expect(
            draws.shape[1:] == (self.dimension,) and draws.dtype == torch.float64,
            f"truth.sample gave {draws.dtype} of the shape {list(draws.shape)}; expected"
            f" torch.float64, [n, {self.dimension}]",
        )
        return draws

    @property
    def points(self) -> Tensor:
        """A few draws of the truth, or of N(0, I) while there is none, [16, D]."""
        return self.somewhere[:POINTS]

    @property
    def spread(self) -> Tensor:
        """Standard deviation of the truth, or 1 while there is none, [D]."""
        return torch.ones(self.dimension, dtype=torch.float64) if self.waits else self.draws.std(0)

    @property
    def somewhere(self) -> Tensor:
        """Draws of the truth; while there is none, points of N(0, I) with a density, [n, D].

        Raises:
            UnmetError: if none of them has one.
        """
        if not self.waits:
            return self.draws
        z = self.anywhere(ANYWHERE)
        found = z[self.log_density(z).isfinite()]
        expect(
            len(found) >= 2 * POINTS,
            f"the log density is finite at {len(found)} of {ANYWHERE} points of N(0, I); expected"
            f" {2 * POINTS} or more, for methods start there",
        )
        return found

    def anywhere(self, n: int = 6) -> Tensor:
        """Points that know nothing of the truth, [n, D]."""
        return torch.randn(n, self.dimension, generator=generator(2), dtype=torch.float64)

    def log_density(self, z: Tensor) -> Tensor:
        """Of the problem, without its gradient."""
        with torch.no_grad():
            return self.problem.log_density(z)
