"""Moments, quantiles and coverage of a model's own parameters: of tau where the coordinate is log
tau, of every entry of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from bench.metrics.base import Comparison, Estimate, Metric, Resolves, Skipped, Worse, kept
from bench.metrics.coverage import ENDS, error_of_coverage
from bench.metrics.draws.chains import ess_mean, ess_sd
from bench.metrics.draws.coordinates import worth
from bench.metrics.draws.copies import counted_once
from bench.metrics.draws.parameters import Parameters, columns, parameters
from bench.metrics.draws.stream import Moments, audit, held_moments
from bench.metrics.moments import error_of_mean, error_of_sd
from bench.metrics.quantiles import LEVELS, error_of_quantiles
from methods.base import Draws

SHOWN = 6  # names that a note lists
QUARTILES = (
    "Without a standard deviation, and so in units of the distance of their quartiles over 1.35:"
)


@kept
def _chains(comparison: Comparison) -> Tensor | None:
    """Chains in the model's own units, [chains, draws, K]; None where q is none."""
    q, own = comparison.approximation, parameters(comparison)
    if not isinstance(q, Draws) or isinstance(own, Skipped):
        return None
    return columns(comparison.problem, q.chains.flatten(0, 1).double())[1][:, own.chosen].reshape(
        *q.chains.shape[:2], -1
    )


def _by_moments(
    comparison: Comparison,
    work: Callable[[Moments, Moments, Sequence[str]], Estimate],
    ess: Callable[[Tensor], Tensor],
) -> Estimate | Skipped:
    """A figure of moments over the parameters that have a standard deviation.

    Args:
        work: the figure from the moments of q and of the truth.
        ess: independent draws that chains are worth, [chains, draws, K] -> [K].
    """
    own = parameters(comparison)
    if isinstance(own, Skipped):
        return own
    light = ~own.heavy
    if not bool(light.any()):
        return Skipped("None of the model's parameters has a standard deviation.")
    names = [name for name, sound in zip(own.names, light.tolist(), strict=True) if sound]
    whole = audit(comparison, constrained=True)
    if whole is None:
        chains, count = _chains(comparison), None
        if chains is not None:
            count = ess(chains[:, :, light]).clamp(max=float(len(own.draws)))
        x, y = held_moments(own.draws[:, light], count, count), held_moments(own.truth[:, light])
        found = work(x, y, names)
    elif whole.refused is not None:
        return whole.refused
    else:
        x, y = (each.only(light) for each in whole.moments)
        found = work(x, y, names)
        found = replace(found, note=f"{found.note} {whole.note}", draws=whole.draws.count)
    return _noted(found, "Left out, without a standard deviation:", own)


def _noted(found: Estimate, words: str, own: Parameters) -> Estimate:
    """The figure with the names of the parameters that have no standard deviation, if any has
    none.
    """
    heavy = [name for name, odd in zip(own.names, own.heavy.tolist(), strict=True) if odd]
    if not heavy or len(heavy) == len(own.names):  # of all of them the note speaks already
        return found
    more = f" and {len(heavy) - SHOWN} more" if len(heavy) > SHOWN else ""
    return replace(found, note=f"{found.note} {words} {', '.join(heavy[:SHOWN])}{more}.")


