"""Sound methods, and copies that are broken in one way each; the test says which check must
see it.
"""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor

from methods.base import Approximation, Budget, Draws, Method, Pushforward, Target

STEPS = 150
ROWS = 20


@dataclass(frozen=True, eq=False)
class Affine(Pushforward):
    """A Gaussian as a map, with its density: everything that an approximation can have."""

    loc: Tensor
    root: Tensor

    @property
    def noise_dim(self) -> int:  # type: ignore[override]
        return len(self.loc)

    def forward(self, eps: Tensor) -> Tensor:
        return self.loc + eps @ self.root.T

    def jacobian(self, eps: Tensor) -> Tensor:
        return self.root.expand(len(eps), -1, -1)

    def log_prob(self, z: Tensor) -> Tensor | None:
        u = torch.linalg.solve_triangular(
            self.root, (z - self.loc).unsqueeze(-1), upper=False
        ).squeeze(-1)
        return (
            -0.5 * (u.square() + math.log(2 * math.pi)).sum(-1) - self.root.diagonal().log().sum()
        )


class Climb(Method):
    """Uphill by gradients, with a covariance that is anybody's guess."""

    kind: ClassVar[type[Affine]] = Affine
    name: ClassVar[str] = "sound"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        loc = torch.randn(target.dim, generator=generator, dtype=torch.float64)
        root = torch.eye(target.dim, dtype=torch.float64) + torch.ones(
            target.dim, target.dim, dtype=torch.float64
        ).tril(-1)
        for _ in range(STEPS):
            _, gradient = target.value_and_grad(loc.expand(ROWS, -1))
            loc = loc + 0.1 * gradient.mean(0)
            yield self.kind(loc, root)


@dataclass(frozen=True)
class Sound(Climb):
    rate: float = 0.1


@dataclass(frozen=True)
class SoundChains(Method):
    """Unadjusted Langevin, many chains at once."""

    chains: int = 20
    name: ClassVar[str] = "sound-chains"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        z = torch.randn(self.chains, target.dim, generator=generator, dtype=torch.float64)
        for _ in range(STEPS):
            _, gradient = target.value_and_grad(z)
            z = (
                z
                + 0.05 * gradient
                + 0.1**0.5 * torch.randn(z.shape, generator=generator, dtype=torch.float64)
            )
            yield self.draws(z)

    def draws(self, z: Tensor) -> Draws:
        return Draws(z.unsqueeze(1), {"chains": float(len(z))})


@dataclass(frozen=True)
class SoundWithoutGradients(Method):
    """Random-walk Metropolis, which a budget of gradients does not stop."""

    name: ClassVar[str] = "sound-walk"

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        z = torch.randn(50, target.dim, generator=generator, dtype=torch.float64)
        log_p = target.log_density(z)
        while True:
            new = z + torch.randn(z.shape, generator=generator, dtype=torch.float64)
            new_log_p = target.log_density(new)
            taken = (
                torch.rand(len(z), generator=generator, dtype=torch.float64).log()
                < new_log_p - log_p
            )
            z, log_p = (
                torch.where(taken.unsqueeze(-1), new, z),
                torch.where(taken, new_log_p, log_p),
            )
            yield Draws(z.unsqueeze(1))


@dataclass(frozen=True)
class Unspeakable(Sound):
    name: ClassVar[str] = "two words"


@dataclass
class Thawed(Climb):
    rate: float = 0.1


@dataclass(frozen=True)
class YieldsTensors(Sound):
    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        yield torch.zeros(3, target.dim)  # type: ignore[misc]


@dataclass(frozen=True)
class YieldsNothing(Sound):
    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        yield from ()


@dataclass(frozen=True)
class Planar(Sound):
    """Only ever tried in two dimensions."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        _, gradient = target.value_and_grad(torch.zeros(2, dtype=torch.float64))
        yield Affine(gradient, torch.eye(2, dtype=torch.float64))


class _Squeezed(Affine):
    def sample(self, n: int, generator: Generator) -> Tensor:
        return super().sample(n, generator).squeeze(0)


class Squeezed(Sound):
    """One draw loses its batch."""

    kind = _Squeezed


class _Attached(Affine):
    def sample(self, n: int, generator: Generator) -> Tensor:
        noise = torch.randn(n, self.noise_dim, generator=generator, dtype=torch.float64)
        return self.forward(noise) * torch.ones(1, dtype=torch.float64, requires_grad=True)


class Attached(Sound):
    """Draws that carry a gradient."""

    kind = _Attached


class Single(SoundChains):
    def draws(self, z: Tensor) -> Draws:
        return Draws(z.unsqueeze(1).float())


class Infinite(SoundChains):
    def draws(self, z: Tensor) -> Draws:
        return Draws(torch.where(torch.arange(len(z)) == 3, torch.inf, z.T).T.unsqueeze(1))


class Fickle(Sound):
    """Seeds itself anew for every run."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        own = Generator()
        own.seed()
        yield from super().run(target, budget, own)


