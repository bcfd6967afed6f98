r"""What semi-implicit methods share: a network of noise that places a Gaussian, and the descent of
its weights.

.. math:: q(z) = \int N\big(z; m(\psi), \mathrm{diag}\, s^2\big)\, N(\psi; 0, I)\, d\psi

A method of this kind says, for a batch of draws, in which direction their means and the logarithms
of their standard deviations should move; the rest is here.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from methods.base import Budget, Method, SemiImplicit, Target
from methods.parts.networks.sampler import Sampler
from methods.parts.optimisation.descent import Descent, length
from methods.parts.optimisation.tempered import Tempered
from methods.parts.record import Recorded
from methods.parts.validate import require, trained

NARROW = 0.7  # standard deviation of the Gaussians at the start, as a share of the whole's
REMEDY = "try a smaller lr, or a scale nearer to the posterior's"


@dataclass(frozen=True)
class Conditional:
    """q(z | psi), over one flat vector of weights: those of the network of means, then log s.

    Args:
        mixing_dim: K, length of psi; dim: D, length of z; hidden: widths of the network's layers.
    """

    mixing_dim: int
    dim: int
    hidden: tuple[int, ...]

    @property
    def means(self) -> Sampler:
        """The network of the means."""
        return Sampler(self.mixing_dim, self.dim, self.hidden, skip=False)

    def init(self, generator: Generator, scale: float) -> Tensor:
        """Weights, float32, with which z has standard deviations near ``scale``."""
        narrow = torch.full((self.dim,), math.log(NARROW * scale))
        return torch.cat([self.means.init(generator, scale), narrow])

    def __call__(self, weights: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log s, the same for all: [n, K] -> [n, D], [D]."""
        return self.means(weights[: -self.dim], psi), weights[-self.dim :]

    def pull(self, weights: Tensor, psi: Tensor, by_loc: Tensor, by_log_scale: Tensor) -> Tensor:
        """Directions of the means, [n, D], and of log s, [D], pulled back to [weights]."""
        inner = weights[: -self.dim]
        _, hidden = self.means.forward(inner, psi)
        return torch.cat([self.means.gradient(inner, psi, hidden, by_loc), by_log_scale])


class Mixture(SemiImplicit):
    """A semi-implicit approximation at rest, in float64.

    Args:
        conditional: the architecture; weights: [weights], copied.
    """

    def __init__(self, architecture: Conditional, weights: Tensor) -> None:
        self.architecture = architecture
        self.weights = weights.detach().to(torch.float64, copy=True)
        self.mixing_dim = architecture.mixing_dim
        self.noise_dim = architecture.mixing_dim + architecture.dim

    def conditional(self, psi: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = self.architecture(self.weights, psi)
        return loc, log_scale.exp().expand_as(loc)


class Batch(NamedTuple):
    """Draws by way of their noise, all float64: z = loc + exp(log_scale) * eta.

    ``psi`` and ``loc`` may have more rows than ``z``: those of ``SemiImplicitVI.others``.
    """

    psi: Tensor
    loc: Tensor
    log_scale: Tensor
    eta: Tensor
    z: Tensor


@dataclass(frozen=True)
class SemiImplicitVI(Method):
    """A semi-implicit method; its subclasses say what they descend on."""

    iterations: int = 5000
    batch: int = 128
    noise_dim: int | None = None
    hidden: tuple[int, ...] = (50, 50)
    lr: float = 2e-3
    final_lr: float = 0.01
    clip: float = 100.0
    scale: float = 1.0
    anneal: float = 0.5
    average: float = 0.998
    every: int = 25

    def __post_init__(self) -> None:
        fits = self.noise_dim is None or self.noise_dim >= 1
        require(self, "noise_dim", fits, "be at least 1, or None")
        require(self, "batch", self.batch >= 2, "be at least 2")
        trained(self)

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Mixture]:
        fit = Fit(self, target, generator)
        planned = length(self.iterations, self.batch * self.gradients_a_draw, budget.gradients)
        for i in range(planned):
            fit.step(i / planned)
            if i == 0 or (i + 1) % self.every == 0 or i + 1 == planned:
                yield Mixture(fit.conditional, fit.descent.average)

    @property
    def others(self) -> int:
        """Noises psi of a step beside those behind its draws."""
        return 0

    @property
    def gradients_a_draw(self) -> int:
        """Gradient evaluations that a draw of a step takes."""
        return 1

    @abstractmethod
    def directions(self, fit: Fit, batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        """Slope of the loss by the means, [rows of psi, D], and by log s, [D], at a share of the
        run.
        """


class Fit:
    """One fit on its way: the weights, the target as it is tempered, and what a method records."""

    def __init__(self, method: SemiImplicitVI, target: Target, generator: Generator) -> None:
        name = type(method).__name__
        mixing = method.noise_dim or max(target.dim, 10)
        self.method, self.generator = method, generator
        self.conditional = Conditional(mixing, target.dim, method.hidden)
        self.target = Tempered(target, method.anneal, method.scale, name, REMEDY)
        self.weights = self.conditional.init(generator, method.scale)
        self.descent = Descent(method, self.weights, REMEDY)
        self.kept: dict[str, Any] = {}  # what a method makes at its first step and uses again
        self._pull = Recorded(self.conditional.pull)

    def step(self, progress: float) -> None:
        """One step of the optimiser."""
        batch = self.draw()
        by_loc, by_log_scale = self.method.directions(self, batch, progress)
        weights = self.weights.detach()
        gradient = self._pull(weights, batch.psi.float(), by_loc.float(), by_log_scale.float())
        self.descent.step(gradient, progress)

    def draw(self) -> Batch:
        """A batch of the approximation as it stands."""
        n, method, dim = self.method.batch, self.method, self.conditional.dim
        psi = self.normal(n + method.others, self.conditional.mixing_dim)
        with torch.no_grad():
            loc, log_scale = self.conditional(self.weights, psi.float())
        loc, log_scale, eta = loc.double(), log_scale.double(), self.normal(n, dim)
        return Batch(psi, loc, log_scale, eta, loc[:n] + log_scale.exp() * eta)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers of a shape, drawn from the fit's generator, float64."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def uniform(self, n: int) -> Tensor:
        """Numbers of (0, 1), [n], float64."""
        return torch.rand(n, generator=self.generator, dtype=torch.float64)
