"""Samplers: small networks from noise to draws, over one flat vector of weights, fast on one core.

A flat vector makes the optimiser, the clipping, the averaging and the snapshot one operation each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from methods.base import Pushforward
from methods.parts.compiled.networks import Where, compiled_gradient, compiled_maps, ready
from methods.parts.networks.products import affine, product

Shape = tuple[int, ...]
# of Jacobians made at a time: the product of a batch of [width, width] matrices wants memory
ROWS = 4096
MANY = 15_000  # entries from which on five quick operations are quicker than a slow one
LOG2_E = 1 / math.log(2)


def views(weights: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """The layers in a flat vector of weights."""
    parts = weights.split([math.prod(shape) for shape in shapes])  # type: ignore[no-untyped-call]
    return [
        part.view(shape) if len(shape) > 1 else part
        for part, shape in zip(parts, shapes, strict=True)
    ]


def draw(shapes: Sequence[Shape], generator: Generator) -> list[Tensor]:
    """Matrices with entries N(0, 1 / inputs), so that unit inputs give unit outputs; biases
    zero.
    """
    return [
        (
            torch.randn(shape, generator=generator) / math.sqrt(shape[0])
            if len(shape) == 2
            else torch.zeros(shape)
        )
        for shape in shapes
    ]


def flat(parts: Sequence[Tensor]) -> Tensor:
    """Weights by layer put into one vector, copied: the way back from their views."""
    return torch.cat([part.reshape(-1) for part in parts])


def elu(x: Tensor) -> Tensor:
    """ELU, max(x, exp(min(x, 0)) - 1), by the power of two, which torch is twice as quick at."""
    if (
        x.dtype != torch.float32
        or x.numel() < MANY
        or (torch.is_grad_enabled() and x.requires_grad)
    ):
        return functional.elu(x)
    return torch.maximum(x, (x * LOG2_E).clamp_(max=0).exp2_().sub_(1))


@dataclass(frozen=True)
class Sampler:
    r"""z = f(eps): an ELU perceptron, with or without an affine short cut.

    .. math::
        f(\epsilon) = W_L\, \sigma(\dots \sigma(W_1 \epsilon + b_1) \dots) + b_L \; (+\; A \epsilon)

    Args:
        noise_dim: K, length of eps; dim: D, length of z.
        hidden: widths of the hidden layers.
        skip: whether to add ``A eps``. The map then starts near ``scale * eps``, which is
            injective.
    """

    noise_dim: int
    dim: int
    hidden: tuple[int, ...] = (128, 128)
    skip: bool = True

    @property
    def shapes(self) -> list[Shape]:
        """Of the weights, in order: matrix and bias of each layer, then A."""
        widths = (self.noise_dim, *self.hidden, self.dim)
        layers: list[Shape] = [
            shape for pair in itertools.pairwise(widths) for shape in (pair, pair[1:])
        ]
        return [*layers, (self.noise_dim, self.dim)] if self.skip else layers

    def init(self, generator: Generator, scale: float) -> Tensor:
        """Weights, float32, with which each coordinate of z has mean near 0 and standard deviation
        near ``scale``.
        """
        parts = draw(self.shapes, generator)
        for i in range(
            1, 2 * len(self.hidden), 2
        ):  # bends spread over the noise, not all at its centre
            parts[i] = 0.5 * torch.randn(parts[i].shape, generator=generator)
        last = 2 * len(self.hidden)
        if self.skip:
            parts[-1] = scale * torch.eye(self.noise_dim, self.dim)
            parts[last] *= 0.1 * scale
            return flat(parts)
        z = self(flat(parts), torch.randn(4096, self.noise_dim, generator=generator))
        ratio = scale / z.std(0)
        parts[last], parts[last + 1] = parts[last] * ratio, -z.mean(0) * ratio
        return flat(parts)

    def __call__(self, weights: Tensor, eps: Tensor) -> Tensor:
        """The map: [n, K] -> [n, D]."""
        return self.forward(weights, eps)[0]

    def forward(self, weights: Tensor, eps: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The map, [n, K] -> [n, D], and what each hidden layer put out, [n, width]."""
        if ready(weights, eps):
            v, found = compiled_maps(weights, eps.unsqueeze(0), *self._layout)
            return v[0], [h[0] for h in found]
        layers = views(weights, self.shapes)
        hidden, h = [], eps
        for i in range(0, 2 * len(self.hidden), 2):
            h = elu(affine(layers[i + 1], h, layers[i]))
            hidden.append(h)
        i = 2 * len(self.hidden)
        z = affine(layers[i + 1], h, layers[i])
        return (torch.addmm(z, eps, layers[-1]) if self.skip else z), hidden

    def jacobian(self, weights: Tensor, eps: Tensor) -> Tensor:
        r"""df/deps by hand, :math:`W_L \,\mathrm{diag}(\sigma'_{L-1}) W_{L-1} \cdots W_1 \,(+ A)`:
        [n, K] -> [n, D, K].
        """
        layers = views(weights, self.shapes)
        h, product = eps, torch.eye(self.noise_dim, dtype=eps.dtype)
        for i in range(0, 2 * len(self.hidden), 2):
            a = torch.addmm(layers[i + 1], h, layers[i])
            h = functional.elu(a)
            product = (product @ layers[i]) * a.clamp(max=0).exp().unsqueeze(-2)
        product = product @ layers[2 * len(self.hidden)]
        return (product + layers[-1] if self.skip else product).transpose(-1, -2)

    def gradient(
        self, weights: Tensor, eps: Tensor, hidden: Sequence[Tensor], direction: Tensor
    ) -> Tensor:
        """Gradient in the weights of ``sum(f(eps) * direction)``, direction [n, D] held constant,
        by hand: [weights].

        Args:
            hidden: what ``forward`` returned at the same weights and eps.
        """
        if ready(weights, eps, direction):
            head, of_head = eps.unsqueeze(0), direction.unsqueeze(0)
            stored = [h.unsqueeze(0) for h in hidden]
            return compiled_gradient(weights, head, of_head, stored, *self._layout)
        layers = views(weights, self.shapes)
        parts = [product(eps.T, direction)] if self.skip else []
        inputs, slope = [eps, *hidden], direction
        for i in reversed(range(len(inputs))):
            parts += [slope.sum(0), product(inputs[i].T, slope)]
            if i > 0:  # the slope of an ELU is 1 plus its output, where that is negative
                slope = product(slope, layers[2 * i].T) * (inputs[i].clamp(max=0) + 1)
        return flat(parts[::-1])

    @property
    def _layout(self) -> tuple[list[Where], list[int], float]:
        """Where the weights are, for the compiled passes."""
        starts = [0, *itertools.accumulate(math.prod(shape) for shape in self.shapes)]
        pairs = [(starts[i], starts[i + 1], 0) for i in range(0, 2 * len(self.hidden) + 2, 2)]
        skip = starts[2 * len(self.hidden) + 2] if self.skip else -1
        return [*pairs, (skip, -1, 0)], [self.noise_dim, *self.hidden, self.dim], 1.0


class SamplerNetwork(Pushforward):
    """A sampler at rest: a snapshot of its weights, in float64.

    Args:
        sampler: the architecture; weights: [weights], copied.
    """

    def __init__(self, sampler: Sampler, weights: Tensor) -> None:
        self.sampler = sampler
        self.weights = weights.detach().to(torch.float64, copy=True)
        self.noise_dim = sampler.noise_dim

    def forward(self, eps: Tensor) -> Tensor:
        return self.sampler(self.weights, eps)

    def jacobian(self, eps: Tensor) -> Tensor:
        with torch.no_grad():
            blocks = torch.split(eps, ROWS)
            return torch.cat([self.sampler.jacobian(self.weights, rows) for rows in blocks])
