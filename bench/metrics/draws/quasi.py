r"""Randomised quasi-random normal numbers: spread evenly, so that a mean over them is known better
than over as many independent ones, where what is averaged is smooth.

.. math:: \epsilon_i = \Phi^{-1}(u_i), \quad u_1 .. u_n \text{ Sobol points, scrambled anew for each
    of } R \text{ sets}

Every set is as likely to be anywhere, so a mean over it is unbiased; the sets are independent, so
their spread tells the standard error. Over a Gaussian q the mean of log q - log p on eight schools,
its signed form and the funnel had a third to a fifth of the standard error of independent draws, at
4,096 draws; on logistic regression in 31 dimensions 0.86 of it.

Source: Owen, "Scrambled net variance for integrals of smooth functions" (1997), doi
10.1214/aos/1031594731; replicates: L'Ecuyer, "Randomized quasi-Monte Carlo: an introduction for
practitioners" (2018), doi 10.1007/978-3-319-91436-7_2.
"""

from __future__ import annotations

import math

import torch
from scipy.special import ndtri, stdtrit
from torch import Generator, Tensor

SETS = 32  # independent sets, whose spread tells the standard error
LEAST = 64  # points in each, below which independent draws are as good
HALF = 2.0**-31  # half a step of torch's Sobol points: keeps 0 and 1 away
# an interval of 1.96 standard errors is that of Student's law with SETS - 1 degrees of freedom
WIDER = float(stdtrit(SETS - 1, 0.975) / ndtri(0.975))


def length(n: int) -> int:
    """Points in each set, a power of two, of which all sets together have n at most; 0 where so few
    are not worth it.
    """
    each = 2 ** int(math.log2(max(n // SETS, 1)))
    return each if each >= LEAST else 0


def normals(each: int, dim: int, generator: Generator) -> Tensor:
    """``SETS`` sets of standard normal points, one after the other: [SETS * each, dim], float64."""
    seeds = torch.randint(2**62, (SETS,), generator=generator).tolist()
    sets = torch.cat([_sobol(each, dim, seed) for seed in seeds])
    found: Tensor = torch.special.ndtri(sets + HALF)
    return found


def _sobol(n: int, dim: int, seed: int) -> Tensor:
    """Scrambled Sobol points in the unit cube, [n, dim]; no global generator is touched."""
    engine = torch.quasirandom.SobolEngine(dim, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    return engine.draw(n, dtype=torch.float64)


def stderr(values: Tensor) -> float:
    """Standard error of the mean of values at the points of ``normals``, [SETS * each]."""
    means = values.reshape(SETS, -1).mean(1)
    return WIDER * float(means.std()) / math.sqrt(SETS)
