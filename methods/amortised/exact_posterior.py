"""The posterior itself as an encoder, where z has one or two coordinates and the decoder is given:
what every figure reads at best, and how much noise it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor

from methods.amortised.base import Encoder, Learned, Learner, TrainingData
from methods.base import Approximation, Budget, NotApplicableError
from problems.generative.base import Decoder
from problems.generative.parts.latent_grid import LatentGrid, latent_grid

PLANE = 2  # coordinates of z up to which the posterior is integrated
TOGETHER = 32  # x that share the panels of one grid
KEPT = 64  # sets of x whose panels are kept


@dataclass(frozen=True, eq=False)
class GridPosterior(Approximation):
    """p(z | x) of one x by quadrature: exact draws, and a density good to 1e-6 nats."""

    grid: LatentGrid

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.grid.sample(0, n, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        rows = z.reshape(-1, z.shape[-1])
        return self.grid.log_posterior(0, rows).reshape(z.shape[:-1])


@dataclass(frozen=True, eq=False)
class GridEncoder(Encoder):
    """p(z | x) of every x under a decoder at rest; the panels of x asked for last are kept."""

    decoder: Decoder
    kept: dict[bytes, list[LatentGrid]] = field(default_factory=dict, repr=False)

    def at(self, x: Tensor) -> GridPosterior:
        return GridPosterior(self.grids(x.unsqueeze(0))[0])

    def sample(self, x: Tensor, n: int, generator: Generator) -> Tensor:
        rows = [
            grid.sample(i, n, generator)
            for grid in self.grids(x)
            for i in range(len(grid.log_evidence))
        ]
        return torch.stack(rows)

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        rows, found = iter(z), []
        for grid in self.grids(x):
            for i in range(len(grid.log_evidence)):
                found.append(grid.log_posterior(i, next(rows)))
        return torch.stack(found)

    def grids(self, x: Tensor) -> list[LatentGrid]:
        """Panels for so many x at a time."""
        key = x.double().numpy().tobytes()
        if key not in self.kept:
            if len(self.kept) >= KEPT:
                self.kept.clear()
            self.kept[key] = [self._grid(part) for part in torch.split(x.double(), TOGETHER)]
        return self.kept[key]

    def _grid(self, x: Tensor) -> LatentGrid:
        return latent_grid(lambda z: self.decoder.pairs(x, z), self.decoder.latent_dim)


@dataclass(frozen=True)
class ExactPosterior(Learner):
    """The noise floor of amortised figures: learns nothing, and draws from the posterior of the
    decoder that is given.

    Raises:
        NotApplicableError: from ``run``, if the decoder is to be learned, or z has more than two
            coordinates.
    """

    name: ClassVar[str] = "exact"

    def run(self, model: TrainingData, budget: Budget, generator: Generator) -> Iterator[Learned]:
        decoder = model.decoder(generator)
        if decoder.learned:
            raise NotApplicableError(
                "exact needs a decoder that is given; this one is to be learned."
            )
        if model.latent_dim > PLANE:
            raise NotApplicableError(
                f"exact integrates over one or two coordinates; z has {model.latent_dim}."
            )
        still = decoder.at_rest()
        yield Learned(still, GridEncoder(still))
