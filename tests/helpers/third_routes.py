"""Two posteriors reached in ways that no reference was made in: conditional draws and quadrature,
with no density shared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from problems.horseshoe import Horseshoe
from problems.poisson_effects import PoissonEffects
from tests.helpers.reference_problems import raw, unit

WARM_UP = 100  # sweeps


def horseshoe_means(
    problem: Horseshoe, centre: Tensor, chains: int, sweeps: int, generator: Generator
) -> Tensor:
    """Average of (beta, log lambda, log tau, log sigma) and of their squared distances from a
    centre [22], by Gibbs sampling.

    Args:
        problem: whose settings count.
        centre: where the distances are taken from, [22].
        chains, sweeps: how many, and how long after the warm-up.
        generator: the only source of randomness.

    Returns:
        The average over the sweeps of each chain, [chains, 44].
    """
    path = _gibbs(problem, chains, generator)
    kept = torch.stack(list(itertools.islice(path, WARM_UP, WARM_UP + sweeps)))
    return torch.cat((kept, (kept - centre).square()), -1).mean(0)


def _gibbs(problem: Horseshoe, chains: int, generator: Generator) -> Iterator[Tensor]:
    """Sweep after sweep, [chains, 22].

    A half-Cauchy is an inverse gamma whose rate is one, too; so all but sigma, half-normal, is
    drawn from its conditional. Source: E. Makalic, D. F. Schmidt, A simple sampler for the
    horseshoe estimator, 2016, arXiv:1508.03884.
    """
    data = unit(raw("diabetes"))
    x, y = data[:, :-1], data[:, -1]
    rows, count = x.shape
    guess = problem.relevant / (count - problem.relevant) / math.sqrt(rows)
    # lambda^2, t^2, sigma^2
    local, t2, s2 = (torch.ones(chains, k, dtype=torch.float64) for k in (count, 1, 1))
    local_rate, t2_rate = local, t2
    while True:
        beta = _weights(x.T @ x, x.T @ y, guess**2 * t2 * local, s2, generator)
        scaled = beta.square() / (2 * guess**2 * s2)
        local = _inverse_gamma(1.0, 1 / local_rate + scaled / t2, generator)
        t2 = _inverse_gamma(
            (count + 1) / 2, 1 / t2_rate + (scaled / local).sum(-1, keepdim=True), generator
        )
        local_rate, t2_rate = (
            _inverse_gamma(1.0, 1 + 1 / local, generator),
            _inverse_gamma(1.0, 1 + 1 / t2, generator),
        )
        misfit = (y - beta @ x.T).square().sum(-1, keepdim=True)
        misfit = misfit + (beta.square() / (guess**2 * t2 * local)).sum(-1, keepdim=True)
        new = _inverse_gamma((rows + count - 1) / 2, misfit / 2, generator)
        taken = torch.rand(new.shape, generator=generator, dtype=torch.float64) < torch.exp(
            (s2 - new) / 2
        )
        s2 = torch.where(taken, new, s2)
        yield torch.cat(
            (beta, local.log() / 2, (s2 * t2).log() / 2 + math.log(guess), s2.log() / 2), -1
        )


def _weights(
    gram: Tensor, moment: Tensor, variance: Tensor, s2: Tensor, generator: Generator
) -> Tensor:
    """beta given the scales: normal of precision (gram + 1 / variance) / sigma^2, [chains, K]."""
    factor = torch.linalg.cholesky(gram + torch.diag_embed(1 / variance))
    mean = torch.cholesky_solve(moment.expand(len(s2), -1).unsqueeze(-1), factor)
    noise = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
    spread: Tensor = torch.linalg.solve_triangular(factor.mT, noise, upper=True)
    return (mean + s2.sqrt().unsqueeze(-1) * spread).squeeze(-1)


def _inverse_gamma(shape: float, rate: Tensor, generator: Generator) -> Tensor:
    return rate / torch._standard_gamma(torch.full_like(rate, shape), generator=generator)


def poisson_quadrature(
    problem: PoissonEffects, low: Tensor, high: Tensor, points: int
) -> tuple[float, Tensor, Tensor]:
    """Log Z in nats, and means and standard deviations of (a, b, log tau), [3] each.

    Given these three, the groups are independent, and each effect is integrated out on its own.

    Args:
        problem: whose data and settings count.
        low, high: corners of a box around the posterior, [3].
        points: of the trapezoidal rule along a side; twice as many along an effect.
    """
    axes = [
        torch.linspace(float(i), float(j), points, dtype=torch.float64)
        for i, j in zip(low, high, strict=True)
    ]
    a, b, log_tau = axes
    u, counts = torch.linspace(-7, 7, 2 * points, dtype=torch.float64), problem.counts
    size = (b[:, None, None] * counts.x).exp().sum(-1)[:, :, None]  # [b, J, 1]
    seen = counts.y.sum(-1)[:, None]  # [J, 1]
    prior_u = _log_normal(u, 1.0) + (u[1] - u[0]).log()
    slices = []
    for spread in log_tau.exp():
        eta = (a[:, None] + spread * u)[:, None, None, :]
        slices.append((seen * eta - eta.exp() * size + prior_u).logsumexp(-1).sum(-1))  # [a, b]
    joint = (
        torch.stack(slices, -1)
        + ((counts.x * counts.y).sum() * b)[:, None]
        - torch.lgamma(counts.y + 1).sum()
    )
    joint = joint + _log_normal(a, problem.intercept_scale)[:, None, None]
    joint = joint + _log_normal(b, problem.slope_scale)[:, None]
    joint = joint + math.log(2) + _log_normal(log_tau.exp(), problem.spread_scale) + log_tau
    mass = joint.logsumexp((0, 1, 2))
    shares = [(joint - mass).exp().sum([d for d in range(3) if d != axis]) for axis in range(3)]
    mean = torch.stack([share @ axis for share, axis in zip(shares, axes, strict=True)])
    sd = torch.stack(
        [
            (share @ (axis - m).square()).sqrt()
            for share, axis, m in zip(shares, axes, mean, strict=True)
        ]
    )
    return float(mass) + sum(math.log(axis[1] - axis[0]) for axis in axes), mean, sd


def _log_normal(x: Tensor, scale: float) -> Tensor:
    return -0.5 * (x / scale).square() - math.log(scale * math.sqrt(2 * math.pi))
