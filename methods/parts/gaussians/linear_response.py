r"""The covariance that mean-field VB leaves out, from how its means answer a tilt of the target.

.. math::
    \hat\Sigma = \frac{\partial E_{q_t} z}{\partial t^\top} \Big|_{t = 0}
    = \big[(-\nabla^2_x\, \mathrm{ELBO})^{-1}\big]_{mm},
    \qquad q_t \text{ the best } q \text{ for } p(z)\, e^{t^\top z}

Of the true posterior the derivative is the covariance, whatever its shape; of q it is as good as
its means are under small tilts, and exact for a Gaussian. The Hessian comes by central differences
of the gradient in the frame of q, on fixed draws.

Source: R. Giordano, T. Broderick, M. I. Jordan, Covariances, robustness, and variational Bayes,
2018, JMLR 19(51), arXiv:1709.02536.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.device import seen_from
from methods.parts.gaussians.elbo import Frame, Loss, normals
from methods.parts.gaussians.gaussian import Gaussian

DRAWS = 4096  # at least, and 4 D
REACH = 1e-3  # of the differences, in units of the frame


def corrected(q: Gaussian, target: Target, generator: Generator, device: str = "cpu") -> Gaussian:
    """A diagonal Gaussian at its optimum, with the covariance of its linear response, on draws of
    the device.

    Raises:
        FloatingPointError: if the ELBO is not concave there, so that q is no optimum.
    """
    dim = len(q.loc)
    draws = 1 << (max(DRAWS, 4 * dim) - 1).bit_length()
    frame = Frame(q.loc, q.scale_tril)
    loss = Loss(seen_from(device, target), normals(draws, dim, generator).to(device))
    hessian = _hessian(loss, frame.on(device)).cpu()
    root, info = torch.linalg.cholesky_ex(hessian)
    if int(info) or not bool(root.isfinite().all()):
        raise FloatingPointError(
            "GaussianVB(linear_response=True) found a mean field that is no optimum: the ELBO is"
            " not concave there. Try a smaller tolerance, more iterations, or covariance='full'."
        )
    response = torch.cholesky_inverse(root)[:dim, :dim]
    factor = frame.factor[:, None] * torch.linalg.cholesky(response)
    return Gaussian(q.loc, factor, q.diagnostics)


def _hessian(loss: Loss, frame: Frame) -> Tensor:
    """Of minus the ELBO in the parameters of a frame, [P, P]."""
    origin = loss.origin(frame)
    rows = [
        (loss(frame, step)[1] - loss(frame, -step)[1]) / (2 * REACH)
        for step in REACH * torch.diag(torch.ones_like(origin))
    ]
    matrix = torch.stack(rows)
    return 0.5 * (matrix + matrix.T)
