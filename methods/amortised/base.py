r"""How a posterior is learned for every x at once, and the decoder with it: the types that every
learner meets.

To add a learner: make a frozen dataclass that derives from ``Learner``, its hyperparameters as
fields; set ``name``; write ``run`` as a generator that improves a decoder and an encoder and yields
them every so often. The harness resumes it, pauses its clock while it measures, and closes it when
the budget is spent. Draw random numbers from the given generator only, and count gradients by
``charge``.

What a gradient is: one row, that is one data point x with one z, carried backwards through one
network, or through a chain of networks that are one function. A step of a VAE on n data points
costs n, with k draws of z for each x it costs n k; a step of a discriminator on n pairs from each
of two sides costs 2 n, and the encoder's step through it n.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Generator, Tensor

from methods.base import Approximation, Budget, Pushforward
from methods.parts.gaussians.gaussian import Gaussian
from problems.generative.base import Decoder


class TrainingData(Protocol):
    """What a learner sees of a generative model: never its test data or its truth."""

    @property
    def latent_dim(self) -> int:
        """L, the length of z."""

    @property
    def train(self) -> Tensor:
        """Training data, [N, *shape], float32; of data that are binarised, the probabilities."""

    def batch(self, n: int, generator: Generator) -> Tensor:
        """Training data as a learner reads them, [n, *shape], float32: with replacement, and
        binarised anew where they are.
        """

    def decoder(self, generator: Generator) -> Decoder:
        """A decoder with fresh weights, float32; a weight that needs no gradient stays as it is."""

    def charge(self, rows: int) -> None:
        """Count gradients; a learner whose budget was spent before is stopped here."""


class Encoder(ABC):
    """q(z | x) for every x, at rest: it must not change after it was yielded. Figures are made with
    it in float64, on the CPU.
    """

    @abstractmethod
    def at(self, x: Tensor) -> Approximation:
        """q(z | x) of one x, [*shape]: a Gaussian or a flow, which have a density, a
        ``Pushforward`` of the noise, or what can only be drawn from.
        """

    def sample(self, x: Tensor, n: int, generator: Generator) -> Tensor:
        """n draws for each x: [N, *shape] -> [N, n, L], float64; override where all x run at
        once.
        """
        return torch.stack([self.at(row).sample(n, generator) for row in x])

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor | None:
        """Log q(z | x), nats: [N, *shape], [N, n, L] -> [N, n]; None where there is no density."""
        densities = [self.at(row).log_prob(rows) for row, rows in zip(x, z, strict=True)]
        known = [density for density in densities if density is not None]
        return torch.stack(known) if len(known) == len(densities) else None


class GaussianEncoder(Encoder):
    """q(z | x) = N(m(x), L(x) L(x)^T)."""

    @abstractmethod
    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means, and lower triangular factors with a positive diagonal, float64: [N, *shape] ->
        [N, L], [N, L, L].
        """

    def at(self, x: Tensor) -> Gaussian:
        with torch.no_grad():
            loc, factor = self.moments(x.unsqueeze(0))
        return Gaussian(loc[0], factor[0])

    def sample(self, x: Tensor, n: int, generator: Generator) -> Tensor:
        with torch.no_grad():
            loc, factor = self.moments(x)
        shape = len(x), n, loc.shape[1]
        eps = torch.randn(shape, generator=generator, dtype=torch.float64)
        return loc.unsqueeze(1) + eps @ factor.mT

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        with torch.no_grad():
            loc, factor = self.moments(x)
        law = torch.distributions.MultivariateNormal(
            loc.unsqueeze(1), scale_tril=factor.unsqueeze(1), validate_args=False
        )
        return law.log_prob(z)  # type: ignore[no-any-return, no-untyped-call]


class NoiseEncoder(Encoder):
    """z = f(x, eps), eps ~ N(0, I_K): a network that is fed with noise, and has no density.

    ``noise_dim`` is K.
    """

    noise_dim: int

    @abstractmethod
    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        """The map f, row by row: [n, *shape], [n, K] -> [n, L], float64, differentiable."""

    def at(self, x: Tensor) -> Pushforward:
        return _AtOne(self, x)

    def sample(self, x: Tensor, n: int, generator: Generator) -> Tensor:
        shape = len(x) * n, self.noise_dim
        eps = torch.randn(shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            return self.forward(x.repeat_interleave(n, 0), eps).reshape(len(x), n, -1)


class _AtOne(Pushforward):
    """A noise-fed encoder at one x, [*shape]."""

    def __init__(self, encoder: NoiseEncoder, x: Tensor) -> None:
        self.encoder, self.x, self.noise_dim = encoder, x, encoder.noise_dim

    def forward(self, eps: Tensor) -> Tensor:
        return self.encoder.forward(self.x.expand(len(eps), *self.x.shape), eps)


@dataclass(frozen=True, eq=False)
class Learned:
    """What a learner has made of the data so far; it must not change after it was yielded.

    Args:
        decoder: p_theta(x | z), at rest.
        encoder: q(z | x), at rest.
        diagnostics: figures by name that the learner has to say of it. What an adversarial
            objective says of its own ELBO is an estimate and no bound.
    """

    decoder: Decoder
    encoder: Encoder
    diagnostics: Mapping[str, float] = field(default_factory=dict)


class Learner(ABC):
    """A way to learn an encoder, and a decoder where that is not given. Hyperparameters are the
    fields of a frozen dataclass.
    """

    name: ClassVar[str]
    source: ClassVar[str] = ""  # "Authors, year, arXiv or DOI" of the paper that proposed it

    @abstractmethod
    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Learned]:
        """Yield ever better pairs; return when there is no better one to come.

        Args:
            model: the training data, and the family of decoders.
            budget: what may be spent, to plan by; stopping is the harness's part.
            generator: the only source of randomness.
        """
