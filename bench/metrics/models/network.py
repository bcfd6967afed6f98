"""A small network: what tells samples apart where no formula does."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

WIDTH = 64  # of its two hidden layers


def first_weights(inputs: int, generator: Generator, outputs: int = 1) -> list[Tensor]:
    """Weights and biases of its three layers, the last of them 0, so that the network
    starts as 0.
    """
    layers = [
        (torch.randn(a, b, generator=generator) / math.sqrt(a), torch.zeros(b))
        for a, b in itertools.pairwise((inputs, WIDTH, WIDTH))
    ]
    last = torch.zeros(WIDTH, outputs), torch.zeros(outputs)
    found = [*(part for layer in layers for part in layer), *last]
    return [weight.requires_grad_() for weight in found]


def output(weights: list[Tensor], x: Tensor) -> Tensor:
    """The output of a network of one at points: [n, D] -> [n]."""
    return outputs(weights, x)[:, 0]


def outputs(weights: list[Tensor], x: Tensor) -> Tensor:
    """The K outputs of the network at points: [n, D] -> [n, K]."""
    a, b, c, d, e, f = weights
    hidden = functional.silu(torch.addmm(b, x, a))
    return torch.addmm(f, functional.silu(torch.addmm(d, hidden, c)), e)


def descend(adam: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of an optimiser down a loss."""
    weights = [weight for group in adam.param_groups for weight in group["params"]]
    for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = slope
    adam.step()
