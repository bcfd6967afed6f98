r"""Gaussians along the path of L-BFGS: the inverse Hessian that its steps imply at each point, as a
diagonal plus a low rank.

.. math::
    H_l = \mathrm{diag}(\alpha_l) + \beta \gamma \beta^\top, \quad \beta = [\mathrm{diag}(\alpha_l)
    Y, S], \quad \gamma = \begin{pmatrix} 0 & -R^{-1} \\ -R^{-\top} & R^{-\top} (E + Y^\top
    \mathrm{diag}(\alpha_l) Y) R^{-1} \end{pmatrix}

with S the last steps and Y the changes of the gradient of -log p as columns, R the upper triangle
of :math:`S^\top Y` and E its diagonal. The diagonal follows the curvature along each step.

Source: R. H. Byrd, J. Nocedal, R. B. Schnabel, Representations of quasi-Newton matrices, 1994,
doi:10.1007/BF01582063; the diagonal: J. C. Gilbert, C. Lemaréchal, Some numerical experiments with
variable-storage quasi-Newton algorithms, 1989, doi:10.1007/BF01589113.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CURVED = 1e-12  # least cosine-like s.y / y.y of a pair that counts, as in the paper


@dataclass(frozen=True, eq=False)
class PathGaussian:
    """N(loc, factor factor^T), the factor any square root.

    Args:
        loc: [D].
        factor: [D, D].
        log_det: log of the absolute determinant of the factor.
    """

    loc: Tensor
    factor: Tensor
    log_det: float


def gaussians(points: Tensor, slopes: Tensor, memory: int) -> Iterator[PathGaussian | None]:
    """One Gaussian a step of a path, or None where its inverse Hessian is not positive definite.

    Args:
        points: of the path, [n + 1, D]; slopes: the gradients of log p there.
        memory: how many past steps an inverse Hessian is made of.
    """
    alpha = torch.ones_like(points[0])
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=memory)
    for i in range(1, len(points)):
        step, change = points[i] - points[i - 1], slopes[i - 1] - slopes[i]
        if float(step @ change) > CURVED * float(change @ change):
            alpha = _follow(alpha, step, change)
            pairs.append((step, change))
        yield _gaussian(points[i], slopes[i], alpha, pairs)


def _follow(alpha: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """The diagonal after one more pair, [D]."""
    a, b, c = change @ (alpha * change), change @ step, step @ (step / alpha)
    new: Tensor = a / (b * alpha) + change.square() / b - a * step.square() / (b * c * alpha**2)
    return 1 / new


def _gaussian(
    z: Tensor, slope: Tensor, alpha: Tensor, pairs: deque[tuple[Tensor, Tensor]]
) -> PathGaussian | None:
    """At a point [D], one Newton step ahead of it."""
    width = alpha.sqrt()
    if not (bool(width.isfinite().all()) and bool((width > 0).all())):
        return None
    if not pairs:
        return PathGaussian(z + alpha * slope, width.diag(), float(width.log().sum()))
    steps, changes = (torch.stack(part, 1) for part in zip(*pairs, strict=True))
    # in units of the diagonal the inverse Hessian is I + Q (triangle gamma triangle^T) Q^T
    basis, triangle = torch.linalg.qr(
        torch.cat([width[:, None] * changes, steps / width[:, None]], 1)
    )
    core = triangle @ _gamma(steps, changes, alpha) @ triangle.T
    root, info = torch.linalg.cholesky_ex(torch.eye(len(core), dtype=core.dtype) + core)
    if int(info) or not bool(root.isfinite().all()):
        return None
    inner = root - torch.eye(len(core), dtype=core.dtype)
    factor = width[:, None] * (torch.eye(len(z), dtype=z.dtype) + basis @ inner @ basis.T)
    log_det = float(width.log().sum() + root.diagonal().log().sum())
    return PathGaussian(z + factor @ (factor.T @ slope), factor, log_det)


def _gamma(steps: Tensor, changes: Tensor, alpha: Tensor) -> Tensor:
    """The middle of the low rank, [2 J, 2 J]."""
    products = steps.T @ changes
    upper, nothing = products.triu(), torch.zeros_like(products)
    inverse: Tensor = torch.linalg.inv(upper)
    middle = products.diagonal().diag() + changes.T @ (alpha[:, None] * changes)
    return torch.cat(
        [
            torch.cat([nothing, -inverse], 1),
            torch.cat([-inverse.T, inverse.T @ middle @ inverse], 1),
        ]
    )
