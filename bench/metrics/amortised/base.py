"""What a figure of a learned pair takes: decoder and encoder beside the data that they are judged
on, and the evidence of each x where it can be had.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from bench.metrics.base import Comparison, Estimate, Figure, Kind, Skipped, kept
from bench.seeds import seed_of
from methods.amortised.base import Encoder, GaussianEncoder
from methods.base import Approximation
from methods.parts.sampling.annealed import Annealing, Start
from problems.generative.base import Decoder, GenerativeModel
from problems.generative.parts.latent_grid import LatentGrid, latent_grid, log_prior

PLANE = 2  # coordinates of z up to which evidence is integrated
TOGETHER = 32  # x that share the panels of one grid
DRAWS = 1000  # of each q(z | x), that figures share
LEAST_DRAWS = 20


@dataclass(frozen=True, eq=False)
class Pair:
    """A learned decoder and encoder beside test data. All figures are of these x, taken as given:
    standard errors are of the draws of z, not of another choice of x, unless a figure says so.

    Args:
        model: where the data are from.
        decoder: at rest, float64; encoder: at rest.
        x: [N, *shape], float64.
        seed: of the generators that figures draw from.
        draws: of each q(z | x), S.
        annealing: how log p(x) is bounded where z has more than two coordinates.
        memo: what functions decorated with ``kept`` have found.

    Raises:
        ValueError: if there is no x, or too few draws are asked for.
    """

    model: GenerativeModel
    decoder: Decoder
    encoder: Encoder
    x: Tensor
    seed: int = 0
    draws: int = DRAWS
    annealing: Annealing = field(default_factory=Annealing)
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not len(self.x):
            raise ValueError("Pair(x=...) must hold one x or more, got none.")
        if self.draws < LEAST_DRAWS:
            raise ValueError(f"Pair(draws=...) must be at least {LEAST_DRAWS}, got {self.draws}.")

    def generator(self) -> Generator:
        """A fresh generator: every figure draws the same numbers."""
        return Generator().manual_seed(self.seed)

    @functools.cached_property
    def z(self) -> Tensor:
        """Draws of every q(z | x), [N, S, L]."""
        return self.encoder.sample(self.x, self.draws, self.generator())

    @functools.cached_property
    def log_q(self) -> Tensor | None:
        """Log q(z | x) at its own draws, nats, [N, S]; None where there is no density."""
        return self.encoder.log_prob(self.x, self.z)

    @functools.cached_property
    def log_likelihood(self) -> Tensor:
        """log p(x | z) at the draws of q(z | x), nats, [N, S]."""
        with torch.no_grad():
            return torch.stack(
                [self.decoder.log_likelihood(x, z) for x, z in zip(self.x, self.z, strict=True)]
            )

    @functools.cached_property
    def log_joint(self) -> Tensor:
        """log p(x, z) at the draws of q(z | x), nats, [N, S]."""
        return self.log_likelihood + log_prior(self.z)

    @functools.cached_property
    def grids(self) -> list[LatentGrid]:
        """Panels over z, for so many x at a time; where z has one or two coordinates."""
        return [self._grid(x) for x in torch.split(self.x, TOGETHER)]

    def _grid(self, x: Tensor) -> LatentGrid:
        return latent_grid(lambda z: self.decoder.pairs(x, z), self.decoder.latent_dim)

    @functools.cached_property
    def evidence(self) -> Evidences:
        """log p(x) of every x: by quadrature over a plane, else by annealing, from below."""
        if self.decoder.latent_dim <= PLANE:
            value = torch.cat([grid.log_evidence for grid in self.grids])
            return Evidences(value, torch.zeros_like(value), "exact")
        found = self.annealing.lower(self._joint, self.start, self.generator())
        return Evidences(found.value, found.stderr, "lower bound")

    def _joint(self, z: Tensor) -> Tensor:
        return self.decoder.log_likelihood(self.x, z) + log_prior(z)

    @functools.cached_property
    def start(self) -> Start:
        """Where annealing starts: the encoder's own Gaussian, else that of its draws' moments."""
        with torch.no_grad():
            if isinstance(self.encoder, GaussianEncoder):
                return Start(*self.encoder.moments(self.x))
            # draws of their own: a start that depends on the chains' noise would give no bound
            apart = Generator().manual_seed(self.seed + 1)
            return fitted(self.encoder.sample(self.x, self.draws, apart))

    @kept
    def at(self, i: int, n: int) -> Comparison:
        """q(z | x_i) beside p(z | x_i), n draws of each, for the metrics of one posterior; z has
        one or two coordinates. Figures share what they find of it.
        """
        problem = self.model.posterior(self.decoder, self.x[i])
        # its own for every x: errors that several x share do not average out
        seed = seed_of(self.seed, "posterior", i)
        generator = Generator().manual_seed(seed)
        approximation: Approximation = self.encoder.at(self.x[i])
        draws = approximation.sample(n, generator)
        truth = self.grids[i // TOGETHER].sample(i % TOGETHER, n, generator)
        return Comparison(problem, approximation, draws, truth, seed)


def fitted(z: Tensor) -> Start:
    """The Gaussians of the moments of draws [N, S, L], shrunk towards the prior as if L of the
    draws were its own, so that few draws and codes that have collapsed give a density too.
    """
    _, draws, dim = z.shape
    loc = z.mean(1)
    gap = z - loc.unsqueeze(1)
    scatter = gap.mT @ gap + dim * torch.eye(dim, dtype=z.dtype)
    return Start(loc, torch.linalg.cholesky(scatter / (draws + dim)))


@dataclass(frozen=True, eq=False)
class Evidences:
    """log p(x) of every x, nats, [N], and its standard error, [N]."""

    value: Tensor
    stderr: Tensor
    kind: Kind


class PairMetric(Figure):
    """A figure of a learned pair. The docstring states its equation, direction, unit and source;
    what a page must know of it is as for ``Metric``.
    """

    @abstractmethod
    def measure(self, pair: Pair) -> Estimate | Skipped:
        """The figure, or why there is none."""

    def slow(self, pair: Pair) -> bool:
        """Whether it takes far longer than a moment for this pair: then it is measured at the last
        checkpoint alone.
        """
        return self.costly


def mean_over(values: Tensor, kind: Kind, note: str = "") -> Estimate:
    """The average of values at S independent draws for each of N given x, [N, S]; its standard
    error is of the draws.
    """
    count, draws = values.shape
    stderr = float((values.var(1) / draws).sum().sqrt()) / count
    return Estimate(float(values.mean()), stderr, kind, note, count * draws)


def sampled_over(values: Tensor, stderrs: Tensor, count: int, kind: Kind, note: str) -> Estimate:
    """The average of figures of m of N x, [m], that stands for all N: the standard error is of
    these figures, and of the choice of the x where m < N.
    """
    m = len(values)
    chosen = float(values.var()) / m * (1 - m / count) if 1 < m < count else 0.0
    if m == 1 < count:
        chosen = math.nan
    stderr = math.sqrt(float(stderrs.square().sum()) / m**2 + chosen)
    note = f"On {m} of {count} x. {note}".strip() if m < count else note
    return Estimate(float(values.mean()), stderr, kind, note)
