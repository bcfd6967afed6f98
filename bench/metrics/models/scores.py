r"""Functions that tell two samples apart: log odds of q against p, by formula or by a small
network.

The logistic loss of a score T over draws of both is least at T = log q - log p.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from bench.metrics.base import Comparison, Estimate, Skipped, kept
from bench.metrics.draws.chains import autocorrelation_time, effective
from bench.metrics.draws.samples import unfit_alone
from bench.metrics.models.held_out import Split, splits
from bench.metrics.models.network import descend, first_weights, output
from methods.base import Draws

Score = Callable[[Tensor], Tensor]  # [n, D] -> [n], nats
STEPS = 1500
BATCH = 256  # draws of each kind in a step
RATE = 2e-3  # Adam's, falling to zero
EVERY = 100  # steps between two looks at the draws set apart
PATIENCE = 4  # looks without a gain, after which training ends
# a score above log n proves nothing more with n draws, and makes E_p[e^T] a matter of luck
HIGHEST = 10.0


def proved(at_q: Tensor, at_p: Tensor) -> float:
    """The bound on KL(q||p) that a score proves by its values at draws of q, [n], and of p, [m],
    the best shift included.
    """
    return float(at_q.mean() - at_p.logsumexp(0)) + math.log(len(at_p))


def best_score(split: Split, log_density: Score, generator: Generator) -> Score:
    """Of three scores the one that proves most on the draws set apart, shifted so that the average
    of e^T over p is 1 there.

    Two come from Gaussians fitted to both samples, with a common covariance (T is linear) and
    without (quadratic). The third is a network of the standardised coordinates and of log p, added
    to the better of those, or to 0 where that proves nothing.
    """
    formulas = [_gaussian(split, common=True), _gaussian(split, common=False)]
    values = [_on_choose(formula, split) for formula in formulas]
    value, score = max(zip(values, formulas, strict=True), key=lambda pair: pair[0])
    learnt = _Network(split, log_density, score if value > 0 else _nothing, generator).train()
    if _on_choose(learnt, split) > value:
        score = learnt
    shift = score(split.p.choose).clamp(max=HIGHEST).logsumexp(0) - math.log(len(split.p.choose))
    return lambda z: score(z).clamp(max=HIGHEST) - shift


@kept
def scored(comparison: Comparison) -> list[tuple[Split, Score]] | Skipped:
    """The draws of a comparison in parts, and the best score of each of these splits."""
    generator = comparison.generator()
    parts = splits(comparison, generator)
    if isinstance(parts, Skipped):
        return parts
    log_density = comparison.problem.log_density
    return [(split, best_score(split, log_density, generator)) for split in parts]


def _on_choose(score: Score, split: Split) -> float:
    return proved(*(score(part.choose).clamp(max=HIGHEST) for part in (split.q, split.p)))


def _nothing(z: Tensor) -> Tensor:
    return z.new_zeros(len(z))


def _gaussian(split: Split, *, common: bool) -> Score:
    moments = [
        (part.fit.mean(0), part.fit.T.cov().reshape(2 * part.fit.shape[1:]))
        for part in (split.q, split.p)
    ]
    if common:
        pooled = (moments[0][1] + moments[1][1]) / 2
        moments = [(mean, pooled) for mean, _ in moments]
    (mean_q, factor_q), (mean_p, factor_p) = (
        (mean, torch.linalg.cholesky(cov)) for mean, cov in moments
    )
    return lambda z: log_normal(z, mean_q, factor_q) - log_normal(z, mean_p, factor_p)


def log_normal(z: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """Log density of N(mean, L L^T), short of a constant: [n, D], [D], L [D, D] -> [n]."""
    white = torch.linalg.solve_triangular(factor, (z - mean).T, upper=False)
    level: Tensor = -0.5 * white.square().sum(0) - factor.diagonal().log().sum()
    return level


class _Network:
    """A network that learns the log odds left over of a base score.

    Args:
        split: the draws; log_density: of the problem; base: a score; generator: of first weights
            and batches.
    """

    def __init__(self, split: Split, log_density: Score, base: Score, generator: Generator) -> None:
        self.split, self.log_density, self.base, self.generator = (
            split,
            log_density,
            base,
            generator,
        )
        fit = split.p.fit
        self.centre, self.factor = (
            fit.mean(0),
            torch.linalg.cholesky(fit.T.cov().reshape(2 * fit.shape[1:])),
        )
        levels = log_density(fit)
        self.level, self.spread = levels.mean(), levels.std().clamp(min=1e-9)
        self.weights = first_weights(fit.shape[1] + 1, generator)

    def __call__(self, z: Tensor) -> Tensor:
        return self.base(z) + output(self.weights, self._features(z)).double()

    def _features(self, z: Tensor) -> Tensor:
        white = torch.linalg.solve_triangular(self.factor, (z - self.centre).T, upper=False).T
        level = ((self.log_density(z) - self.level) / self.spread).clamp(min=-1e6)
        return torch.cat([white, torch.asinh(level).unsqueeze(-1)], -1).float()

    def train(self) -> Score:
        """Down the logistic loss, and back to the weights that proved most on the draws set
        apart.
        """
        sides = [
            (self._features(part.fit), self.base(part.fit).float())
            for part in (self.split.q, self.split.p)
        ]
        adam = torch.optim.Adam(self.weights, lr=RATE)
        kept: list[Tensor] = []
        best, idle = -math.inf, 0
        for step in range(STEPS):
            adam.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            self._descend(adam, sides)
            if (step + 1) % EVERY == 0:
                value = self._look()
                if value > best:
                    best, kept, idle = (
                        value,
                        [weight.detach().clone() for weight in self.weights],
                        0,
                    )
                else:
                    idle += 1
                if idle == PATIENCE:
                    break
        self.weights = kept or [w.detach() for w in self.weights]
        return self

    def _descend(self, adam: torch.optim.Adam, sides: list[tuple[Tensor, Tensor]]) -> None:
        loss = torch.zeros(())
        with torch.enable_grad():
            for (features, base), sign in zip(sides, (-1, 1), strict=True):
                rows = torch.randint(len(features), (BATCH,), generator=self.generator)
                loss = (
                    loss
                    + functional.softplus(
                        sign * (output(self.weights, features[rows]) + base[rows])
                    ).mean()
                )
            descend(adam, loss)

    def _look(self) -> float:
        with torch.no_grad():
            return _on_choose(self, self.split)


def bound(at_q: list[Tensor], at_p: list[Tensor], comparison: Comparison) -> Estimate | Skipped:
    """The average over folds of what each score proves on the draws that judge it.

    Args:
        at_q, at_p: values of the score of each fold at its draws of q and of p.
    """
    refused = unfit_alone(torch.cat(at_q), "log density ratios") or unfit_alone(
        torch.cat(at_p), "log density ratios"
    )
    if refused is not None:
        return refused
    time, folds, value, variance = walk(torch.cat(at_q), comparison), len(at_q), 0.0, 0.0
    for q, p in zip(at_q, at_p, strict=True):
        value += float(q.mean() + 1 - p.exp().mean()) / folds
        variance += float(q.var() * time / len(q) + p.exp().var() / len(p)) / folds**2
    return Estimate(value, math.sqrt(variance), "lower bound")


def walk(series: Tensor, comparison: Comparison) -> float:
    """How many successive draws are worth one, for the mean of a series of values at them; 1 for
    independent draws.

    The longer of the series' own autocorrelation time and that of the slowest coordinate.
    """
    if not isinstance(comparison.approximation, Draws):
        return 1.0
    slowest = len(comparison.draws) / float(effective(comparison).min())
    return max(slowest, autocorrelation_time(series))
