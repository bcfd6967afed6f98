"""What an approximation makes of the evidence: log Z as its method states it, from its own draws,
and from the truth's, against the known one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Skipped, Worse
from bench.metrics.brackets.density import Known, at_draws, at_truth
from bench.metrics.draws.monte_carlo import HEAVY, MANY
from bench.metrics.draws.samples import FEWEST_DRAWS
from methods.base import Evidence

HALF_WIDTH = 1.96  # standard errors in half of a 95% interval


def log_mean(log_weights: Tensor) -> Estimate | Skipped:
    """Log of the mean of independent weights, from their logs [n], nats: its standard error is that
    of the mean, relative.

    By Jensen's inequality the log of an unbiased mean is below the log of the true one on average,
    by half its variance.
    """
    n = len(log_weights)
    if n < FEWEST_DRAWS:
        return Skipped(
            f"{n} weights are too few for a standard error; at least {FEWEST_DRAWS} are needed."
        )
    bad = int((torch.isnan(log_weights) | (log_weights == math.inf)).sum())
    if bad:
        return Skipped(f"{bad} of the {n} weights are not finite.")
    if bool((log_weights == -math.inf).all()):
        return Skipped(f"All {n} weights are 0: the two densities do not overlap.")
    largest = float(log_weights.max())
    weights = (log_weights.double() - largest).exp()
    note = ""
    if n >= MANY and (heaviest := float(weights.max() / weights.sum())) > HEAVY:
        note = f"One of {n} draws carries {heaviest:.0%} of the weight: the interval is too short."
    relative = float(weights.std() / weights.mean()) / math.sqrt(n)
    return Estimate(math.log(float(weights.mean())) + largest, relative, "estimate", note, n)


def stated_error(stated: Evidence, log_z: float, log_z_stderr: float = 0.0) -> Estimate | Skipped:
    """Error of the log Z that a method states, nats, with its own standard error."""
    if not (math.isfinite(stated.log_z) and math.isfinite(stated.stderr) and stated.stderr >= 0):
        return Skipped(
            f"The method's own estimate of log Z, {stated.log_z} with a standard error of"
            f" {stated.stderr}, is no figure with an uncertainty."
        )
    stderr = math.hypot(stated.stderr, log_z_stderr)
    return Estimate(stated.log_z - log_z, stderr, "estimate", "The method's own estimate.")


def log_z_error(known: Known, log_z: float, log_z_stderr: float = 0.0) -> Estimate | Skipped:
    """Error of log Z by importance sampling, nats, from densities at draws of q; see
    ``LogZError``.
    """
    return _against(log_mean(known.log_p - known.log_q), 1, log_z, log_z_stderr, known.note)


def log_z_error_reverse(
    known: Known, log_z: float, log_z_stderr: float = 0.0
) -> Estimate | Skipped:
    """Error of log Z by the reciprocal, nats, from densities at draws of p; see
    ``LogZErrorReverse``.
    """
    outside = int((known.log_p == -math.inf).sum())
    if outside:
        return Skipped(
            f"The density of p is 0 at {outside} of its {len(known.log_p)} draws: weights by 1/p"
            " are infinite there."
        )
    return _against(log_mean(known.log_q - known.log_p), -1, log_z, log_z_stderr, known.note)


def _against(
    found: Estimate | Skipped, sign: int, log_z: float, log_z_stderr: float, note: str
) -> Estimate | Skipped:
    if isinstance(found, Skipped):
        return found
    return Estimate(
        sign * found.value - log_z,
        math.hypot(found.stderr, log_z_stderr),
        "estimate",
        f"{found.note} {note}".strip(),
        found.draws,
    )


@dataclass(frozen=True)
class LogZError(Metric):
    r"""Error of the log evidence: as the method states it, or by importance sampling from q, nats.

    .. math:: \log \tfrac{1}{n} \sum_i p(x_i) / q(x_i) - \log Z, \quad x_i \sim q

    for the unnormalised p. Where the method has an estimate of its own
    (``approximation.evidence``), with or without a density, that one counts: it is what a user of
    the method would report. The note says so, and what the weights read where they can be had.
    Its interval is the method's own claim.

    Of the weights, the mean is unbiased if q has mass wherever p has, its log is too low by
    half the variance, on average: more than that, if modes or tails were missed, so that a negative
    figure is the rule. Standard error: delta method, of the mean's log; that of a reference's log Z
    added. Ideal 0, which q = p reads without any error.

    Source: Geweke, "Bayesian inference in econometric models using Monte Carlo integration" (1989),
    doi 10.2307/1913710.
    """

    name: ClassVar[str] = "log_z_error"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "log Z error, nats"
    meaning: ClassVar[str] = (
        "Error of log Z, the log of the evidence: as the method itself states it, or when draws"
        " of q are weighted to p; then mostly negative, since missed mass adds no weight."
    )
    worse: ClassVar[Worse] = "both"
    density: ClassVar[bool] = True

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        log_z = comparison.evidence
        if isinstance(log_z, Skipped):
            return log_z
        known = at_draws(comparison)
        weighted = known if isinstance(known, Skipped) else log_z_error(known, *log_z)
        if comparison.approximation.evidence is None:
            return weighted
        return _beside(stated_error(comparison.approximation.evidence, *log_z), weighted)


def _beside(stated: Estimate | Skipped, weighted: Estimate | Skipped) -> Estimate | Skipped:
    """The method's own figure, and in its note what its weights read."""
    if isinstance(stated, Skipped) or isinstance(weighted, Skipped):
        return stated
    half = HALF_WIDTH * weighted.stderr
    words = f"Its draws weighted to p read {weighted.value:.3g} ± {half:.2g}."
    return replace(stated, note=f"{stated.note} {words} {weighted.note}".strip())


@dataclass(frozen=True)
class LogZErrorReverse(Metric):
    r"""Error of the log evidence by the reciprocal estimator, at draws of the truth, nats.

    .. math:: -\log \tfrac{1}{m} \sum_i q(y_i) / p(y_i) - \log Z, \quad y_i \sim p

    for the unnormalised p: the harmonic mean that Gelfand and Dey weight by a density of lighter
    tails. It errs upwards on average, as the forward estimate errs downwards; the two bracket log Z
    in expectation. It suffers where q has mass that p has not. Standard error: as ``LogZError``.

    Source: Gelfand & Dey, "Bayesian model choice: asymptotics and exact calculations" (1994), doi
    10.1111/j.2517-6161.1994.tb01996.x; both directions as in Grosse, Ghahramani & Adams,
    "Sandwiching the marginal likelihood using bidirectional Monte Carlo" (2015), arXiv 1511.02543.
    """

    name: ClassVar[str] = "log_z_error_reverse"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "log Z error, reverse, nats"
    meaning: ClassVar[str] = (
        "The same from draws of p, weighted to q: mostly positive; with the error above it"
        " brackets log Z."
    )
    worse: ClassVar[Worse] = "both"
    density: ClassVar[bool] = True

    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        log_z = comparison.evidence
        if isinstance(log_z, Skipped):
            return log_z
        known = at_truth(comparison)
        return known if isinstance(known, Skipped) else log_z_error_reverse(known, *log_z)
