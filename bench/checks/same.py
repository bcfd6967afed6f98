r"""Whether two problems are one posterior: log densities that differ by one constant, and gradients
that do not differ at all.

.. math:: \log p_A(z) - \log p_B(z) = c, \qquad \nabla \log p_A(z) = \nabla \log p_B(z)

at draws of the truth of either, where there is one, at points of N(0, I), and at points three times
as far out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bench.checks.finding import Check, Finding, InapplicableError, expect, findings
from bench.checks.trial import generator
from bench.fitting.target import CountedTarget
from problems.base import Problem
from problems.parts.stored import UncertifiedError

POINTS = 50  # of each kind
WIDE = 3.0
APART = 1e-9  # of the log density, relative, by which the difference may vary
SLOPES_APART = 1e-8  # of the gradient, relative


@dataclass(frozen=True, eq=False)
class Pair:
    """Two problems that may be one posterior.

    Args:
        a, b: the problems; names: what the command line calls them.
    """

    a: Problem
    b: Problem
    names: tuple[str, str]

    @cached_property
    def points(self) -> Tensor:
        """Where the two are compared, [n, D]."""
        dim = self.a.dim
        if dim != self.b.dim:
            raise InapplicableError("the two have not as many coordinates")
        random = torch.randn(2 * POINTS, dim, generator=generator(1), dtype=torch.float64)
        random[POINTS:] *= WIDE
        drawn = [found for problem in (self.a, self.b) if len(found := _drawn(problem))]
        centre = torch.cat(drawn).mean(0) if drawn else torch.zeros(dim, dtype=torch.float64)
        spread = torch.cat(drawn).std(0) if drawn else torch.ones(dim, dtype=torch.float64)
        return torch.cat([*drawn, random[:POINTS], centre + spread * random[POINTS:]])

    @cached_property
    def seen(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Log density [n] and gradient [n, D] of each, at the points."""
        targets = (CountedTarget(problem, compiled=False) for problem in (self.a, self.b))
        return tuple(target.value_and_grad(self.points) for target in targets)

    @cached_property
    def kept(self) -> Tensor:
        """The points at which both are finite, by number."""
        (a, _), (b, _) = self.seen
        return (a.isfinite() & b.isfinite()).nonzero().squeeze(-1)

    def where(self, row: int, slopes: Tensor) -> str:
        """The coordinate by which the two part at a point, and their slopes there, in words.

        Args:
            row: of the points; slopes: the relative distance of the gradients there, [D].
        """
        j = int(slopes.argmax())
        labels = [problem.coordinates[j] for problem in (self.a, self.b)]
        named = labels[0] if labels[0] == labels[1] else " / ".join(labels)
        here = float(self.points[row, j])
        a, b = (float(gradient[row, j]) for _, gradient in self.seen)
        return f"by {named}, at {here:.6g}, where the slopes are {a:.6g} and {b:.6g}"


def check_same(a: Problem, b: Problem, names: tuple[str, str]) -> Iterator[Finding]:
    """Hold two problems against each other, one finding after the other."""
    return findings(Pair(a, b, names), CHECKS)


def _drawn(problem: Problem) -> Tensor:
    """A few draws of the truth, [n, D]; none where there is no truth yet."""
    try:
        return problem.truth.sample(POINTS, generator(1))
    except UncertifiedError:
        return torch.empty(0, problem.dim, dtype=torch.float64)


def _dimension(pair: Pair) -> None:
    seen = (pair.a.dim, pair.b.dim)
    expect(seen[0] == seen[1], f"they have {seen[0]} and {seen[1]} coordinates; expected as many")


def _support(pair: Pair) -> None:
    (a, _), (b, _) = pair.seen
    lost = (a.isfinite() != b.isfinite()).nonzero().squeeze(-1)
    first = _worded(pair.points[lost[0]], pair.a.coordinates) if len(lost) else ""
    expect(
        not len(lost),
        f"at {len(lost)} of {len(a)} points one is finite and the other is not, such as {first}",
    )
    expect(len(pair.kept) > 1, f"both are finite at {len(pair.kept)} of {len(a)} points")


def _gradient(pair: Pair) -> None:
    slopes = _slopes(pair)
    row = int(slopes.amax(-1).argmax())
    expect(
        float(slopes.max()) <= SLOPES_APART,
        f"they part most {pair.where(int(pair.kept[row]), slopes[row])}",
    )


def _constant(pair: Pair) -> None:
    (a, _), (b, _) = pair.seen
    a, b = a[pair.kept], b[pair.kept]
    difference = a - b
    constant = difference[: max(1, len(_drawn(pair.a)))].median()
    away = (difference - constant).abs() / (1 + torch.maximum(a.abs(), b.abs()))
    row = int(away.argmax())
    expect(
        float(away[row]) <= APART,
        f"log p of {pair.names[0]} less that of {pair.names[1]} is {float(constant):.10g} nats at"
        f" most points and {float(difference[row]):.10g} at one; there they part"
        f" {pair.where(int(pair.kept[row]), _slopes(pair)[row])}",
    )


def _slopes(pair: Pair) -> Tensor:
    """How far the gradients are apart, relative to their size: [kept, D]."""
    (_, a), (_, b) = pair.seen
    a, b = a[pair.kept], b[pair.kept]
    size = 1 + torch.maximum(a.abs(), b.abs()).amax(-1, keepdim=True)
    return ((a - b).abs() / size).nan_to_num(nan=torch.inf)


def _worded(z: Tensor, labels: Sequence[str]) -> str:
    shown = [f"{label} = {value:.4g}" for label, value in zip(labels, z.tolist(), strict=True)]
    return ", ".join(shown[:6]) + (", ..." if len(shown) > 6 else "")


def constant_of(a: Problem, b: Problem) -> float:
    """log p_A - log p_B at the first point where both are finite, nats."""
    pair = Pair(a, b, ("", ""))
    (first, _), (second, _) = pair.seen
    return float((first - second)[pair.kept[0]])


CHECKS: tuple[Check[Pair], ...] = (
    Check("dimension", "one posterior has one number of coordinates", _dimension),
    Check("support", "what has no density under one has none under the other", _support),
    Check("gradient", "methods see the density through its gradient", _gradient),
    Check("constant", "log densities of one posterior differ by one constant", _constant),
)
