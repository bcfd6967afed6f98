"""The codes of all data together: how far they are from the prior, and what they say of x."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from bench.metrics.amortised.base import Pair, PairMetric, mean_over
from bench.metrics.base import Comparison, Estimate, Skipped, Worse
from bench.metrics.kl import KlQP
from methods.base import Approximation
from problems.base import Exact, Problem
from problems.generative.parts.latent_grid import log_prior

AT_ONCE = 2**20  # pairs of z and x in one call
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


@dataclass(frozen=True, eq=False)
class Aggregate(Approximation):
    r"""The mixture of the codes of all x, :math:`q(z) = \frac1N \sum_i q(z \mid x_i)`."""

    pair: Pair

    def sample(self, n: int, generator: Generator) -> Tensor:
        """Of x drawn at random: [n, L]; no more than ``Pair.draws`` of any x."""
        which = torch.randint(len(self.pair.x), (n,), generator=generator)
        counts = torch.bincount(which, minlength=len(self.pair.x))
        drawn = self.pair.encoder.sample(self.pair.x, int(counts.max()), generator)
        rows = torch.cat([row[:count] for row, count in zip(drawn, counts.tolist(), strict=True)])
        return rows[torch.randperm(n, generator=generator)]

    def log_prob(self, z: Tensor) -> Tensor | None:
        if self.pair.log_q is None:
            return None
        return log_mixture(self.pair, z.reshape(-1, z.shape[-1])).reshape(z.shape[:-1])


def log_mixture(pair: Pair, z: Tensor) -> Tensor:
    """Log of the aggregate's density, nats: [n, L] -> [n]; where q has a density."""
    count = len(pair.x)
    parts = []
    for rows in torch.split(z, max(1, AT_ONCE // count)):
        each = pair.encoder.log_prob(pair.x, rows.expand(count, *rows.shape))
        if each is None:
            raise ValueError("the aggregate has a density where each q(z | x) has one, only")
        parts.append(each.logsumexp(0) - math.log(count))
    return torch.cat(parts)


@dataclass(frozen=True)
class AggregateKl(PairMetric):
    r"""KL from the aggregate of all codes to the prior, nats: large where draws of the prior are
    codes of nothing, or codes lie where the prior hardly draws.

    .. math:: KL(q(z) \| N(0, I)), \qquad q(z) = \frac1N \sum_i q(z \mid x_i)

    over the x at hand, all of them. Where q has a density, so has the mixture: Monte Carlo, kind
    ``exact``. Else nearest neighbours between draws of both, kind ``estimate``, as ``kl_qp``.
    Standard error: of the draws.

    Source: M. D. Hoffman, M. J. Johnson, ELBO surgery, 2016.
    """

    name: ClassVar[str] = "aggregate_kl"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "KL(q(z)‖p(z)), nats"
    meaning: ClassVar[str] = "How far the codes of all data together are from the prior."
    worse: ClassVar[Worse] = "above"
    astray: ClassVar[bool] = True

    def measure(self, pair: Pair) -> Estimate | Skipped:
        prior, q, generator = Prior(pair.decoder.latent_dim), Aggregate(pair), pair.generator()
        draws = q.sample(MOST, generator)
        truth = prior.truth.sample(MOST, generator)
        return KlQP().measure(Comparison(prior, q, draws, truth, pair.seed))


@dataclass(frozen=True)
class MutualInformation(PairMetric):
    r"""What a code says of which x it belongs to, nats: at most log N of N x.

    .. math:: I_q(x; z) = \frac1N \sum_i E_{q(z \mid x_i)}[\log q(z \mid x_i) - \log q(z)]

    Where q has a density: Monte Carlo, kind ``exact``. Standard error: of the draws.

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
            return Skipped("q(z | x) has no density.")
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
