"""Small parts that several posteriors are made of: seeded random numbers and matrices, and the
normal density.

What a density needs and a seed decides is made when the problem is made, by ``prepare``.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import torch
from torch import Generator, Tensor


def prepare(problem: Any, *names: str) -> None:
    """Fill the named cached properties now, where neither a tracer nor inference mode leaves its
    mark on what is kept.

    Raises:
        ValueError: if settings make a covariance that has no Cholesky factor.
    """
    try:
        with torch.inference_mode(False):
            for name in names:
                getattr(problem, name)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        changed = [
            f"{field.name}={getattr(problem, field.name)!r} (default {field.default!r})"
            for field in fields(problem)
            if getattr(problem, field.name) != field.default
        ]
        raise ValueError(
            f"{type(problem).__name__}: a covariance is singular in double precision with"
            f" {', '.join(changed) or 'its defaults'}: take values nearer to the defaults."
        ) from error


def seeded(seed: int) -> Generator:
    """A generator of its own, so that a problem's fixed data never touch, nor depend on, the global
    random state.
    """
    return torch.Generator().manual_seed(seed)


def normal(generator: Generator, *shape: int) -> Tensor:
    """Independent standard normal numbers from the given generator, [*shape], float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def uniform(generator: Generator, *shape: int) -> Tensor:
    """Uniform numbers on [0, 1), [*shape], float64."""
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def rotation(dim: int, generator: Generator) -> Tensor:
    """An orthogonal matrix drawn uniformly (Haar), [D, D]: QR of a normal matrix, signs settled by
    the diagonal of R.

    Source: Mezzadri, How to generate random matrices from the classical compact groups, 2007, arXiv
    math-ph/0609050.
    """
    q, r = torch.linalg.qr(normal(generator, dim, dim))
    rotated: Tensor = q * r.diagonal().sign()
    return rotated


def stretched_rotation(dim: int, condition: float, generator: Generator) -> Tensor:
    """A factor S, [D, D], of a randomly rotated covariance S S' whose eigenvalues fall log-evenly
    from 1 to 1/condition.
    """
    scales = torch.logspace(0, -0.5 * math.log10(condition), dim, dtype=torch.float64)
    return rotation(dim, generator) * scales


def autoregressive_factor(dim: int, correlation: float) -> Tensor:
    """Cholesky factor, [D, D], of the correlation matrix with entries
    ``correlation ** |i - j|``.
    """
    index = torch.arange(dim, dtype=torch.float64)
    factor: Tensor = torch.linalg.cholesky(torch.pow(correlation, (index[:, None] - index).abs()))
    return factor


def log_normal(x: Tensor, loc: Tensor | float, scale: float) -> Tensor:
    """log N(x; loc, scale^2) entry by entry: [...] -> [...], nats."""
    return -0.5 * ((x - loc) / scale).square() - math.log(scale) - 0.5 * math.log(2 * math.pi)
