r"""The gradient of a square sampler's exact log |det J|, by hand, beside that of its draws.

The Jacobian of a perceptron is a product of its matrices, with the slopes of its bends between,

.. math:: J^\top = W_1 D_1 W_2 D_2 \cdots W_L \;(+ A), \qquad \nabla_J \log |\det J| = J^{-\top}

so the backward pass is as many products more, all of them [n K, width] by [width, width]. Bends are
ELUs: the slope d is 1 + min(h, 0) of the output h, and its own slope, by the input, is d where
h < 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.parts.networks.products import product
from methods.parts.networks.sampler import Sampler, flat, views


def gradient(
    sampler: Sampler,
    weights: Tensor,
    eps: Tensor,
    hidden: Sequence[Tensor],
    direction: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradient in the weights of ``sum(f(eps) * direction) - mean(log |det J|)``, [weights], and
    log |det J|, [n], float64.

    Args:
        sampler: a square one; weights, eps, hidden: what its ``forward`` was given and returned.
        direction: [n, D], held constant.
    """
    layers = views(weights, sampler.shapes)
    matrices = layers[: 2 * len(hidden) + 1 : 2]
    bends = [h.clamp(max=0) + 1 for h in hidden]
    straight, bent = _products(matrices, bends)
    jacobian = _times(bent[-1], matrices[-1])
    if sampler.skip:
        jacobian = jacobian + layers[-1]
    # few numbers, and a determinant near zero is where precision is short
    inverse = torch.linalg.inv_ex(jacobian.double()).inverse
    log_det = -torch.linalg.slogdet(inverse).logabsdet
    by_jacobian = (inverse.transpose(1, 2) / -len(eps)).float()

    by_matrix, by_input = [_crossed(bent[-1], by_jacobian)], []
    slope = _times(by_jacobian, matrices[-1].T)
    for i in reversed(range(len(bends))):
        by_bend = (slope * straight[i]).sum(1)
        by_input.append(by_bend * bends[i] * (hidden[i] < 0))
        slope = slope * bends[i].unsqueeze(1)
        by_matrix.append(_crossed(bent[i - 1], slope) if i else slope.sum(0))
        if i:
            slope = _times(slope, matrices[i].T)

    parts = [by_jacobian.sum(0) + product(eps.T, direction)] if sampler.skip else []
    inputs, slope = [eps, *hidden], direction
    for i in reversed(range(len(inputs))):
        parts += [slope.sum(0), product(inputs[i].T, slope) + by_matrix[len(hidden) - i]]
        if i:
            slope = product(slope, matrices[i].T) * bends[i - 1] + by_input[len(hidden) - i]
    return flat(parts[::-1]), log_det


def _products(
    matrices: Sequence[Tensor], bends: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """W_1, W_1 D_1 W_2, ... and W_1 D_1, W_1 D_1 W_2 D_2, ...: [n, K, width]."""
    straight, bent = [matrices[0].unsqueeze(0)], [matrices[0] * bends[0].unsqueeze(1)]
    for matrix, bend in zip(matrices[1:-1], bends[1:], strict=True):
        straight.append(_times(bent[-1], matrix))
        bent.append(straight[-1] * bend.unsqueeze(1))
    return straight, bent


def _times(a: Tensor, b: Tensor) -> Tensor:
    """[n, K, p] times [p, q] -> [n, K, q]."""
    return product(a.flatten(0, 1), b).view(*a.shape[:2], -1)


def _crossed(a: Tensor, b: Tensor) -> Tensor:
    """Sum over rows and K of a^T b: [n, K, p], [n, K, q] -> [p, q]."""
    return product(a.flatten(0, 1).T, b.flatten(0, 1))