@dataclass(frozen=True)
class MeanErrorConstrained(Metric):
    r"""Error of the posterior mean of the model's own parameters, in units of the truth's sd; the
    worst entry, absolute.

    .. math:: \max_k |\bar u_k - \bar v_k| / \mathrm{sd}(v_k), \quad u = c(x), v = c(y)

    with c the map to the model's own units, ``Problem.constrain``. As ``MeanError`` in all else.
    Entries that do not vary are left out, and so are those without a standard deviation, which the
    note names. Skipped where the parameters are the coordinates themselves.
    """

    name: ClassVar[str] = "mean_error_constrained"
    resolves: ClassVar[Resolves] = 1.0
    unit: ClassVar[str] = "sd"
    heading: ClassVar[str] = "Mean error of parameters, sd"
    meaning: ClassVar[str] = (
        "Error of the posterior mean of the model's own parameters, tau and not log tau: the worst,"
        " in units of its true standard deviation."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return _by_moments(comparison, error_of_mean, ess_mean)


@dataclass(frozen=True)
class SdErrorConstrained(Metric):
    r"""Relative error of the posterior standard deviation of the model's own parameters; the worst
    entry, absolute.

    .. math:: \max_k |\mathrm{sd}(u_k) / \mathrm{sd}(v_k) - 1|, \quad u = c(x), v = c(y)

    with c the map to the model's own units, ``Problem.constrain``. As ``SdError`` in all else;
    which entries count is as for ``MeanErrorConstrained``.
    """

    name: ClassVar[str] = "sd_error_constrained"
    resolves: ClassVar[Resolves] = 0.71
    unit: ClassVar[str] = "sd"
    heading: ClassVar[str] = "SD error of parameters, sd"
    meaning: ClassVar[str] = (
        "Error of the posterior standard deviation of the model's own parameters: the worst, in"
        " units of the true one."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        return _by_moments(comparison, error_of_sd, ess_sd)


@dataclass(frozen=True)
class QuantileErrorConstrained(Metric):
    r"""Error of the quantiles at 5, 25, 50, 75 and 95% of the model's own parameters, in units of
    the truth's sd; the worst of all entries, absolute.

    .. math:: \max_{k, p} |Q_{u_k}(p) - Q_{v_k}(p)| / \mathrm{sd}(v_k), \quad u = c(x), v = c(y)

    with c the map to the model's own units, ``Problem.constrain``. As ``QuantileError`` in all
    else; the unit of an entry without an sd is the distance of its quartiles over 1.35.
    """

    name: ClassVar[str] = "quantile_error_constrained"
    resolves: ClassVar[Resolves] = 2.11
    unit: ClassVar[str] = "sd"
    heading: ClassVar[str] = "Quantile error of parameters, sd"
    meaning: ClassVar[str] = (
        "Error of the 5, 25, 50, 75 and 95% quantiles of the model's own parameters, in standard"
        " deviations of the truth; the worst of all."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        own = parameters(comparison)
        if isinstance(own, Skipped):
            return own
        whole = audit(comparison, constrained=True)
        if whole is not None and whole.refused is not None:
            return whole.refused
        levels = torch.tensor(LEVELS, dtype=torch.float64)
        effective = worth(own.draws, _chains(comparison), levels)
        made_of = own.draws, own.truth, effective, own.names, own.heavy
        return _noted(error_of_quantiles(*made_of, whole), QUARTILES, own)


@dataclass(frozen=True)
class CoverageConstrained(Metric):
    r"""How far the central 50, 90 and 95% intervals of q for the model's own parameters are from
    holding that share of p; the worst of all entries.

    .. math::
        \max_{k, \alpha} |P_p(Q_{u_k}(\tfrac{1 - \alpha}{2}) \le v_k \le Q_{u_k}(\tfrac{1 +
        \alpha}{2})) - \alpha|, \quad u = c(x), v = c(y)

    with c the map to the model's own units, ``Problem.constrain``. As ``Coverage`` in all else. A
    parameter that is an increasing function of one coordinate reads as that coordinate does; one
    that is made of several, as theta = mu + tau eta, does not.
    """

    name: ClassVar[str] = "coverage_constrained"
    resolves: ClassVar[Resolves] = 0.5
    heading: ClassVar[str] = "Coverage error of parameters"
    meaning: ClassVar[str] = (
        "By how much the central 50, 90 and 95% intervals of q for the model's own parameters miss"
        " that share of p; the worst of all."
    )
    worse: ClassVar[Worse] = "above"

    @counted_once
    def measure(self, comparison: Comparison) -> Estimate | Skipped:
        own = parameters(comparison)
        if isinstance(own, Skipped):
            return own
        whole = audit(comparison, constrained=True)
        if whole is not None and whole.refused is not None:
            return whole.refused
        levels = torch.tensor(ENDS, dtype=torch.float64)
        effective = worth(own.draws, _chains(comparison), levels)
        return error_of_coverage(own.draws, own.truth, effective, own.names, whole)
