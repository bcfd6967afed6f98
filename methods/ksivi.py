r"""Kernel semi-implicit variational inference: a mixture over noise that descends on its kernel
Stein discrepancy, with no inner loop and no rival.

.. math::
    \min_\phi\ E\, k(z, z') \big\langle \nabla \log p(z) - \nabla_z \log q_\phi(z | \psi),\
    \nabla \log p(z') - \nabla_{z'} \log q_\phi(z' | \psi') \big\rangle, \qquad
    k(z, z') = e^{-\|z - z'\|^2 / 2 h^2}

over independent pairs of draws and the noise behind them. Under the expectation the slope of log
q(z | psi) stands for that of log q(z), so the figure is the squared discrepancy of q from p, and
its estimate from pairs is unbiased. h is the median distance between draws. How mass is shared
between modes far apart is hidden from it, as the slope of log p does not know it.

The loss holds the slope of log p, so its own slope needs the Hessian, times one direction a draw:
two more gradients near by give that product.

Source: Z. Cheng, L. Yu, T. Xie, S. Zhang, C. Zhang, Kernel semi-implicit variational inference,
ICML 2024, arXiv:2405.18997.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.parts.networks.semi_implicit import Batch, Fit, SemiImplicitVI
from methods.parts.record import Recorded

NEAR = 1e-5  # distance of the gradients that make a second derivative, as a share of |z| + 1


@dataclass(frozen=True)
class KSIVI(SemiImplicitVI):
    """A mixture over noise, by its kernel Stein discrepancy.

    Args:
        iterations: length of the run; cut to what ``budget.gradients`` allows.
        batch: draws per step, each of three gradient evaluations.
        noise_dim: length of psi; None for that of z, and at least 10.
        hidden: widths of the network's layers.
        lr: Adam's step size; final_lr: share of it left at the end of its cosine decay.
        clip: largest norm of a gradient in the weights.
        scale: standard deviation of the approximation at the start.
        anneal: share of the run in which log p gains its full weight, starting from N(0, scale^2
            I); 0 for none.
        average: memory of the averaged weights that are yielded, per iteration; 0 for the newest.
        every: iterations between two approximations.

    Raises:
        ValueError: if a field lies outside its range.
        FloatingPointError: from ``run``, if the training diverges.
    """

    lr: float = 5e-3
    name: ClassVar[str] = "ksivi"
    source: ClassVar[str] = "Cheng, Yu, Xie, Zhang, Zhang, 2024, arXiv:2405.18997"

    @property
    def gradients_a_draw(self) -> int:
        return 3

    def directions(self, fit: Fit, batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        z, target = batch.z, fit.target
        _, slope = target.value_and_grad(z, progress)
        gradient = fit.kept.setdefault("discrepancy", Recorded(_gradients))
        width = torch.pdist(z).median()
        by_z, by_slope, by_log_scale = gradient(z, slope, batch.log_scale, batch.eta, width)
        length = torch.linalg.vector_norm(by_slope, dim=-1, keepdim=True).clamp(min=1e-300)
        near = NEAR * (1 + torch.linalg.vector_norm(z, dim=-1, keepdim=True))
        aside = near * by_slope / length
        _, ahead = target.value_and_grad(z + aside, progress)
        _, behind = target.value_and_grad(z - aside, progress)
        by_z = by_z + (ahead - behind) * length / (2 * near)
        return by_z, by_log_scale.sum(0) + (by_z * batch.eta).sum(0) * batch.log_scale.exp()


def discrepancy(z: Tensor, away: Tensor, width: Tensor) -> Tensor:
    """The mean over pairs of different draws, from z and the differences of slopes, [n, D]."""
    n, white = len(z), z / width
    square = white.square().sum(-1, keepdim=True)
    kernel = torch.exp(white @ white.T - 0.5 * (square + square.T))
    products = kernel * (away @ away.T)
    return (products.sum() - products.diagonal().sum()) / (n * (n - 1))


def _gradients(z: Tensor, slope: Tensor, log_scale: Tensor, eta: Tensor, width: Tensor) -> Tensor:
    """Of the discrepancy by z, by the slope of log p and by log s where it stands for itself, with
    the others held fixed: [3, n, D].
    """
    with torch.enable_grad():
        parts = [x.detach().requires_grad_() for x in (z, slope, log_scale.expand_as(z))]
        z, slope, log_scale = parts
        away = slope + eta * (-log_scale).exp()  # log q(z | psi) has the slope -eta / s
        return torch.stack(torch.autograd.grad(discrepancy(z, away, width), parts))
