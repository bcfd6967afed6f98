"""A pair of an approximation and a truth whose figures are known, and how the approximation shows
itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from methods.base import Approximation
from problems.base import Problem

Form = Literal["density", "map", "draws", "chain"]  # how much of itself an approximation shows


@dataclass(frozen=True, eq=False)
class Case:
    """A pair whose figures are known.

    Args:
        name: for tables; the same at every dimension.
        problem: the truth, p.
        forms: the approximation, q, in its density, as a map, as draws alone, or as chains.
        truths: what is known, by quantity: ``KL(q||p)`` and ``KL(p||q)``, in nats, and those that
            the other metrics measure.
        same: whether q = p, so that the truth of every metric is its ideal value.
    """

    name: str
    problem: Problem
    forms: Mapping[Form, Approximation]
    truths: Mapping[str, float]
    same: bool = False

    def truth(self, quantity: str) -> float | None:
        """The figure to be found, or None where it is not known."""
        return self.truths.get(quantity, 0.0 if self.same else None)
