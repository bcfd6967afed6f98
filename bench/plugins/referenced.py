"""A problem judged by its stored reference instead of its exact truth, as the papers had to judge
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from problems.base import GaussianPrior, Modes, Problem, Reference, StanProgram
from problems.parts.stored import reference


@dataclass(frozen=True)
class Referenced(Problem):
    """The same density, names and modes; another truth.

    Args:
        problem: the problem itself.
    """

    problem: Problem

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.problem.name)

    @property
    def dim(self) -> int:
        return self.problem.dim

    @property
    def truth(self) -> Reference:
        return reference(self.problem)

    @property
    def modes(self) -> Modes | None:
        return self.problem.modes

    @property
    def gaussian_prior(self) -> GaussianPrior | None:
        return self.problem.gaussian_prior

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.problem.coordinates

    @property
    def batched(self) -> bool:
        return self.problem.batched

    @property
    def stan_program(self) -> StanProgram | None:
        return self.problem.stan_program

    def explain(self, z: Tensor) -> str:
        return self.problem.explain(z)

    def log_density(self, z: Tensor) -> Tensor:
        return self.problem.log_density(z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return self.problem.constrain(z)

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return self.problem.unconstrain(values)


def referenced(problem: Problem) -> Problem:
    """The problem with its stored reference as the truth.

    Raises:
        UncertifiedError: if there is none that may be used.
    """
    wrapped = Referenced(problem)
    _ = wrapped.truth  # better now than in the middle of a run
    return wrapped


def key(problem: Problem) -> str:
    """What identifies the stored reference of a problem, for the content hash of a cell that is
    judged by it.

    Raises:
        UncertifiedError: if there is none that may be used.
    """
    return str(reference(problem).certificate["seal"])
