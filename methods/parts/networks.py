"""The two players of Adversarial Variational Bayes: small networks over one flat vector of weights,
fast on one core.

A flat vector makes the optimiser, the clipping, the averaging and the snapshot one operation each.
``Tensor.split`` gives the layers as views, and its gradient is a single concatenation.
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

Shape = tuple[int, ...]
# of Jacobians made at a time: the product of a batch of [width, width] matrices wants memory
ROWS = 4096


def _views(weights: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    parts = weights.split([math.prod(shape) for shape in shapes])  # type: ignore[no-untyped-call]
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _draw(shapes: Sequence[Shape], generator: Generator) -> list[Tensor]:
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


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


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
        parts = _draw(self.shapes, generator)
        for i in range(
            1, 2 * len(self.hidden), 2
        ):  # bends spread over the noise, not all at its centre
            parts[i] = 0.5 * torch.randn(parts[i].shape, generator=generator)
        last = 2 * len(self.hidden)
        if self.skip:
            parts[-1] = scale * torch.eye(self.noise_dim, self.dim)
            parts[last] *= 0.1 * scale
            return _flat(parts)
        z = self(_flat(parts), torch.randn(4096, self.noise_dim, generator=generator))
        ratio = scale / z.std(0)
        parts[last], parts[last + 1] = parts[last] * ratio, -z.mean(0) * ratio
        return _flat(parts)

    def __call__(self, weights: Tensor, eps: Tensor) -> Tensor:
        """The map: [n, K] -> [n, D]."""
        layers = _views(weights, self.shapes)
        h = eps
        for i in range(0, 2 * len(self.hidden), 2):
            h = functional.elu(torch.addmm(layers[i + 1], h, layers[i]))
        i = 2 * len(self.hidden)
        z = torch.addmm(layers[i + 1], h, layers[i])
        return torch.addmm(z, eps, layers[-1]) if self.skip else z

    def jacobian(self, weights: Tensor, eps: Tensor) -> Tensor:
        r"""df/deps by hand, :math:`W_L \,\mathrm{diag}(\sigma'_{L-1}) W_{L-1} \cdots W_1 \,(+ A)`:
        [n, K] -> [n, D, K].
        """
        layers = _views(weights, self.shapes)
        h, product = eps, torch.eye(self.noise_dim, dtype=eps.dtype)
        for i in range(0, 2 * len(self.hidden), 2):
            a = torch.addmm(layers[i + 1], h, layers[i])
            h = functional.elu(a)
            product = (product @ layers[i]) * a.clamp(max=0).exp().unsqueeze(-2)
        product = product @ layers[2 * len(self.hidden)]
        return (product + layers[-1] if self.skip else product).transpose(-1, -2)

    def gradient(self, weights: Tensor, eps: Tensor, direction: Tensor) -> Tensor:
        """Gradient in the weights of ``sum(f(eps) * direction)``, direction [n, D] held constant:
        [weights].
        """
        with torch.enable_grad():
            weights = weights.detach().requires_grad_()
            return torch.autograd.grad(self(weights, eps), weights, direction)[0]


@dataclass(frozen=True)
class Discriminator:
    """T(x): a residual network of SiLU units, smooth because the sampler is taught by its slope.

    Args:
        inputs: length of x; width: of every layer; blocks: residual blocks of two layers each.
    """

    inputs: int
    width: int
    blocks: int

    @property
    def shapes(self) -> list[Shape]:
        """Of the weights, in order: the first layer, four for each block, the last layer."""
        w = (self.width,)
        square = (self.width, self.width)
        return [
            (self.inputs, self.width),
            w,
            *[square, w, square, w] * self.blocks,
            (self.width, 1),
            (1,),
        ]

    def init(self, generator: Generator) -> Tensor:
        """Weights, float32, with which T is near zero everywhere: the verdict `cannot tell`."""
        parts = _draw(self.shapes, generator)
        parts[-2] *= 0.1
        return _flat(parts)

    def __call__(self, weights: Tensor, x: Tensor) -> Tensor:
        """The discriminator T at rows of inputs: [n, inputs] -> [n]."""
        layers = _views(weights, self.shapes)
        h = torch.addmm(layers[1], x, layers[0])
        for i in range(2, 2 + 4 * self.blocks, 4):
            inner = torch.addmm(layers[i + 1], functional.silu(h), layers[i])
            h = h + torch.addmm(layers[i + 3], functional.silu(inner), layers[i + 2])
        return torch.addmm(layers[-1], functional.silu(h), layers[-2]).squeeze(1)

    def loss_gradient(self, weights: Tensor, x: Tensor, offset: Tensor) -> Tensor:
        r"""Gradient in the weights of the logistic loss of the verdict T(x) + offset: [weights].

        .. math:: -\tfrac12 E_q \log \sigma(T) - \tfrac12 E_r \log(1 - \sigma(T))

        Args:
            x: [2 n, inputs], the first half from q, the second from r; offset: [2 n], added to T.
        """
        with torch.enable_grad():
            weights = weights.detach().requires_grad_()
            verdict_q, verdict_r = (self(weights, x) + offset).chunk(2)
            loss = 0.5 * (
                functional.softplus(-verdict_q).mean() + functional.softplus(verdict_r).mean()
            )
            return torch.autograd.grad(loss, weights)[0]

    def slope(self, weights: Tensor, x: Tensor) -> Tensor:
        """dT/dx of each row: [n, inputs] -> [n, inputs]."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(self(weights, x).sum(), x)[0]


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
