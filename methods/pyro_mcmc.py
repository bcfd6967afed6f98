r"""Pyro's HMC and NUTS on the target's recorded gradient: the samplers that torch users have, as
fast as they go.

Pyro's kernels are driven one draw at a time, the chains in turn, so that all chains can be looked
at, and stopped, after each. They run on a plain potential function, -log p, whose gradient comes
from ``Target.value_and_grad``: two to three times faster than on a Pyro model.

Source: M. D. Hoffman, A. Gelman, The No-U-Turn sampler, 2014, arXiv:1111.4246; M. Betancourt, A
conceptual introduction to Hamiltonian Monte Carlo, 2017, arXiv:1701.02434; R. M. Neal, MCMC using
Hamiltonian dynamics, 2011, arXiv:1206.1901.
"""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pyro
import torch
from pyro.infer.mcmc import HMC, NUTS
from torch import Generator, Tensor

from methods.base import Budget, Draws, Method, Target
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.finite import sound, whereabouts
from methods.parts.validate import require

TRIES = 100  # starting points drawn per chain before giving up


@dataclass(frozen=True)
class _PyroSampler(Method):
    """What the two share: the chains, their starts and the loop over draws."""

    chains: int = 4
    warmup: int = 500
    draws: int = 1000
    target_accept: float = 0.8
    dense_mass: bool = False
    radius: float = 2.0

    def __post_init__(self) -> None:
        require(self, "chains", self.chains >= 1, "be at least 1")
        require(self, "warmup", self.warmup >= 0, "be 0 or more")
        require(self, "draws", self.draws >= 1, "be at least 1")
        require(self, "target_accept", 0 < self.target_accept < 1, "lie in (0, 1)")
        require(self, "radius", 0 < self.radius < math.inf, "be positive and finite")

    @property
    @abstractmethod
    def _longest(self) -> int:
        """Leapfrog steps at which a trajectory is cut short."""

    @abstractmethod
    def _kernel(self, potential: _Potential) -> Any:
        """Pyro's kernel of that class, with the energy of each transition recorded."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws]:
        """Yield after every draw: the later half of each chain while that reaches into the warm-up,
        then all draws after it.
        """
        chains = [self._chain(target, generator) for _ in range(self.chains)]
        total = self.warmup + self.draws
        history = torch.empty(self.chains, total, target.dim, dtype=torch.float64)
        energies, steps = torch.empty(2, self.chains, total, dtype=torch.float64)
        for end in range(1, total + 1):
            for i, chain in enumerate(chains):
                history[i, end - 1], energies[i, end - 1], steps[i, end - 1] = chain.advance()
            kept = slice(self.warmup if end == total else min(end // 2, self.warmup), end)
            figures = self._figures([chain.kernel for chain in chains], steps[:, kept])
            # Views, not copies: what they show is not written again.
            yield Draws(
                history[:, kept], ChainDiagnostics(history[:, kept], energies[:, kept], figures)
            )

    def _chain(self, target: Target, generator: Generator) -> _Chain:
        start = self._start(target, generator)
        seed = int(torch.randint(2**31, (), generator=generator))
        potential = _Potential(target)
        return _Chain(self._kernel(potential), potential, start, self.warmup, seed)

    def _start(self, target: Target, generator: Generator) -> Tensor:
        tried = []
        for _ in range(TRIES):
            z = self.radius * (
                2 * torch.rand(target.dim, generator=generator, dtype=torch.float64) - 1
            )
            tried.append((z, *target.value_and_grad(z)))
            if sound(*tried[-1][1:]):
                return z
        points, value, gradient = map(torch.stack, zip(*tried, strict=True))
        raise ValueError(
            f"{type(self).__name__}(radius={self.radius!r}): the density is finite at none of"
            f" {TRIES} starting points uniform on (-{self.radius:g}, {self.radius:g}) in each"
            f" coordinate. It is not {whereabouts(target, points, value, gradient)}. Change radius"
            " if it is finite elsewhere."
        )

    def _figures(self, kernels: list[Any], steps: Tensor) -> dict[str, float]:
        return {
            "divergences": float(
                sum(len(kernel._divergences) for kernel in kernels)
            ),  # Pyro counts them after the warm-up
            "accept_rate": sum(kernel._mean_accept_prob for kernel in kernels) / len(kernels),
            "step_size": sum(kernel.step_size for kernel in kernels) / len(kernels),
            "steps_per_draw": float(steps.mean()),
            "cut_short": float((steps >= self._longest).sum()),
        }


@dataclass(frozen=True)
class PyroNUTS(_PyroSampler):
    """The No-U-Turn sampler with multinomial trajectories, step size and mass matrix adapted as in
    Stan.

    Args:
        chains: run in turn in one process, each with random numbers of its own.
        warmup: draws per chain that adapt the sampler and are then dropped.
        draws: per chain, after the warm-up.
        target_accept: acceptance statistic that the step size is adapted to; more is slower and
            safer.
        dense_mass: adapt a full mass matrix instead of a diagonal one.
        radius: starting points are uniform on (-radius, radius) in each coordinate.
        max_tree_depth: a trajectory has at most 2^max_tree_depth - 1 steps.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if no starting point has a
            finite density.
    """

    max_tree_depth: int = 10
    name: ClassVar[str] = "pyro-nuts"
    source: ClassVar[str] = "M. D. Hoffman, A. Gelman, 2014, arXiv:1111.4246"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "max_tree_depth", self.max_tree_depth >= 1, "be at least 1")

    @property
    def _longest(self) -> int:
        return (1 << self.max_tree_depth) - 1

    def _kernel(self, potential: _Potential) -> Any:
        return _RecordedNUTS(  # type: ignore[no-untyped-call]
            potential_fn=potential,
            target_accept_prob=self.target_accept,
            full_mass=self.dense_mass,
            max_tree_depth=self.max_tree_depth,
        )


@dataclass(frozen=True)
class PyroHMC(_PyroSampler):
    """Hamiltonian Monte Carlo with trajectories of fixed length, mass matrix adapted as in Stan.

    In units of the posterior's standard deviations, to which the mass matrix scales, a Gaussian
    forgets where it was after a length of pi/2 and is back after 2 pi.

    Args:
        chains: run in turn in one process, each with random numbers of its own.
        warmup: draws per chain that adapt the sampler and are then dropped.
        draws: per chain, after the warm-up.
        target_accept: acceptance probability that the step size is adapted to; not used where
            ``steps`` is given.
        dense_mass: adapt a full mass matrix instead of a diagonal one.
        radius: starting points are uniform on (-radius, radius) in each coordinate.
        trajectory_length: step size times number of steps.
        steps: leapfrog steps per trajectory, which fixes the step size; None adapts the step size,
            and with it their number.
        max_steps: a trajectory is cut short there.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if no starting point has a
            finite density.
    """

    trajectory_length: float = math.pi / 2
    steps: int | None = None
    max_steps: int = 1000
    name: ClassVar[str] = "pyro-hmc"
    source: ClassVar[str] = "R. M. Neal, 2011, arXiv:1206.1901"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            "trajectory_length",
            0 < self.trajectory_length < math.inf,
            "be positive and finite",
        )
        require(self, "max_steps", self.max_steps >= 1, "be at least 1")
        require(
            self,
            "steps",
            self.steps is None or 1 <= self.steps <= self.max_steps,
            "lie in 1 to max_steps, or be None",
        )

    @property
    def _longest(self) -> int:
        return self.max_steps

    def _kernel(self, potential: _Potential) -> Any:
        kernel = _RecordedHMC(
            potential_fn=potential,
            step_size=self.trajectory_length / (self.steps or 1),
            trajectory_length=self.trajectory_length,
            adapt_step_size=self.steps is None,
            target_accept_prob=self.target_accept,
            full_mass=self.dense_mass,
        )
        kernel.given_steps, kernel.max_steps = self.steps, self.max_steps
        return kernel


class _Recorded:
    """Keeps the energy of the last trajectory: that of its first point, with the momentum just
    drawn.
    """

    energy = math.nan

    def _sample_r(self, name: str) -> Any:
        momentum, unscaled = super()._sample_r(name)  # type: ignore[misc]
        if name.startswith("r_t="):  # others are drawn in search of a step size
            self.energy = float(self._kinetic_energy(unscaled) + self._potential_energy_last)  # type: ignore[attr-defined]
        return momentum, unscaled


class _RecordedNUTS(_Recorded, NUTS): ...


class _RecordedHMC(_Recorded, HMC):
    given_steps: int | None
    max_steps: int

    @property
    def num_steps(self) -> int:
        """As given, or as the step size asks for, within bounds: Pyro's own has none and can run
        for ever.
        """
        return self.given_steps or min(super().num_steps, self.max_steps)


class _Potential:
    """-log p as Pyro's kernels call it, {"z": [D]} -> [], and how often they did."""

    def __init__(self, target: Target) -> None:
        self.target, self.calls = target, 0

    def __call__(self, point: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        value, gradient = self.target.value_and_grad(point["z"])
        # Pyro differentiates what it is given: this has the recorded gradient
        slope = point["z"] @ gradient
        return slope.detach() - slope - value


class _Chain:
    """One kernel with its own stream of random numbers, which Pyro draws from torch's global one,
    lent for each draw.
    """

    def __init__(
        self, kernel: Any, potential: _Potential, start: Tensor, warmup: int, seed: int
    ) -> None:
        self.kernel, self._potential, self._warmup = kernel, potential, warmup
        self._point: dict[str, Tensor] | None = None
        self._random = Generator().manual_seed(seed).get_state()
        kernel.initial_params = {"z": start}

    def advance(self) -> tuple[Tensor, float, int]:
        """The next draw [D], the energy it was reached with in nats, and the gradients it took."""
        before = self._potential.calls
        with self._lent():
            if self._point is None:
                self.kernel.setup(self._warmup)
                self._point = self.kernel.initial_params
            self._point = self.kernel.sample(self._point)
        return self._point["z"], self.kernel.energy, self._potential.calls - before

    @contextlib.contextmanager
    def _lent(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
            torch.set_rng_state(self._random)
            yield
            self._random = torch.get_rng_state()
