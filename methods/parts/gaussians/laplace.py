r"""Where a Gaussian may start, whatever the units: the way up to a mode, and the density's own
curvature there.

L-BFGS climbs log p with one gradient a step; at points along its way the Hessian
:math:`H_B = -B^\top \nabla^2 \log p\, B` is taken by central differences in a frame B that is
rescaled until it is round. As in Pathfinder, several points of the way are offered, for a mode may
lie where a posterior has no mass.

Source: L. Zhang, B. Carpenter, A. Gelman, A. Vehtari, Pathfinder: parallel quasi-Newton variational
inference, 2022, arXiv:2108.03782.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from methods.base import Target
from methods.parts.gaussians.elbo import Frame
from methods.parts.optimisation.lbfgs import minimise

STEPS = 200  # of the climb, at most
FLAT = 1e-3  # nats; the climb ends when five steps gain less
SHARES = (0.1, 0.3, 1.0)  # of the gain in log density: where on the way a start is offered
ROUNDS = 12  # of rescaling a frame
REACH = 1e-3  # of the differences, in units of the frame
ROUND = 2.0  # a frame is round when no curvature in it is further from 1 than by this factor
MOST = 1e4  # factor by which a curvature may change a frame at once
DENSE = 400  # coordinates up to which the frame of a full family has correlations from the start


def starts(target: Target, loc: Tensor, *, full: bool) -> Iterator[Frame]:
    """Gaussians on the way from a point [D] up to a mode, each as narrow as the density is there.

    Args:
        target: the density, finite at loc.
        loc: where the climb begins.
        full: whether they have correlations.
    """
    path = torch.stack([loc, *(x for _, x in _climb(target, loc))])
    yield from offered(target, path, target.value_and_grad(path)[0], full=full)


def offered(target: Target, path: Tensor, values: Tensor, *, full: bool) -> Iterator[Frame]:
    """Gaussians at a few points of a way up, each as narrow as the density is there.

    Args:
        target: the density.
        path: the way, [n, D]; values: log densities on it, [n], nats.
        full: whether they have correlations.
    """
    gain = (values - values[0]) / (values[-1] - values[0]).clamp(min=1e-300)
    for i in dict.fromkeys(int((gain >= share).double().argmax()) for share in SHARES):
        yield curved(target, path[i], full=full)


def _climb(target: Target, loc: Tensor) -> Iterator[tuple[float, Tensor]]:
    def loss(z: Tensor) -> tuple[float, Tensor]:
        value, gradient = target.value_and_grad(z)
        return -float(value), -gradient

    return itertools.islice(minimise(loss, loc, tolerance=FLAT), STEPS)


def curved(target: Target, loc: Tensor, *, full: bool) -> Frame:
    """The frame at a point in which the density has curvature 1 in each direction, up to a factor
    of ROUND; directions in which it bends upwards, or not at all, keep to the last width tried.
    """
    factor = torch.ones_like(loc)
    for _ in range(ROUNDS):  # the diagonal first, for units
        curvature = bend(target, Frame(loc, factor.diag())).diagonal()
        change, settled = _change(curvature)
        factor = factor * change
        if settled:
            break
    if not full or len(loc) > DENSE:
        return Frame(loc, factor.diag() if full else factor)
    matrix = factor.diag()
    for _ in range(ROUNDS):
        eigenvalues, vectors = torch.linalg.eigh(bend(target, Frame(loc, matrix)))
        change, settled = _change(eigenvalues)
        root = matrix @ (vectors * change)  # root root^T is the covariance
        matrix = triangular(root)
        if settled:
            break
    return Frame(loc, matrix)


def _change(curvature: Tensor) -> tuple[Tensor, bool]:
    """Factors of the widths that bring curvatures [D] to 1, and whether they are near it."""
    up = curvature <= 0
    bounded = curvature.clamp(1 / MOST, MOST).masked_fill(up, 1.0)
    return bounded.rsqrt(), bool((up | ((bounded < ROUND) & (bounded > 1 / ROUND))).all())


def triangular(root: Tensor) -> Tensor:
    """The lower triangular L with a positive diagonal and L L^T = root root^T: [D, K] -> [D, D],
    K at least D.
    """
    matrix: Tensor = torch.linalg.qr(root.T)[1].T
    return matrix * matrix.diagonal().sign()


def bend(target: Target, frame: Frame) -> Tensor:
    """Minus the Hessian of log p in units of a frame, [D, D], by differences of 2 D gradients; 0
    where they are not finite.
    """
    steps = REACH * frame.factor.T  # one direction a row
    slopes = target.value_and_grad(torch.cat([frame.loc + steps, frame.loc - steps]))[1]
    ahead, behind = frame.pull(slopes).chunk(2)
    matrix = ((behind - ahead) / (2 * REACH)).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return 0.5 * (matrix + matrix.T)
