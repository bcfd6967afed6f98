"""A sampler with several heads: as many affine maps, chosen by chance, and one network for all.

Its draws have modes apart without bridges between them, which a single continuous map of connected
noise has to build. Each head by itself is a ``Sampler``, with its density. What the weights move is
counted in units of a Gaussian of each head's own, so that one step size fits heads of every width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from methods.base import Pushforward
from methods.parts.compiled.networks import Where, compiled_gradient, compiled_maps, ready
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.networks.products import affine, product
from methods.parts.networks.pushforward_mixture import PushforwardMixture
from methods.parts.networks.sampler import (
    Sampler,
    SamplerNetwork,
    Shape,
    draw,
    elu,
    flat,
    views,
)

# by which the affine maps learn faster than the network: heads part before they bend
GAIN = 10.0
# share of the initial variance that is between the heads
APART = 0.5


@dataclass(frozen=True, eq=False)
class HeadedSampler:
    r"""z = m_k + L_k (A_k eps + b_k + g(eps, k)), of H heads k.

    .. math::
        g(\epsilon, k) = W_L\, \sigma(\dots \sigma(W_1 \epsilon + e_k) \dots)

    Args:
        heads: H; dim: D, length of eps and of z.
        hidden: widths of the hidden layers, ELU.
        bases: N(m_k, L_k L_k^T), which the heads start from; None for N(0, I), all of them.
    """

    heads: int
    dim: int
    hidden: tuple[int, ...] = (128, 128)
    bases: GaussianMixture | None = None

    @property
    def gain(self) -> float:
        """By which the affine maps learn faster than the network."""
        return GAIN if self.bases is None else 1.0

    @property
    def noise_dim(self) -> int:
        """How many numbers of noise a draw takes: as many as there are coordinates."""
        return self.dim

    @property
    def shapes(self) -> list[Shape]:
        """Of the weights, in order: A and b over their gain, e; matrix and bias of each layer, the
        first without a bias, the last likewise.
        """
        heads, widths = self.heads, (self.dim, *self.hidden, self.dim)
        shapes: list[Shape] = [(heads, self.dim, self.dim), (heads, self.dim)]
        shapes += [(heads, widths[1]), widths[:2]]
        for i in range(1, len(self.hidden)):
            shapes += [widths[i : i + 2], widths[i + 1 : i + 2]]
        return [*shapes, widths[-2:]]

    def init(self, generator: Generator, scale: float) -> Tensor:
        """Weights, float32, with which the heads are their bases, the network silent; where they
        have none, they together have mean near 0 and standard deviation near ``scale`` in each
        coordinate.
        """
        parts = draw(self.shapes, generator)
        alike = torch.eye(self.dim).repeat(self.heads, 1, 1) / self.gain
        if self.bases is None:
            centres = torch.randn(self.heads, self.dim, generator=generator)
            parts[0] = scale * math.sqrt(1 - APART) * alike
            parts[1] = scale * math.sqrt(APART) / self.gain * (centres - centres.mean(0))
        else:
            parts[0], parts[1] = alike, torch.zeros_like(parts[1])
        parts[2] = 0.7 * torch.randn(parts[2].shape, generator=generator)
        for i in range(5, len(parts) - 1, 2):
            parts[i] = 0.5 * torch.randn(parts[i].shape, generator=generator)
        parts[-1] *= 0.1 * scale if self.bases is None else 0.0
        return flat(parts)

    def forward(self, weights: Tensor, eps: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The maps, [H, n, D] -> [H, n, D], and what each hidden layer put out, [H, n, width]."""
        v, hidden = self._network(weights, eps)
        if self.bases is None:
            return v, hidden
        # in double precision: a narrow head may lie far from the origin
        z = torch.baddbmm(self.bases.locs.unsqueeze(1), v.double(), self.bases.scale_trils.mT)
        return z, hidden

    def _network(self, weights: Tensor, eps: Tensor) -> tuple[Tensor, list[Tensor]]:
        """A_k eps + b_k + g(eps, k), and the hidden layers."""
        if ready(weights, eps):
            return compiled_maps(weights, eps, *self._layout)
        linear, shift, own, first, *layers = views(weights, self.shapes)
        h = elu((eps @ first).add_(own.unsqueeze(1)))
        hidden = [h]
        for matrix, bias in zip(layers[:-1:2], layers[1:-1:2], strict=True):
            h = elu(affine(bias, h.flatten(0, 1), matrix)).view(*eps.shape[:2], -1)
            hidden.append(h)
        v = torch.baddbmm(self.gain * shift.unsqueeze(1), eps, self.gain * linear) + h @ layers[-1]
        return v, hidden

    def gradient(
        self, weights: Tensor, eps: Tensor, hidden: Sequence[Tensor], direction: Tensor
    ) -> Tensor:
        """Gradient in the weights of ``sum(f(eps) * direction)``, direction [H, n, D] held
        constant, by hand: [weights].

        Args:
            hidden: what ``forward`` returned at the same weights and eps.
        """
        layers = views(weights, self.shapes)
        if self.bases is not None:
            direction = direction @ self.bases.scale_trils.to(direction.dtype)
        if ready(weights, eps, direction):
            return compiled_gradient(weights, eps, direction, hidden, *self._layout)
        parts = [product(hidden[-1].flatten(0, 1).T, direction.flatten(0, 1))]
        slope = (direction.flatten(0, 1) @ layers[-1].T).view_as(hidden[-1])
        for i in reversed(range(1, len(hidden))):
            slope = slope * (hidden[i].clamp(max=0) + 1)
            rows = slope.flatten(0, 1)
            parts += [rows.sum(0), product(hidden[i - 1].flatten(0, 1).T, rows)]
            slope = product(rows, layers[2 * i + 2].T).view_as(hidden[i - 1])
        slope = slope * (hidden[0].clamp(max=0) + 1)
        parts += [eps.flatten(0, 1).T @ slope.flatten(0, 1), slope.sum(1)]
        parts += [self.gain * direction.sum(1), self.gain * eps.transpose(1, 2) @ direction]
        return flat(parts[::-1])

    @property
    def _layout(self) -> tuple[list[Where], list[int], float]:
        """Where the weights are, for the compiled passes: A and b stand first, e next."""
        starts = [0, *itertools.accumulate(math.prod(shape) for shape in self.shapes)][:-1]
        linear, shift, own, first, *rest = starts
        inner = list(zip(rest[:-1:2], rest[1:-1:2], [0] * len(rest), strict=False))
        layers = [(first, own, self.hidden[0]), *inner, (rest[-1], shift, self.dim)]
        widths = [self.dim, *self.hidden, self.dim]
        return [*layers, (linear, -1, self.dim**2)], widths, self.gain

    def head(self, weights: Tensor, k: int) -> Pushforward:
        """One head by itself, at rest."""
        linear, shift, own, first, *layers = views(weights.double(), self.shapes)
        shift, linear = self.gain * shift[k], self.gain * linear[k]
        if self.bases is not None:
            turn = self.bases.scale_trils[k].T
            shift, linear = self.bases.locs[k] + shift @ turn, linear @ turn
            layers[-1] = layers[-1] @ turn
        parts = [first, own[k], *layers, shift, linear]
        return SamplerNetwork(Sampler(self.dim, self.dim, self.hidden), flat(parts))

    def at_rest(
        self, weights: Tensor, log_weights: Tensor, diagnostics: Mapping[str, float]
    ) -> PushforwardMixture:
        """A snapshot of all, with the heads' log shares, [H]."""
        heads = tuple(self.head(weights, k) for k in range(self.heads))
        return PushforwardMixture(heads, log_weights.log_softmax(0), diagnostics)
