"""The codes of all data together: how far they are from the prior, and what they say of x."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from bench.metrics.amortised.aggregate_cells import counted, integrated
from bench.metrics.amortised.base import PLANE, Pair, PairMetric, mean_over
from bench.metrics.amortised.mixture import Aggregate, log_mixture
from bench.metrics.amortised.told import told
from bench.metrics.base import Comparison, Estimate, Skipped, Worse, kept
from bench.metrics.kl import KlQP
from bench.metrics.kl_bounds import KlLower
from problems.base import Exact, Problem
from problems.generative.parts.latent_grid import log_prior

MOST = 4000  # draws of the aggregate
ACTIVE = 0.01  # variance of a coordinate's mean over x above which it is in use


@dataclass(frozen=True)
class Prior(Problem):
    """N(0, I), as the posterior that the aggregate of all codes is held against."""

    dim: int = 2
    name: ClassVar[str] = "prior"

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, 0.0)

    def _sample(self, n: int, generator: Generator) -> Tensor:
        return torch.randn(n, self.dim, generator=generator, dtype=torch.float64)

    def log_density(self, z: Tensor) -> Tensor:
        return log_prior(z)


@dataclass(frozen=True)
class AggregateKl(PairMetric):
    r"""KL from the aggregate of all codes to the prior, nats: large where draws of the prior are
    codes of nothing, or codes lie where the prior hardly draws.

    .. math:: KL(q(z) \| N(0, I)), \qquad q(z) = \frac1N \sum_i q(z \mid x_i)

    over the x at hand, all of them.

    - q has a density, and so has the mixture. Gaussians in one or two coordinates: quadrature by
      the panels of ``latent_grid``, good to 1e-5 nats, no standard error; a flow, more coordinates,
      or codes too narrow for the panels: Monte Carlo. Kind ``exact``.
    - q is draws alone, in one or two coordinates: cells are counted, see ``aggregate_cells``.
    - more coordinates: a density model fitted to other draws, as ``kl_lower``. Both are of kind
      ``lower bound``; their standard error is of the draws.

    Source: M. D. Hoffman, M. J. Johnson, ELBO surgery, 2016.
    """

    name: ClassVar[str] = "aggregate_kl"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL(q(z)‖p(z)), nats"
    meaning: ClassVar[str] = "How far the codes of all data together are from the prior."
    worse: ClassVar[Worse] = "above"
    astray: ClassVar[bool] = True

    def measure(self, pair: Pair) -> Estimate | Skipped:
        return _divergence(pair)


@kept
def _divergence(pair: Pair) -> Estimate | Skipped:
    """The figure, which its upper end shares where q has a density."""
    dim = pair.decoder.latent_dim
    if dim <= PLANE:
        found = counted(pair) if pair.log_q is None else integrated(pair)
        if found is not None:
            return found
    prior, q, generator = Prior(dim), Aggregate(pair), pair.generator()
    draws = q.sample(MOST, generator)
    truth = prior.truth.sample(MOST, generator)
    comparison = Comparison(prior, q, draws, truth, pair.seed)
    return (KlLower() if pair.log_q is None else KlQP()).measure(comparison)


@dataclass(frozen=True)
class MutualInformation(PairMetric):
    r"""What a code says of which x it belongs to, nats: at most log N of N x.

    .. math:: I_q(x; z) = \frac1N \sum_i E_{q(z \mid x_i)}[\log q(z \mid x_i) - \log q(z)]

    Where q has a density: Monte Carlo, kind ``exact``. Where q has none: kind ``lower bound``, see
    ``told``. Standard error: of the draws.

    Source: M. D. Hoffman, M. J. Johnson, ELBO surgery, 2016.
    """

    name: ClassVar[str] = "mutual_information"
    unit: ClassVar[str] = "nats"
    ideal: ClassVar[float | None] = None
    heading: ClassVar[str] = "I(x; z), nats"
    meaning: ClassVar[str] = "What a code says of which x it belongs to."
    unranked: ClassVar[str] = "neither much nor little is better"

    def measure(self, pair: Pair) -> Estimate | Skipped:
        if pair.log_q is None:
            return told(pair)
        each = max(2, MOST // len(pair.x))
        z, log_q = pair.z[:, :each], pair.log_q[:, :each]
        mixed = log_mixture(pair, z.flatten(0, 1)).reshape(log_q.shape)
        return mean_over(log_q - mixed, "exact")


@dataclass(frozen=True)
class ActiveUnits(PairMetric):
    r"""How many coordinates of z the encoder uses.

    .. math:: \sum_l 1\{ Var_x( E_{q(z \mid x)} z_l ) > 0.01 \}

    The variance over the x at hand, less what the S draws of each mean add to it. Kind
    ``estimate``; one run gives no standard error.

    Source: Y. Burda, R. Grosse, R. Salakhutdinov, 2016, arXiv:1509.00519.
    """

    name: ClassVar[str] = "active_units"
    ideal: ClassVar[float | None] = None
    heading: ClassVar[str] = "active units"
    meaning: ClassVar[str] = "Coordinates of z whose mean depends on x."
    unranked: ClassVar[str] = "neither many nor few are better"

    def measure(self, pair: Pair) -> Estimate | Skipped:
        if len(pair.x) < 2:
            return Skipped("One x has no variance.")
        noise = pair.z.var(1).mean(0) / pair.draws
        active = int((pair.z.mean(1).var(0) - noise > ACTIVE).sum())
        return Estimate(float(active), math.nan, "estimate")
