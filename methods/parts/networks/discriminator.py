"""The rival of a sampler: a residual network that tells its draws from others, gradients by hand.

Its steps are most of the cost of Adversarial Variational Bayes. A backward pass by hand takes half
the operations of one by autograd, and is compiled where the machine has a C compiler; ``__call__``
can be differentiated where that is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional

from methods.parts.compiled.networks import ready
from methods.parts.networks.products import affine, product
from methods.parts.networks.sampler import Shape, draw, flat, views

Activation = Literal["silu", "leaky-relu"]
LEAK = 0.2  # slope of a leaky ReLU on the negative side: the authors'


@dataclass(frozen=True)
class Pass:
    """What a forward pass leaves for the backward one.

    Args:
        layers: of the weights, as ``shapes`` has them; x: the rows, [n, inputs].
        before, after: each activation's input and output, [n, width], in order.
    """

    layers: list[Tensor]
    x: Tensor
    before: list[Tensor]
    after: list[Tensor]


@dataclass(frozen=True)
class Discriminator:
    """T(x): a residual network, smooth because the sampler is taught by its slope.

    Args:
        inputs: length of x; width: of every layer; blocks: residual blocks of two layers each.
        activation: ``silu``, or ``leaky-relu``, whose slope is 0.2 on the negative side.
        zero_last: whether the last layer starts at zero, and so T.
    """

    inputs: int
    width: int
    blocks: int
    activation: Activation = "silu"
    zero_last: bool = False

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
        parts = draw(self.shapes, generator)
        parts[-2] *= 0.0 if self.zero_last else 0.1
        return flat(parts)

    def __call__(self, weights: Tensor, x: Tensor) -> Tensor:
        """The discriminator T at rows of inputs: [n, inputs] -> [n]."""
        return self.forward(weights, x)[0]

    def forward(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pass]:
        """T, [n, inputs] -> [n], and what its backward pass needs."""
        layers = views(weights, self.shapes)
        h = affine(layers[1], x, layers[0])
        before, after = [], []
        for i in range(2, 2 + 4 * self.blocks, 4):
            before.append(h)
            after.append(self._bend(h))
            before.append(affine(layers[i + 1], after[-1], layers[i]))
            after.append(self._bend(before[-1]))
            h = h + affine(layers[i + 3], after[-1], layers[i + 2])
        before.append(h)
        after.append(self._bend(h))
        verdict = torch.addmm(layers[-1], after[-1], layers[-2]).squeeze(1)
        return verdict, Pass(layers, x, before, after)

    def backward(self, seen: Pass, by_verdict: Tensor) -> list[Tensor]:
        """Gradients by what each layer puts out, first layer first, from that by the verdict, [n]:
        [n, width] each, the last one [n, 1].
        """
        matrices = seen.layers[::2]
        slope = by_verdict.unsqueeze(1)
        slopes = [slope]
        slope = self._straighten(slope * matrices[-1].T, seen.before[-1])
        for i in range(2 * self.blocks - 1, 0, -2):
            inner = self._straighten(product(slope, matrices[i + 1].T), seen.before[i])
            slopes += [slope, inner]
            slope = slope + self._straighten(product(inner, matrices[i].T), seen.before[i - 1])
        return [slope, *slopes[::-1]]

    def loss_gradient(
        self, weights: Tensor, x: Tensor, offset: Tensor, shares: Tensor | None = None
    ) -> Tensor:
        r"""Gradient in the weights of the logistic loss of the verdict T(x) + offset: [weights].

        .. math:: -\tfrac12 E_q \log \sigma(T) - \tfrac12 E_r \log(1 - \sigma(T))

        Args:
            x: [2 n, inputs], the first half from q, the second from r; offset: [2 n], added to T;
                shares: what each row counts, [2 n], a half for either side; None for all alike.
        """
        if ready(weights, x, offset):
            alike = x.new_full((len(x),), 1 / len(x)) if shares is None else shares
            gradient: Tensor = torch.ops.postbench.teach(weights, x, offset, alike, *self._sizes)
            return gradient
        verdict, seen = self.forward(weights, x)
        # the loss falls by 1 - sigma(T) on q, and rises by sigma(T) on r
        is_q = torch.arange(len(x), device=x.device) < len(x) // 2
        rise = (verdict + offset).sigmoid() - is_q.float()
        slopes = self.backward(seen, rise / len(x) if shares is None else rise * shares)
        parts = [
            part
            for inputs, slope in zip([x, *seen.after], slopes, strict=True)
            for part in (product(inputs.T, slope), slope.sum(0))
        ]
        return flat(parts)

    def slope(self, weights: Tensor, x: Tensor) -> Tensor:
        """dT/dx of each row: [n, inputs] -> [n, inputs]."""
        return self.judge(weights, x)[1]

    def judge(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """T and dT/dx of each row: [n, inputs] -> [n], [n, inputs]."""
        if ready(weights, x):
            found: tuple[Tensor, Tensor] = torch.ops.postbench.judge(weights, x, *self._sizes)
            return found
        verdict, seen = self.forward(weights, x)
        by_first = self.backward(seen, torch.ones_like(verdict))[0]
        return verdict, product(by_first, seen.layers[0].T)

    @property
    def _sizes(self) -> tuple[int, int, float]:
        """As the compiled passes take them; a leak below zero stands for ``silu``."""
        return self.width, self.blocks, -1.0 if self.activation == "silu" else LEAK

    def _bend(self, h: Tensor) -> Tensor:
        return functional.silu(h) if self.activation == "silu" else functional.leaky_relu(h, LEAK)

    def _straighten(self, slope: Tensor, h: Tensor) -> Tensor:
        """The gradient by the input h of an activation, from that by its output."""
        by_input: Tensor
        if self.activation == "silu":
            by_input = torch.ops.aten.silu_backward(slope, h)
        else:
            by_input = torch.ops.aten.leaky_relu_backward(slope, h, LEAK, False)
        return by_input
