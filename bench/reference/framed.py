"""A target in coordinates in which its posterior is round."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.fitting.target import CountedTarget
from methods.parts.sampling.hmc import Frame


@dataclass(frozen=True, eq=False)
class Framed:
    """A target in the coordinates of a frame: z = loc + root u. The constant log |det root| is
    left out.
    """

    target: CountedTarget
    frame: Frame

    @property
    def dim(self) -> int:
        return self.target.dim

    def restore(self, u: Tensor) -> Tensor:
        """Coordinates of the problem: u, [..., D] -> z, [..., D]."""
        return self.frame.loc + self.frame.move(u)

    def explain(self, u: Tensor) -> str:
        """Why the density is not finite at u, [D]."""
        return self.target.explain(self.restore(u))

    def log_density(self, u: Tensor) -> Tensor:
        """Log density at u, up to a constant, differentiable: [..., D] -> [...]."""
        return self.target.log_density(self.restore(u))

    def value_and_grad(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Log density at u and its gradient by u: [..., D] -> [...], [..., D]."""
        value, gradient = self.target.value_and_grad(self.restore(u))
        return value, self.frame.pull(gradient)

    def gradient(self, u: Tensor) -> Tensor:
        """The gradient by u alone: [..., D] -> [..., D]."""
        return self.frame.pull(self.target.gradient(self.restore(u)))
