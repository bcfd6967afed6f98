"""Draws from the truth itself, supplied by the harness: the noise floor of every other figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from methods.base import Approximation, Budget, Method, Target
from problems.base import Reference, Truth


@dataclass(frozen=True)
class TruthItself(Approximation):
    """The truth in the clothes of an approximation: draws, and no density, so that it is judged by
    its draws alone.
    """

    truth: Truth

    def sample(self, n: int, generator: Generator) -> Tensor:
        most = len(self.truth.draws) if isinstance(self.truth, Reference) else n
        return self.truth.sample(min(n, most), generator)


@dataclass(frozen=True)
class ExactDraws(Method):
    """Fresh independent draws of the truth. What a metric reads here is its noise floor at this
    number of draws.

    The only method that sees the truth: the harness hands it over by ``reveal``, and no other
    method has a way to ask.
    """

    name: ClassVar[str] = "exact"

    def reveal(self, truth: Truth) -> Iterator[Approximation]:
        """The one approximation that cannot be improved; of stored draws, the half that metrics do
        not compare with.
        """
        yield TruthItself(truth.half(1) if isinstance(truth, Reference) else truth)

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        raise TypeError(
            "The method 'exact' is run by the harness, which knows the truth; use `postbench run -m"
            " exact`."
        )
