r"""A frame in which a posterior is round, from points and the gradients there, wherever the points
are.

.. math:: A\, \mathrm{Cov}(g)\, A = \mathrm{Cov}(z), \qquad
   A = T^{-1/2} (T^{1/2} S\, T^{1/2})^{1/2} T^{-1/2}

with S the covariance of the points z and T that of the gradients g of log p. Of all affine maps it
is the one after which the density is nearest to a standard normal in the sense of Fisher. For a
Gaussian it is exactly the covariance of the posterior, from one look at more points than
coordinates, scattered at will; so chains need not have arrived for it to be learnt.

Source: A. Seyboldt, E. L. Carlson, B. Carpenter, Preconditioning Hamiltonian Monte Carlo by
minimizing Fisher divergence, 2026, arXiv:2603.18845.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.parts.sampling.hmc import Frame

FEWEST = 2  # points per coordinate; with fewer the frame has no correlations
PRIOR = 1e-8  # points' worth of the unit matrix that a covariance is mixed with
SMALLEST = 1e-12  # eigenvalue, as a share of the largest


def fisher_frame(z: Tensor, gradient: Tensor, *, dense: bool) -> Frame:
    """The frame of points [n, D] and the gradients of the log density there [n, D].

    Args:
        dense: whether it has correlations, where there are points enough to tell them.
    """
    n, dim = z.shape
    spread, slope = z.std(0).clamp(min=1e-150), gradient.std(0).clamp(min=1e-150)
    scale = (spread / slope).sqrt()
    loc, steep = z.mean(0), gradient.mean(0)
    if not dense or n < FEWEST * dim or dim == 1:
        return Frame(loc + scale.square() * steep, scale.diag())
    points, pull = (z - loc) / scale, (gradient - steep) * scale
    unit = _geometric(_covariance(points), _covariance(pull))
    root, info = torch.linalg.cholesky_ex(unit)
    if bool(info) or not bool(root.isfinite().all()):
        root = torch.eye(dim, dtype=z.dtype)
    root = scale.unsqueeze(-1) * root
    return Frame(loc + root @ (root.T @ steep), root)


def _covariance(x: Tensor) -> Tensor:
    """Of centred rows [n, D], mixed with a multiple of the unit matrix of the same size."""
    n, dim = x.shape
    s = x.T @ x
    size = s.diagonal().median() / n
    return (s + PRIOR * size * torch.eye(dim, dtype=x.dtype)) / (n + PRIOR)


def _geometric(s: Tensor, t: Tensor) -> Tensor:
    """The symmetric A with A t A = s."""
    root = _power(t, 0.5)
    back = _power(t, -0.5)
    a = back @ _power(root @ s @ root, 0.5) @ back
    return 0.5 * (a + a.T)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(0.5 * (matrix + matrix.T))
    values = values.clamp(min=SMALLEST * float(values[-1].clamp(min=1e-300)))
    powered: Tensor = (vectors * values.pow(exponent)) @ vectors.T
    return powered
