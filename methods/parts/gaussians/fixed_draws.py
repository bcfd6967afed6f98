r"""The ELBO of a family of Gaussians on fixed draws, climbed by L-BFGS in rounds of ever more.

.. math:: \max_x\ \frac1n \sum_k \log p\big(z_x(\epsilon_k)\big) + \tfrac12 \log\det \Sigma_x

Each round takes four times the draws of the last and judges on them what that had found; the climb
ends when the new draws, and what is gained on them, raise the ELBO by less than the tolerance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator as Steps
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.device import at_rest, seen_from
from methods.parts.gaussians.elbo import normals
from methods.parts.gaussians.families import Covariance, Family
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.gaussians.laplace import starts
from methods.parts.optimisation.begin import beginnings
from methods.parts.optimisation.lbfgs import minimise

GROWTH = 4  # draws of a round, as a multiple of the last one's
STEPS = 50  # of L-BFGS in one set of units
SURVIVAL = 3  # one candidate in so many goes on to the next round
WIDTHS = (1.0, 0.3, 0.1, 0.01, 1e-4)  # of a start, until the density is finite at every draw


class Candidate(NamedTuple):
    """A member of a family, and its loss in nats."""

    value: float
    family: Family
    x: Tensor


@dataclass(frozen=True, eq=False)
class FixedLoss:
    """Minus the ELBO of a family on fixed noise, up to its constant.

    Args:
        target: the density.
        family: the Gaussians.
        eps: standard normal noise, [n, K].
    """

    target: Target
    family: Family
    eps: Tensor

    def __call__(self, x: Tensor) -> tuple[float, Tensor]:
        """The loss, inf where the density is not finite at every draw, and its gradient, [P]."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            z = self.family.move(x, self.eps)
            log_det = self.family.log_det(x)
            log_p, slope = self.target.value_and_grad(z)
            surrogate = (slope * z).sum() / len(z) + log_det
            (gradient,) = torch.autograd.grad(-surrogate, x)
        value = -float(log_p.mean() + log_det.detach())
        sound = math.isfinite(value) and bool(gradient.isfinite().all())
        return value if sound else math.inf, gradient


@dataclass(frozen=True)
class Rounds:
    """How a family is climbed.

    Args:
        who: the method, as its errors name it.
        covariance, rank: of the family.
        starts: points to start from.
        draws: of the first round; max_draws: of the last.
        tolerance: nats that the last round gains at most.
        device: where the draws and the parameters are.
    """

    who: str
    covariance: Covariance
    rank: int
    starts: int
    draws: int
    max_draws: int
    tolerance: float
    device: str = "cpu"

    def run(self, target: Target, generator: Generator) -> Iterator[Gaussian]:
        """Yield the best Gaussian so far after every step of L-BFGS."""
        # Sobol points are even in powers of two
        draws = 1 << (max(self.draws, 4 * (target.dim + self.rank)) - 1).bit_length()
        target = seen_from(self.device, target)
        eps = self._noise(draws, target.dim, generator)
        ranked = self._candidates(target, eps, generator)
        while True:
            ranked.sort(key=_value)
            judged = ranked[0].value
            ended = yield from self._climb(target, eps, ranked)
            draws *= GROWTH
            if judged - ended[0].value < self.tolerance or draws > self.max_draws:
                return
            eps = self._noise(draws, target.dim, generator)
            kept = ended[: math.ceil(len(ended) / SURVIVAL)]
            ranked = [
                Candidate(FixedLoss(target, family, eps)(x)[0], family, x) for _, family, x in kept
            ]

    def _noise(self, draws: int, dim: int, generator: Generator) -> Tensor:
        return normals(draws, dim + self.rank, generator).to(self.device)

    def _candidates(self, target: Target, eps: Tensor, generator: Generator) -> list[Candidate]:
        """The best start on the way up from each of several points."""
        ranked = []
        for loc in beginnings(target, self.starts, generator, self.who):
            offered = []
            for found_at in starts(target, loc, full=False):
                frame = found_at.on(self.device)
                family = Family(self.covariance, frame.loc, frame.factor, self.rank)
                loss = FixedLoss(target, family, eps)
                tried = [family.first(width, generator) for width in WIDTHS]
                values = ((loss(x)[0], x) for x in tried)
                found = next(((v, x) for v, x in values if math.isfinite(v)), None)
                if found is not None:
                    offered.append(Candidate(found[0], family, found[1]))
            ranked += sorted(offered, key=_value)[:1]
        if not ranked:
            raise FloatingPointError(
                f"{self.who} found no Gaussian at whose draws the density is finite, from"
                f" {self.starts} starts."
            )
        return ranked

    def _climb(
        self, target: Target, eps: Tensor, ranked: list[Candidate]
    ) -> Steps[Gaussian, None, list[Candidate]]:
        """One round: improve each candidate, yield the best so far, and return where they ended,
        best first.
        """
        best, ends = ranked[0], []
        yield at_rest(best.family.gaussian(best.x))
        for start in ranked:
            end = start
            for end in self._improved(target, eps, start):
                if end.value < best.value:
                    best = end
                    yield at_rest(best.family.gaussian(best.x))
            ends.append(end)
        return sorted(ends, key=_value)

    def _improved(self, target: Target, eps: Tensor, start: Candidate) -> Iterator[Candidate]:
        """L-BFGS in the units of the start, then in those of where it came to, while that gains."""
        here, before = start, math.inf
        while before - here.value >= self.tolerance:
            before = here.value
            family, x = here.family.around(here.x)
            loss = FixedLoss(target, family, eps)
            steps = minimise(loss, x, tolerance=0.1 * self.tolerance)
            for value, x in itertools.islice(steps, STEPS):
                here = Candidate(value, family, x)
                yield here


def _value(candidate: Candidate) -> float:
    return candidate.value
