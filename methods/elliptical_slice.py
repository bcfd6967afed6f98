r"""Elliptical slice sampling: where the prior is Gaussian, chains with no gradient and nothing to
tune.

Each step draws an ellipse through the present point z and a draw of the prior, and a level below
the likelihood of z; it looks for a point of the ellipse above that level, in a bracket of angles
that shrinks towards z:

.. math::
    \nu \sim N(m, \Sigma), \quad z(\theta) = m + (z - m) \cos\theta + (\nu - m) \sin\theta, \quad
    \log L(z(\theta)) > \log L(z) + \log u, \quad u \sim U(0, 1)

All chains take a step at once; those that have found their point are not evaluated again. The
likelihood L is what is left of the density without the prior. Where the data say much more than
the prior, the brackets shrink far and the chains move slowly.

Source: I. Murray, R. P. Adams, D. J. C. MacKay, Elliptical slice sampling, 2010, arXiv:1001.0175.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from methods.base import Budget, Draws, Method, NotApplicableError, Target
from methods.parts.diagnostics import ChainDiagnostics
from methods.parts.finite import whereabouts
from methods.parts.validate import require
from problems.base import GaussianPrior

TRIES = 100  # starting points drawn per chain before giving up
SHRINKS = 200  # of a bracket: less than 1e-16 of a turn is left long before


@dataclass(frozen=True)
class EllipticalSlice(Method):
    """Many chains of elliptical slice sampling, on problems that declare a Gaussian prior.

    It takes no gradients. Where the budget has a number of them, it ends when it has evaluated the
    density as often.

    Args:
        chains: run together, from draws of the prior.
        warmup: draws per chain that are dropped.
        draws: per chain, after the warm-up.
        thin: steps from one draw to the next.

    Raises:
        ValueError: if a field lies outside its range; from ``run``, if the density is finite at too
            few draws of the prior.
        NotApplicableError: from ``run``, if the problem declares no Gaussian prior.
    """

    chains: int = 64
    warmup: int = 300
    draws: int = 500
    thin: int = 4
    name: ClassVar[str] = "elliptical-slice"
    source: ClassVar[str] = "Murray, Adams, MacKay, 2010, arXiv:1001.0175"

    def __post_init__(self) -> None:
        require(self, "chains", self.chains >= 1, "be at least 1")
        require(self, "warmup", self.warmup >= 0, "be 0 or more")
        require(self, "draws", self.draws >= 1, "be at least 1")
        require(self, "thin", self.thin >= 1, "be at least 1")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Draws]:
        """Yield after every draw: the later half of each chain while that reaches into the warm-up,
        then all draws after it.
        """
        most = math.inf if budget.gradients is None else budget.gradients
        slices = _start(target, self.chains, generator)
        total = self.warmup + self.draws
        history = torch.empty(self.chains, total, target.dim, dtype=torch.float64)
        for end in range(1, total + 1):
            for _ in range(self.thin):
                slices.step()
            history[:, end - 1] = slices.z
            kept = history[:, self.warmup if end == total else min(end // 2, self.warmup) : end]
            steps = self.chains * self.thin * end
            figures = {"evaluations_per_step": (slices.evaluations - self.chains) / steps}
            yield Draws(kept, ChainDiagnostics(kept, None, figures))  # views, not written again
            if slices.evaluations >= most:
                return


class _Slices:
    """All chains at their present points.

    Args:
        target: the density, counted.
        prior: its prior.
        z: [C, D]; level: log likelihoods there, [C].
        generator: the only source of randomness.
        evaluations: of the density so far.
    """

    def __init__(
        self, target: Target, prior: GaussianPrior, z: Tensor, level: Tensor, generator: Generator
    ) -> None:
        self.target, self.prior, self.generator = target, prior, generator
        self.z, self.level, self.evaluations = z, level, len(z)

    def step(self) -> None:
        """One step of every chain."""
        rows, dim = self.z.shape
        noise = torch.randn(rows, dim, generator=self.generator, dtype=torch.float64)
        here, other = self.z - self.prior.loc, noise @ self.prior.scale_tril.T
        bar = self.level + self._uniform(rows).log()
        angle = 2 * math.pi * self._uniform(rows)
        low, high = angle - 2 * math.pi, angle.clone()
        z, level, left = self.z.clone(), self.level.clone(), torch.arange(rows)
        for _ in range(SHRINKS):
            turned = angle[left].unsqueeze(-1)
            tried = self.prior.loc + here[left] * turned.cos() + other[left] * turned.sin()
            found = likelihood(self.target, self.prior, tried)
            self.evaluations += len(left)
            up = found > bar[left]
            z[left[up]], level[left[up]] = tried[up], found[up]
            left = left[~up]
            if not len(left):
                break
            below = angle[left] < 0
            low[left] = torch.where(below, angle[left], low[left])
            high[left] = torch.where(below, high[left], angle[left])
            angle[left] = low[left] + (high[left] - low[left]) * self._uniform(len(left))
        self.z, self.level = z, level

    def _uniform(self, rows: int) -> Tensor:
        return torch.rand(rows, generator=self.generator, dtype=torch.float64)


def likelihood(target: Target, prior: GaussianPrior, z: Tensor) -> Tensor:
    """Log likelihood, [n, D] -> [n], nats; -inf where there is none."""
    with torch.no_grad():
        value = target.log_density(z) - prior.log_prob(z)
    return value.masked_fill(~value.isfinite(), -math.inf)


def _start(target: Target, chains: int, generator: Generator) -> _Slices:
    prior: GaussianPrior | None = getattr(target, "prior", None)
    if prior is None:
        raise NotApplicableError(
            "It needs a problem that declares a prior which is Gaussian in all its coordinates"
            " (`gaussian_prior`), and this one declares none."
        )
    z = torch.empty(0, target.dim, dtype=torch.float64)
    level, tried = torch.empty(0, dtype=torch.float64), z
    for _ in range(TRIES):
        noise = torch.randn(chains, target.dim, generator=generator, dtype=torch.float64)
        tried = prior.loc + noise @ prior.scale_tril.T
        value = likelihood(target, prior, tried)
        z, level = torch.cat([z, tried[value.isfinite()]]), torch.cat([level, value])
        level = level[level.isfinite()]
        if len(z) >= chains:
            return _Slices(target, prior, z[:chains], level[:chains], generator)
    seen = whereabouts(target, tried, *target.value_and_grad(tried))
    raise ValueError(
        f"elliptical-slice found {len(z)} draws of the prior to start {chains} chains from: the"
        f" density is not finite {seen}."
    )
