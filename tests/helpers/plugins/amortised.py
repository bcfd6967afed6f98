"""Learners, generative models and figures that keep the contract, or break it in the way that
``how`` names.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from bench.metrics.amortised.base import Pair, PairMetric
from bench.metrics.base import Estimate, Skipped
from methods import Gaussian
from methods.amortised.base import GaussianEncoder, Learned, Learner, TrainingData
from methods.base import Approximation, Budget
from problems.base import Problem
from problems.generative.base import BernoulliDecoder, GenerativeModel, LatentPosterior


class Line(GaussianEncoder):
    """Codes of x on a line, moved by a step; broken as ``how`` says."""

    def __init__(self, step: Tensor, how: str) -> None:
        self.step, self.how, self.calls = step, how, 0

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.how == "attached":
            x = x.clone().requires_grad_()
        loc = x.flatten(1).mean(1, keepdim=True).expand(-1, 2) + self.step
        return loc, torch.eye(2, dtype=torch.float64).expand(len(x), 2, 2)

    def at(self, x: Tensor) -> Any:
        found = super().at(x)
        if self.how == "elsewhere":
            return Gaussian(found.loc + 1, found.scale_tril)
        return _Wrong(found, self.how) if self.how in WRONG else found

    def sample(self, x: Tensor, n: int, generator: Generator) -> Tensor:
        self.calls += 1
        if self.how == "counting":
            generator = torch.Generator().manual_seed(self.calls)
        if self.how == "deaf":
            generator = torch.Generator().manual_seed(0)
        draws = super().sample(x, n, generator)
        if self.how == "attached":
            draws = draws.requires_grad_()
        if self.how == "infinite":
            draws = torch.cat([draws[:, :-1], draws[:, -1:] / 0], 1)
        return draws[0] if self.how == "squeezed" else draws

    def log_prob(self, x: Tensor, z: Tensor) -> Any:
        found = super().log_prob(x, z)
        return None if self.how == "denies" else found


WRONG = ("unnormalised", "flat")


@dataclass(frozen=True)
class _Wrong(Approximation):
    """A Gaussian with a wrong density."""

    law: Gaussian
    how: str

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.law.sample(n, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        found: Any = self.law.log_prob(z)
        return found.reshape(-1) if self.how == "flat" else found + 0.2  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Plain(Learner):
    """Moves its codes a little at each step."""

    how: str = ""
    seen: list[int] = field(default_factory=list)
    name: ClassVar[str] = "plain"

    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Any]:
        how = self.how
        decoder = model.decoder(generator)
        if how == "nan":
            decoder.requires_grad_(False)
            next(decoder.parameters()).fill_(float("nan"))
        if how == "other decoder":
            decoder = BernoulliDecoder(nn.Sequential(nn.Flatten(), nn.ZeroPad1d((0, 2))), 2, (4,))
        still, step = decoder.at_rest(), torch.zeros(2, dtype=torch.float64)
        if how == "overwrites":
            model.train.zero_()
        if how == "restless":
            self.seen.append(1)
        for _ in range(100):
            if how == "hangs":
                time.sleep(600)
            if how == "sleeps":
                time.sleep(0.05)
            model.batch(10, generator)
            if how != "free":
                model.charge(100)
            step = step.add_(0.01) if how == "reuses" else step + 0.01
            if how == "worldly":
                step = step + torch.rand(1)
            if how == "fickle":
                step = step + random.SystemRandom().random()
            if how == "tensors":
                yield step
            yield Learned(still, Line(step, how))


@dataclass
class Thawed(Learner):
    """A learner whose fields can be set."""

    how: str = ""
    name: ClassVar[str] = "thawed"
    run: ClassVar[Any] = Plain.run


@dataclass(frozen=True)
class Unspeakable(Plain):
    """A learner that cannot be typed."""

    name: ClassVar[str] = "two words"


class _Off(BernoulliDecoder):
    """A decoder that breaks one promise."""

    how = ""

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        found = super().log_likelihood(x, z)
        if self.how == "one by one":
            return found.mean(-1, keepdim=True).expand(found.shape) if found.dim() else found
        return found.detach() + 0 * z.sum(-1) if self.how == "detached" else found

    def mean(self, z: Tensor) -> Tensor:
        return super().mean(z) + (0.2 if self.how == "mean" else 0.0)

    def sample(self, z: Tensor, generator: Generator) -> Tensor:
        drawn = torch.bernoulli(super().mean(z), generator=generator)
        return drawn.flatten() if self.how == "flat draws" else drawn


class _Doubled(LatentPosterior):
    def log_density(self, z: Tensor) -> Tensor:
        return 2 * super().log_density(z)


@dataclass(frozen=True)
class Coins(GenerativeModel):
    """Two bits, one of them seldom one; z on a line."""

    how: str = ""
    seen: list[int] = field(default_factory=list)
    name: ClassVar[str] = "coins"

    @property
    def latent_dim(self) -> Any:
        return 1.0 if self.how == "half" else 1

    @property
    def train(self) -> Tensor:
        if self.how == "restless":
            self.seen.append(1)
        if self.how == "shared":
            return SHARED
        data = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
        return data.double() if self.how == "double" else data

    @property
    def test(self) -> Tensor:
        if self.how == "other test":
            return torch.rand(4, 2).round() + torch.rand(())
        return torch.tensor([[0.0, 1.0], [0.0, 0.0]])

    @property
    def log_likelihood_of_truth(self) -> Any:
        return torch.zeros(1) if self.how == "truth" else None

    def decoder(self, generator: Generator) -> Any:
        width = 3 if self.how == "wide" else 2
        network: nn.Linear = nn.utils.skip_init(nn.Linear, 1, width)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            drawn = (
                torch.rand(width, 1)
                if self.how == "worldly"
                else torch.rand(width, 1, generator=generator)
            )
            network.weight.copy_(drawn)
            network.bias.fill_(0.0)
        decoder = _Off(network, 1, (width,))
        decoder.how = self.how
        return decoder

    def batch(self, n: int, generator: Generator) -> Tensor:
        if self.how == "shared":
            return SHARED[:n] if n <= len(SHARED) else super().batch(n, generator)
        if self.how == "deaf batch":
            generator = torch.Generator().manual_seed(0)
        found = super().batch(n, generator)
        return found[0] if self.how == "flat batch" else found

    def posterior(self, decoder: Any, x: Tensor) -> Problem:
        if self.how == "posterior":
            return _Doubled(self, decoder.at_rest(), x.double())
        return super().posterior(decoder, x)


SHARED = torch.tensor([[0.0, 1.0]] * 8)


@dataclass
class ThawedCoins(GenerativeModel):
    """A model whose fields can be set."""

    how: str = ""
    name: ClassVar[str] = "thawed"
    latent_dim: ClassVar[Any] = Coins.latent_dim
    train: ClassVar[Any] = Coins.train
    test: ClassVar[Any] = Coins.test
    decoder: ClassVar[Any] = Coins.decoder


@dataclass(frozen=True)
class UnspeakableCoins(Coins):
    """A model that cannot be typed."""

    name: ClassVar[str] = "two words"


@dataclass(frozen=True)
class Width(PairMetric):
    """The mean square of a code."""

    how: str = ""
    seen: list[int] = field(default_factory=list)
    name: ClassVar[str] = "width"

    def measure(self, pair: Pair) -> Any:
        how, square = self.how, pair.z.square()
        if how == "bare":
            return float(square.mean())
        if how == "speechless":
            return Skipped(" ")
        if how == "vandal":
            pair.z.zero_()
        if how == "restless":
            self.seen.append(1)
        value: Any = square.mean() if how == "tensor" else float(square.mean())
        if how == "worldly":
            value += float(torch.rand(1))
        if how == "fickle":
            value += random.SystemRandom().random()
        kind: Any = "guess" if how == "guess" else "exact"
        return Estimate(value, -0.1 if how == "negative" else float("nan"), kind)


@dataclass(frozen=True)
class Unitless(Width):
    """A figure whose unit is no text."""

    unit: ClassVar[Any] = None


@dataclass
class ThawedWidth(PairMetric):
    """A figure whose fields can be set."""

    how: str = ""
    name: ClassVar[str] = "thawed"
    measure: ClassVar[Any] = Width.measure


@dataclass(frozen=True)
class UnspeakableWidth(Width):
    """A figure that cannot be typed."""

    name: ClassVar[str] = "a:b"
