r"""What the metrics should read: their population definitions, worked out for Gaussian mixtures.

Each figure is that of a metric with endless draws: truth scaled by its own covariance, bandwidth
the median distance of two of its draws. Closed forms where there are such, else integrals over one
variable.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.optimize import brentq
from scipy.special import chdtr, gammaln, log_ndtr, ndtr, ndtri_exp
from torch import Tensor

from bench.calibration.gaussians import Normals
from bench.metrics.coverage import CLAIMS
from bench.metrics.quantiles import LEVELS

Floats = NDArray[np.float64]
NODES = 2001  # of an integral over one variable
LINES = 50  # directions over which a sliced distance is averaged
FAR = 9.0  # standard deviations beyond which a normal has no mass worth counting


def figures(q: Normals, p: Normals) -> dict[str, float]:
    """Every figure that follows from two laws, by quantity.

    Args:
        q, p: one Gaussian beside a standard normal; or mixtures of the same modes, far apart along
            the first axis.
    """
    x, y = whitened(q, p), whitened(p, p)
    width = median_distance(y)
    one = len(p.weights) == 1
    return {
        "MMD^2": mmd_squared(x, y, width),
        "SW^2": sliced_of_gaussian(x) if one else sliced_of_modes(x, y),
        "KSD^2": (
            ksd_squared(x, width) if one else 0.0
        ),  # within a mode the two gradients agree, and shares are not seen
        "coverage error": coverage_error(q, p),
        "quantile error": float(
            ((quantiles(q, LEVELS) - quantiles(p, LEVELS)).abs() / _sd(p)).max()
        ),
        "mean error": float(((moments(q)[0] - moments(p)[0]).abs() / _sd(p)).max()),
        "sd error": float((_sd(q) / _sd(p) - 1).abs().max()),
        "variance error": float((_sd(q) / _sd(p)).square().mean()) - 1,
    }


def moments(law: Normals) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D]."""
    mean = law.weights @ law.means
    away = law.means - mean
    parts = law.factors @ law.factors.mT + away.unsqueeze(-1) * away.unsqueeze(-2)
    return mean, torch.einsum("k,kij->ij", law.weights, parts)


def _sd(law: Normals) -> Tensor:
    return moments(law)[1].diagonal().sqrt()


def whitened(law: Normals, by: Normals) -> Normals:
    """A law in coordinates that give another mean 0 and covariance I."""
    mean, covariance = moments(by)
    factor = torch.linalg.cholesky(covariance)
    means = torch.linalg.solve_triangular(factor, (law.means - mean).T, upper=False).T
    return Normals(
        law.weights, means, torch.linalg.solve_triangular(factor, law.factors, upper=False)
    )


def median_distance(law: Normals) -> float:
    """Of two draws of a law that is a standard normal in all coordinates but the first, and there a
    mixture.
    """
    t = np.linspace(-FAR, FAR, NODES)
    density = np.exp(-0.5 * t**2)
    weights, at, spread = (
        law.weights.numpy(),
        law.means[:, 0].numpy(),
        math.sqrt(2) * float(law.factors[0, 0, 0]),
    )
    gaps, shares = (at[:, None] - at).ravel(), np.outer(weights, weights).ravel()
    squares = (gaps[:, None] + spread * t) ** 2

    def below(distance: float) -> float:
        rest = chdtr(law.means.shape[1] - 1, np.maximum(distance**2 - squares, 0.0) / 2)
        return float(shares @ (rest @ density) / density.sum()) - 0.5

    return float(brentq(below, 1e-3, 100.0))


def mmd_squared(q: Normals, p: Normals, width: float) -> float:
    """By the integral of a Gaussian kernel over two Gaussians, for each pair of components."""

    def kernel(a: Normals, b: Normals) -> float:
        gap = a.means.unsqueeze(1) - b.means
        spread = (a.factors @ a.factors.mT).unsqueeze(1) + b.factors @ b.factors.mT
        inner = torch.eye(gap.shape[-1], dtype=gap.dtype) + spread / width**2
        way = (gap * torch.linalg.solve(inner, gap)).sum(-1) / width**2
        return float(a.weights @ torch.exp(-0.5 * (inner.logdet() + way)) @ b.weights)

    return kernel(q, q) + kernel(p, p) - 2 * kernel(q, p)


