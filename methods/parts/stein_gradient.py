r"""The slope of the log density of a law that is known by draws alone, by the eigenfunctions of a
kernel.

.. math::
    \nabla \log q(x) \approx \sum_{j=1}^J \beta_j \psi_j(x), \qquad
    \beta_j = -E_q \nabla \psi_j(x)

with psi_j the eigenfunctions of the kernel under q, which Nystroem's method has from the
eigenvectors of the kernel's matrix; the coefficients follow from Stein's identity. At the n draws
themselves all of it comes to

.. math:: G = U_J \Lambda_J^{-1} U_J^T A, \qquad A_l = -\sum_m \nabla_{x_m} k(x_m, x_l)

Source: J. Shi, S. Sun, J. Zhu, A spectral approach to gradient estimation for implicit
distributions, ICML 2018, arXiv:1806.02925.
"""

from __future__ import annotations

import torch
from torch import Tensor


def score(draws: Tensor, share: float) -> Tensor:
    """Slope of log q at its draws, [n, D] -> [n, D], float64.

    Args:
        draws: of q, float64.
        share: of the sum of the eigenvalues; the largest ones that make it up are kept.
    """
    width = torch.pdist(draws).median()
    white = draws / width
    square = white.square().sum(-1, keepdim=True)
    kernel = torch.exp((white @ white.T - 0.5 * (square + square.T)).clamp(max=0.0))
    values, vectors = torch.linalg.eigh(kernel)  # from the smallest to the largest
    explained = values.flip(0).cumsum(0) / values.sum()
    kept = int((explained < share).sum()) + 1
    values, vectors = values[-kept:], vectors[:, -kept:]
    # of the Gaussian kernel: sum_m (x_m - x_l) k(x_m, x_l) / h^2
    slopes = (kernel @ draws - draws * kernel.sum(1, keepdim=True)) / width**2
    found: Tensor = vectors @ ((vectors.T @ slopes) / values.unsqueeze(1))
    return found
