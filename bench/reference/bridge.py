r"""Log Z by bridge sampling: draws of the posterior on one side, of a fitted mixture on the other,
and a ratio that balances.

.. math:: Z = \frac{E_q[\, p / (s_p p / Z + s_q q) \,]}{E_p[\, q / (s_p p / Z + s_q q) \,]}

solved by iteration, with equal shares s. The chains are dealt in two halves: q is fitted to one and
bridged to the other, and the other way round, so that no draw meets a q that knows it. The standard
error counts the draws of a chain by their autocorrelation.

Source: X.-L. Meng, W. H. Wong, Simulating ratios of normalizing constants via a simple identity,
1996; Q. F. Gronau et al., A tutorial on bridge sampling, 2017, arXiv:1703.05984; error by S.
Frühwirth-Schnatter, 2004, doi:10.1111/j.1368-423X.2004.00125.x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.metrics.draws.chains import ess_mean
from bench.metrics.models.bridge import balanced
from bench.metrics.models.gaussian_mixture import Gaussians, fitted

COMPONENTS = (1, 2, 4, 8)  # of the mixtures tried
MOST = 30_000  # draws of each half: more would cost time and change little


@dataclass(frozen=True)
class LogZ:
    """An estimate of the log of the integral of the density.

    Args:
        value, stderr: nats.
        overlap: of posterior and proposal, 1 where they are the same; the less of the halves.
        components: of the proposals.
        apart: by how many standard errors the halves differ.
    """

    value: float
    stderr: float
    overlap: float
    components: tuple[int, int]
    apart: float


@dataclass(frozen=True)
class _Half:
    value: float
    stderr: float
    overlap: float
    components: int


def log_z(chains: Tensor, log_density: Callable[[Tensor], Tensor], generator: Generator) -> LogZ:
    """Bridge sampling from chains [chains, draws, D] of the posterior.

    Args:
        chains: two or more.
        log_density: [n, D] -> [n], nats, unnormalised.
        generator: the only source of randomness.

    Raises:
        ArithmeticError: if no proposal can be fitted, or it has nothing in common with the
            posterior.
    """
    half = len(chains) // 2
    every = max(1, half * chains.shape[1] // MOST)
    thin = chains[:, ::every]
    a, b = (
        _half(x, y, log_density, generator)
        for x, y in ((thin[:half], thin[half:]), (thin[half:], thin[:half]))
    )
    stderr = 0.5 * math.hypot(a.stderr, b.stderr)
    apart = abs(a.value - b.value) / math.hypot(a.stderr, b.stderr)
    return LogZ(
        (a.value + b.value) / 2,
        stderr,
        min(a.overlap, b.overlap),
        (a.components, b.components),
        apart,
    )


def _half(
    known: Tensor, chains: Tensor, log_density: Callable[[Tensor], Tensor], generator: Generator
) -> _Half:
    q = fitted(known.flatten(0, 1), COMPONENTS, generator)
    with torch.no_grad():
        here = log_density(chains.flatten(0, 1)) - q.log_prob(chains.flatten(0, 1))
        there = _ratios(q, len(here), log_density, generator)
    value = balanced(here, there)
    at_p, at_q = torch.sigmoid(value - here), torch.sigmoid(there - value)
    effective = float(ess_mean(at_p.reshape(*chains.shape[:2], 1)))
    error = float(at_p.var() / at_p.mean().square()) / effective + float(
        at_q.var() / at_q.mean().square()
    ) / len(at_q)
    return _Half(value, math.sqrt(error), float(at_p.mean() + at_q.mean()), len(q.log_weights))


def _ratios(
    q: Gaussians, n: int, log_density: Callable[[Tensor], Tensor], generator: Generator
) -> Tensor:
    """Log of p / q at draws of q, [n]; a point without density counts as having none."""
    z = q.sample(n, generator)
    return (log_density(z) - q.log_prob(z)).nan_to_num(nan=-math.inf, neginf=-math.inf)