class Worldly(Sound):
    """Draws from the global generator."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        own = Generator().manual_seed(int(torch.randint(2**31, ())))
        yield from super().run(target, budget, own)


class _Counting(Affine):
    def sample(self, n: int, generator: Generator) -> Tensor:
        calls = self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
        return super().sample(n, generator) + 1e-3 * calls


class Counting(Sound):
    """Other draws at every call."""

    kind = _Counting


class _Deaf(Affine):
    def sample(self, n: int, generator: Generator) -> Tensor:
        return super().sample(n, Generator().manual_seed(0))


class Deaf(Sound):
    """The same draws whatever the seed."""

    kind = _Deaf


class DeafChains(SoundChains):
    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        yield from super().run(target, budget, Generator().manual_seed(0))


class Leaky(Sound):
    """Waits at its yield with gradients switched off for everyone."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        with torch.no_grad():
            yield from super().run(target, budget, generator)


@dataclass(frozen=True)
class Restless(Sound):
    """Keeps notes in its own fields."""

    history: list[float] = field(default_factory=list)

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        for approximation in super().run(target, budget, generator):
            self.history.append(0.0)
            yield approximation


class Hoarder(Sound):
    """Evaluates for free, and pays at the end."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        z = torch.randn(
            ROWS, target.dim, generator=generator, dtype=torch.float64, requires_grad=True
        )
        for _ in range(3):
            value = sum((target.log_density(z).sum() for _ in range(150)), torch.zeros(()))
            (gradient,) = torch.autograd.grad(value, z)
            yield Affine(gradient.mean(0), torch.eye(target.dim, dtype=torch.float64))


class Sleeper(Sound):
    """Takes its time where it is given any."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        for approximation in super().run(target, budget, generator):
            yield approximation
            if budget.gradients is None and budget.seconds is not None:
                time.sleep(4 * budget.seconds)


class Endless(Sound):
    """Waits for what never comes, and asks the density nothing."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        while True:
            time.sleep(0.1)
        yield


class Reused(Sound):
    """Yields tensors that it goes on to change."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        loc = torch.randn(target.dim, generator=generator, dtype=torch.float64)
        for _ in range(STEPS):
            _, gradient = target.value_and_grad(loc.expand(ROWS, -1))
            loc += 0.1 * gradient.mean(0)
            yield Affine(loc, torch.eye(target.dim, dtype=torch.float64))


class _Flat(Affine):
    def log_prob(self, z: Tensor) -> Tensor | None:
        u = torch.linalg.solve_triangular(
            self.root, (z.reshape(-1, self.noise_dim) - self.loc).T, upper=False
        )
        return -0.5 * (u.square() + math.log(2 * math.pi)).sum(0) - self.root.diagonal().log().sum()


class Flat(Sound):
    """A density for [n, D] only."""

    kind = _Flat


class _Unnormalised(Affine):
    def log_prob(self, z: Tensor) -> Tensor | None:
        found = super().log_prob(z)
        return None if found is None else found + 0.2


class Unnormalised(Sound):
    kind = _Unnormalised


class _Elsewhere(Affine):
    def log_prob(self, z: Tensor) -> Tensor | None:
        return Affine(self.loc, 1.15 * self.root).log_prob(z)


class Elsewhere(Sound):
    """The density of another law."""

    kind = _Elsewhere


class _Crowded(Affine):
    def forward(self, eps: Tensor) -> Tensor:
        return super().forward(eps) + 1e-6 * len(eps)


class Crowded(Sound):
    """A map that knows how many it maps."""

    kind = _Crowded


class _Transposed(Affine):
    def jacobian(self, eps: Tensor) -> Tensor:
        return super().jacobian(eps).mT


class Transposed(Sound):
    """A Jacobian the other way round."""

    kind = _Transposed


class Talkative(SoundChains):
    """Diagnostics that are no numbers."""

    def draws(self, z: Tensor) -> Draws:
        return Draws(z.unsqueeze(1), {"sampler": "langevin"})  # type: ignore[dict-item]


@dataclass(frozen=True)
class Wandering(Sound):
    """Leaves for another directory."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        os.chdir("/")
        yield from super().run(target, budget, generator)


@dataclass(frozen=True)
class Fathering(Sound):
    """Leaves a process behind."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        self.children.append(subprocess.Popen(["sleep", "600"]))
        yield from super().run(target, budget, generator)

    children: ClassVar[list[subprocess.Popen[bytes]]] = []


@dataclass(frozen=True)
class Numbered(SoundChains):
    """Names its diagnostics by numbers."""

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Approximation]:
        for found in super().run(target, budget, generator):
            assert isinstance(found, Draws)
            yield Draws(found.chains, {1: 0.5})  # type: ignore[dict-item]