def ksd_squared(q: Normals, width: float) -> float:
    r"""Of N(m, S) from a standard normal.

    .. math:: E[\delta(x) \cdot \delta(x') k], \quad \delta = s_p - s_q = -m - (I - S^{-1})(x - m),
        \quad k = \tfrac{2}{\sqrt\pi} \int_0^\infty e^{-u^2 (1 + \|x - x'\|^2 / h^2)} du

    The sum of x and x' is independent of their difference; what is left are Gaussian integrals of
    the latter.
    """
    mean, covariance = moments(q)
    shift, size = float(mean.square().sum()), torch.linalg.eigvalsh(covariance).numpy()
    lean = (1 - 1 / size) ** 2
    u = np.linspace(0, 7, NODES)
    shrink = 1 + 4 * u[:, None] ** 2 * size / width**2
    level = np.exp(-(u**2)) / np.sqrt(shrink.prod(1))
    inner = shift + 0.5 * (lean * size).sum() - 0.5 * (lean * size / shrink).sum(1)
    return float(2 / math.sqrt(math.pi) * trapezoid(level * inner, u))


def sliced_of_gaussian(q: Normals) -> float:
    r"""Of N(m, S) from a standard normal: the mean over lines of (u.m)^2 + (sqrt(u.Su) - 1)^2.

    .. math::
        E\sqrt{u \cdot S u} = E\sqrt{g \cdot S g} / E\|g\|, \quad E\sqrt Q = \pi^{-1/2}
        \int_0^{\pi/2} (1 - E e^{-Q \tan^2\theta}) / \sin^2\theta \, d\theta, \quad g \sim N(0, I)
    """
    mean, covariance = moments(q)
    dim, size = len(mean), torch.linalg.eigvalsh(covariance).numpy()
    angle = (np.arange(NODES) + 0.5) * (math.pi / 2 / NODES)
    log_moment = -0.5 * np.log1p(2 * np.tan(angle)[:, None] ** 2 * size).sum(1)
    root = (
        float((-np.expm1(log_moment) / np.sin(angle) ** 2).mean())
        * math.pi
        / 2
        / math.sqrt(math.pi)
    )
    length = math.sqrt(2) * math.exp(gammaln((dim + 1) / 2) - gammaln(dim / 2))
    return float(mean.square().sum()) / dim + float(size.mean()) + 1 - 2 * root / length


def sliced_of_modes(q: Normals, p: Normals) -> float:
    """Of mixtures whose modes have one covariance, the unit matrix but for the first axis, along
    which they stand.
    """
    dim, spread = p.means.shape[1], float(p.factors[0, 0, 0])
    angle = (np.arange(LINES) + 0.5) * (math.pi / 2 / LINES)
    weight = np.sin(angle) ** (dim - 2)
    costs = [
        _transport(q, p, float(c), math.hypot(spread * float(c), float(s)))
        for c, s in zip(np.cos(angle), np.sin(angle), strict=True)
    ]
    return float(weight @ np.array(costs) / weight.sum())


def _transport(q: Normals, p: Normals, scale: float, sd: float) -> float:
    """Squared distance of two mixtures on a line: components of spread ``sd`` at the means' first
    coordinate, scaled.
    """
    at_q, at_p = scale * q.means[:, 0].numpy(), scale * p.means[:, 0].numpy()
    low, high = min(at_q.min(), at_p.min()) - FAR * sd, max(at_q.max(), at_p.max()) + FAR * sd
    z = np.linspace(low, high, NODES)
    goal = np.interp(
        _score(p.weights.numpy(), at_p, sd, z), _score(q.weights.numpy(), at_q, sd, z), z
    )
    density = np.exp(-0.5 * ((z[:, None] - at_p) / sd) ** 2) @ p.weights.numpy()
    return float(density @ (z - goal) ** 2 / density.sum())


