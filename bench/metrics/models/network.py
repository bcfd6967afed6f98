"""A small network of one output: what tells two samples apart where no formula does."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

WIDTH = 64  # of its two hidden layers


def first_weights(inputs: int, generator: Generator) -> list[Tensor]:
    """Weights and biases of its three layers, the last of them 0, so that the network
    starts as 0.
    """
    layers = [
        (torch.randn(a, b, generator=generator) / math.sqrt(a), torch.zeros(b))
        for a, b in itertools.pairwise((inputs, WIDTH, WIDTH))
    ]
    found = [*(part for layer in layers for part in layer), torch.zeros(WIDTH, 1), torch.zeros(1)]
    return [weight.requires_grad_() for weight in found]


def output(weights: list[Tensor], x: Tensor) -> Tensor:
    """The output of the network at points: [n, D] -> [n]."""
    a, b, c, d, e, f = weights
    hidden = functional.silu(torch.addmm(b, x, a))
    return torch.addmm(f, functional.silu(torch.addmm(d, hidden, c)), e)[:, 0]


def descend(adam: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of an optimiser down a loss."""
    weights = [weight for group in adam.param_groups for weight in group["params"]]
    for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = slope
    adam.step()
