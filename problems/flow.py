r"""A fixed random network pushed onto a Gaussian: a realistic hard shape, with exact density and
exact draws.

.. math:: z = f_L \circ \dots \circ f_1(e), \quad e \sim N(0, I), \qquad
   f_l(x) = \left(a,\; b \odot e^{s_l(a)} + t_l(a)\right), \quad (a, b) = Q_l^\top x

Each layer turns the space by a random rotation, then scales and shifts half of the coordinates by a
network of one hidden layer that reads the other half; a tanh bounds the scales. A layer is undone
in closed form and its Jacobian is triangular, so density and draws are exact; nothing was trained.
By default no Gaussian comes nearer than about 1.6 nats in KL(p||q). Layers: Dinh, Sohl-Dickstein
and Bengio, Density estimation using Real NVP, 2017, arXiv 1605.08803.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, Problem, Trait
from problems.parts.ingredients import log_normal, normal, prepare, rotation, seeded
from problems.parts.validate import require_positive, require_whole


class Layer:
    """One layer of the flow: a rotation, and an affine coupling of halves.

    Args:
        dim: D; width: of the hidden layer; strength: bound of the log scales, and size of the
            shifts.
        generator: what rotation and weights are drawn from.
    """

    def __init__(self, dim: int, width: int, strength: float, generator: Generator) -> None:
        self.split, self.strength = dim // 2, strength
        self.rotation = rotation(dim, generator)
        self.read = normal(generator, self.split, width) / math.sqrt(self.split)
        self.bias = normal(generator, width)
        self.write = normal(generator, width, 2 * (dim - self.split)) / math.sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        """The layer: [..., D] -> [..., D]."""
        kept, changed = self._halves(x @ self.rotation)
        log_scale, shift = self._network(kept)
        return torch.cat((kept, changed * log_scale.exp() + shift), -1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The way back, and log |det| of its Jacobian: [..., D] -> ([..., D], [...])."""
        kept, changed = self._halves(z)
        log_scale, shift = self._network(kept)
        x = torch.cat((kept, (changed - shift) * (-log_scale).exp()), -1)
        return x @ self.rotation.T, -log_scale.sum(-1)

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[..., : self.split], x[..., self.split :]

    def _network(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        out = torch.tanh(kept @ self.read + self.bias) @ self.write
        log_scale, shift = out.chunk(2, -1)
        return self.strength * torch.tanh(log_scale), self.strength * shift


@dataclass(frozen=True)
class Flow(Problem):
    """The network and the Gaussian behind it.

    Args:
        dim: D.
        layers: L.
        width: hidden units of each layer's network.
        strength: bound of the log scales and size of the shifts; the smaller, the closer to a
            Gaussian.
        seed: of all weights.
    """

    dim: int = 10
    layers: int = 4
    width: int = 32
    strength: float = 0.6
    seed: int = 0
    name: ClassVar[str] = "flow"
    traits: ClassVar[tuple[Trait, ...]] = ("curved",)

    def __post_init__(self) -> None:
        require_whole(self, dim=2, layers=1, width=1, seed=0)
        require_positive(self, "strength")
        prepare(self, "_layers")

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, log_z=0.0)

    def log_density(self, z: Tensor) -> Tensor:
        log_det = torch.zeros((), dtype=torch.float64)
        for layer in reversed(self._layers):
            z, term = layer.inverse(z)
            log_det = log_det + term
        return log_normal(z, 0.0, 1.0).sum(-1) + log_det

    def push(self, e: Tensor) -> Tensor:
        """The network: [..., D] -> [..., D]."""
        for layer in self._layers:
            e = layer.forward(e)
        return e

    @functools.cached_property
    def _layers(self) -> tuple[Layer, ...]:
        generator = seeded(self.seed)
        return tuple(
            Layer(self.dim, self.width, self.strength, generator) for _ in range(self.layers)
        )

    def _sample(self, n: int, generator: Generator) -> Tensor:
        return self.push(normal(generator, n, self.dim))