def _score(weights: Floats, at: Floats, sd: float, z: Floats) -> Floats:
    """The normal quantile of the share of a mixture below each point, to full accuracy in both
    tails.
    """
    away = (z[:, None] - at) / sd
    below, above = (
        np.logaddexp.reduce(log_ndtr(sign * away) + np.log(weights), 1) for sign in (1, -1)
    )
    found: Floats = np.where(
        below < above, ndtri_exp(np.minimum(below, -1e-300)), -ndtri_exp(np.minimum(above, -1e-300))
    )
    return found


def coverage_error(q: Normals, p: Normals) -> float:
    """Largest miss of the central intervals of q."""
    low, high = (quantiles(q, [(1 + sign * claim) / 2 for claim in CLAIMS]) for sign in (-1, 1))
    claims = torch.tensor(CLAIMS, dtype=torch.float64).unsqueeze(-1)
    return float((_share_below(p, high) - _share_below(p, low) - claims).abs().max())


def quantiles(law: Normals, levels: tuple[float, ...] | list[float]) -> Tensor:
    """Of each coordinate, by bisection: levels [P] -> [P, D]."""
    goal = torch.tensor(levels, dtype=torch.float64).unsqueeze(-1).expand(-1, law.means.shape[1])
    reach = float(law.means.abs().max()) + FAR * float(law.factors.abs().max()) * law.means.shape[1]
    low, high = torch.full_like(goal, -reach), torch.full_like(goal, reach)
    for _ in range(64):
        middle = (low + high) / 2
        below = _share_below(law, middle) < goal
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def _share_below(law: Normals, at: Tensor) -> Tensor:
    """Of each coordinate, at points [P, D]."""
    spread = law.factors.square().sum(-1).sqrt()
    away = (at.unsqueeze(1) - law.means) / spread  # [P, K, D]
    return torch.einsum("k,pkd->pd", law.weights, torch.special.ndtr(away))


def weights_left(covariance: Tensor, mean: Tensor) -> float:
    r"""Share of draws of N(m, S) left by weights to a standard normal, 1 / E_q[w^2]: 0 where that
    is infinite.

    .. math:: E_q[w^2] = \prod_i \lambda_i / \sqrt{2 \lambda_i - 1}\; e^{m \cdot (2 S - I)^{-1} m}
    """
    size = torch.linalg.eigvalsh(covariance)
    if bool((size <= 0.5).any()):
        return 0.0
    inner = 2 * covariance - torch.eye(len(mean), dtype=mean.dtype)
    power = (size / (2 * size - 1).sqrt()).log().sum() + mean @ torch.linalg.solve(inner, mean)
    return float(torch.exp(-power))


def best_of_shift(length: float) -> float:
    """Best accuracy between two normals of unit spread."""
    return float(ndtr(length / 2))


def best_of_scale(scale: float, dim: int) -> float:
    """Best accuracy between N(0, s^2 I) and N(0, I): by the distance from the middle."""
    edge = 2 * dim * math.log(scale) / (1 - scale**-2)
    return 0.5 + 0.5 * abs(float(chdtr(dim, edge) - chdtr(dim, edge / scale**2)))


def best_of_correlation(rho: float) -> float:
    """Best accuracy between a pair of correlated normals and two independent ones, by an integral
    over their sum.
    """
    u, wide, narrow = np.linspace(-FAR * 2, FAR * 2, NODES), 1 + rho, 1 - rho
    # of their difference, at the edge
    square = ((1 - 1 / wide) * u**2 - math.log(wide * narrow)) / (1 / narrow - 1)
    edge = np.sqrt(np.maximum(square, 0.0))
    shares = [
        trapezoid(
            np.exp(-0.5 * u**2 / a)
            / math.sqrt(2 * math.pi * a)
            * (2 * ndtr(edge / math.sqrt(b)) - 1),
            u,
        )
        for a, b in ((wide, narrow), (1.0, 1.0))
    ]
    return 0.5 + 0.5 * float(shares[0] - shares[1])
