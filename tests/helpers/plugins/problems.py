"""Sound problems, and copies that are broken in one way each; the test says which check must see
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, GaussianPrior, Modes, Problem, Reference, Truth
from problems.parts.stored import reference

LOG_Z = 1.5


class Slope(Problem):
    """z1 ~ N(0, 1), and z2 given z1 ~ N(z1 / 2, 1/4), times a constant; the second parameter is
    exp(z2).
    """

    name: ClassVar[str] = "sound"

    @property
    def dim(self) -> int:
        return 2

    @property
    def truth(self) -> Truth:
        return Exact(self.sample, LOG_Z)

    @property
    def modes(self) -> Modes | None:
        return Modes(lambda z: (z[..., 0] > 0).long(), (0.5, 0.5))

    def log_density(self, z: Tensor) -> Tensor:
        steep = 2 * (z[..., 1] - 0.5 * z[..., 0])
        return LOG_Z - math.log(math.pi) - 0.5 * (z[..., 0].square() + steep.square())

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return {"level": z[..., 0], "rate": z[..., 1].exp()}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([values["level"], values["rate"].log()], -1)

    def sample(self, n: int, generator: Generator) -> Tensor:
        noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return torch.stack([noise[:, 0], 0.5 * (noise[:, 0] + noise[:, 1])], -1)


@dataclass(frozen=True)
class Sound(Slope):
    level: float = 0.0

    @property
    def gaussian_prior(self) -> GaussianPrior | None:
        return GaussianPrior.independent((0.0, 0.0), (1.5, 1.5))


@dataclass(frozen=True)
class Narrow(Slope):
    """Its prior is declared narrower than the posterior."""

    @property
    def gaussian_prior(self) -> GaussianPrior | None:
        return GaussianPrior.independent((0.0, 0.0), (1.5, 0.1))


@dataclass(frozen=True)
class SoundReference(Slope):
    """The same with a simulated truth."""

    @property
    def truth(self) -> Truth:
        return Reference(
            self.sample(5000, Generator().manual_seed(1)), LOG_Z, 0.01, {"sampler": "exact"}
        )


@dataclass(frozen=True)
class SoundLine(Problem):
    """One dimension, heavy tails: a Cauchy, which has no moments."""

    name: ClassVar[str] = "sound-line"

    @property
    def dim(self) -> int:
        return 1

    @property
    def truth(self) -> Truth:
        return Exact(self._sample, math.log(math.pi))

    def log_density(self, z: Tensor) -> Tensor:
        return -z.square().log1p().sum(-1)

    def _sample(self, n: int, generator: Generator) -> Tensor:
        return (math.pi * (torch.rand(n, 1, generator=generator, dtype=torch.float64) - 0.5)).tan()


@dataclass(frozen=True)
class Unspeakable(Sound):
    name: ClassVar[str] = ""


@dataclass
class Thawed(Slope):
    level: float = 0.0


class Fractional(Sound):
    """Two and a bit dimensions."""

    @property
    def dim(self) -> int:
        return 2.0  # type: ignore[return-value]


class Repetitive(Sound):
    """One label twice."""

    @property
    def coordinates(self) -> tuple[str, ...]:
        return ("z", "z")


class Wrapped(Sound):
    """A point becomes a batch of one."""

    def log_density(self, z: Tensor) -> Tensor:
        return super().log_density(z).reshape(z.shape[:-1] or (1,))


class Single(Sound):
    def log_density(self, z: Tensor) -> Tensor:
        return super().log_density(z).float()


class Crowded(Sound):
    """Rows that count each other."""

    def log_density(self, z: Tensor) -> Tensor:
        return super().log_density(z) + 1e-7 * z[..., 0].numel()


class Cut(Sound):
    """No density where the truth has draws."""

    def log_density(self, z: Tensor) -> Tensor:
        return torch.where(z[..., 0] < 2.5, super().log_density(z), -torch.inf)


class Famous(Sound):
    """Known for what no list has."""

    traits: ClassVar[tuple[str, ...]] = ("famous",)


class NarrowMinded(Sound):
    """NaN where nobody was expected."""

    def log_density(self, z: Tensor) -> Tensor:
        return super().log_density(z) + 0 * (20 - z[..., 0].detach().abs()).sqrt()


class HalfDetached(Sound):
    """A term that gradients do not see."""

    def log_density(self, z: Tensor) -> Tensor:
        return super().log_density(torch.cat([z[..., :1], z[..., 1:].detach()], -1))


@dataclass(frozen=True)
class Drifting(Sound):
    """Keeps something from call to call, where no field shows it."""

    calls: ClassVar[list[int]] = []

    def log_density(self, z: Tensor) -> Tensor:
        self.calls.append(1)
        return super().log_density(z) + 1e-8 * len(self.calls)


class OneWay(Sound):
    """Comes back on another scale."""

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([values["level"], values["rate"]], -1)


class Squeezed(Sound):
    """One draw loses its batch."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        return super().sample(n, generator).squeeze(0)


class Worldly(Sound):
    """Draws from the global generator."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        return super().sample(n, Generator().manual_seed(int(torch.randint(2**31, ()))))


class Stuck(Sound):
    """The same draws at every call."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        return super().sample(n, Generator().manual_seed(generator.initial_seed()))


class Wider(Sound):
    """Draws of another law: 5% wider in one coordinate."""

    def sample(self, n: int, generator: Generator) -> Tensor:
        return super().sample(n, generator) * torch.tensor([1.0, 1.05], dtype=torch.float64)


class OffEvidence(Sound):
    @property
    def truth(self) -> Truth:
        return Exact(self.sample, LOG_Z + 0.1)


class Lopsided(Sound):
    @property
    def modes(self) -> Modes | None:
        return Modes(lambda z: (z[..., 0] > 0).long(), (0.45, 0.55))


class Unfounded(Sound):
    """A short simulation that nobody vouches for."""

    @property
    def truth(self) -> Truth:
        return Reference(self.sample(400, Generator().manual_seed(1)), LOG_Z, None, {})


@dataclass(frozen=True)
class Restless(Sound):
    """Keeps notes in its own fields."""

    seen: list[int] = field(default_factory=list)

    def log_density(self, z: Tensor) -> Tensor:
        self.seen.append(1)
        return super().log_density(z)


class Meddling(Sound):
    """Seeds the whole process."""

    def log_density(self, z: Tensor) -> Tensor:
        torch.manual_seed(0)
        return super().log_density(z)


class Broken(Sound):
    """Raises, as first drafts do."""

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        raise KeyError("rate")


@dataclass(frozen=True)
class Waiting(Problem):
    """A standard normal that waits for its reference; ``lost`` makes it NaN everywhere."""

    lost: bool = False
    name: ClassVar[str] = "waiting-for-its-reference"

    @property
    def dim(self) -> int:
        return 3

    @property
    def truth(self) -> Truth:
        return reference(self)

    def log_density(self, z: Tensor) -> Tensor:
        value = -0.5 * z.square().sum(-1)
        return value * math.nan if self.lost else value
