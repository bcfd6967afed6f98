"""What each column of the page is called, what it says in one sentence, and how methods are ranked
by it.

A metric brings its own words, which the run keeps; here stand those of costs and diagnostics, and
which metrics belong together, in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from reports import numbers
from reports.intervals import Worse


@dataclass(frozen=True)
class Measure:
    """What a page says of a metric: heading, meaning, ideal, side.

    Args:
        heading: of its column, its unit after a comma.
        meaning: one sentence.
        ideal: the value of a perfect approximation; None where methods are not ranked by it, and
            ``unranked`` says why.
        worse: on which side of the ideal.
        density: whether it is made of log q - log p alone, so that it reads its ideal without noise
            where q = p: the row ``exact``, which shows draws and no density, has none, and needs
            none.
        astray: whether an estimate below the noise floor has been misled.
        resolves: what m draws of the truth leave open is this over sqrt(m), in its unit; "floor"
            where only the noise floor tells; None where they do not judge it.
        target: what it is a distance from, in words.
        written: how a cost, known without an uncertainty, is written; None for a figure with an
            interval.
    """

    heading: str
    meaning: str
    ideal: float | None = 0.0
    worse: Worse = "above"
    density: bool = False
    astray: bool = False
    unranked: str = ""
    resolves: float | str | None = None
    written: Callable[[float], str] | None = None
    target: str = "the truth"

    @property
    def short(self) -> str:
        """The heading of a metric without its unit."""
        return self.heading.rpartition(", ")[0] or self.heading

    @property
    def unit(self) -> str:
        """What stands after the comma of the heading; empty where nothing does."""
        return self.heading.rpartition(", ")[2] if ", " in self.heading else ""

    @property
    def rounds(self) -> bool:
        """Whether its unit is about one in size, so that 1e-9 of it is rounding."""
        return self.unit in ("nats", "sd")

    @property
    def ranking(self) -> str:
        """How methods are ranked by it, in a sentence."""
        if self.ideal is None:
            return f"Not ranked: {self.unranked}." if self.unranked else ""
        side = {
            "above": "more is worse",
            "below": "less is worse",
            "both": "worse the further from it to either side",
        }
        return f"Perfect at {self.ideal:g}; {side[self.worse]}."


def _cost(heading: str, meaning: str, written: Callable[[float], str]) -> Measure:
    return Measure(heading, meaning, None, unranked="a cost", written=written)


COSTS = {
    "fit_seconds": _cost(
        "Fitting",
        "Time of fitting with one thread, measuring excluded, and set-up where it is told apart.",
        numbers.seconds,
    ),
    "setup_seconds": _cost(
        "Set-up",
        "Time of compiling or recording before fitting began, of methods that say when it did.",
        numbers.seconds,
    ),
    "gradients": _cost(
        "Gradients", "Gradient evaluations of the log density, one per point.", numbers.count
    ),
    "evaluations": _cost(
        "Evaluations", "Evaluations of the log density, one per point.", numbers.count
    ),
    "sampling_seconds": _cost(
        "Sampling",
        "Time per 1,000 draws once fitted; for a sampler of chains that is the fitting itself.",
        numbers.seconds,
    ),
    "peak_memory": _cost(
        "Memory",
        "Peak memory of the fit above what the process held when it began.",
        numbers.memory,
    ),
}
MAIN = (
    "kl_qp",
    "kl_pq",
    "mean_error",
    "sd_error",
    "mmd",
    "mode_balance",
    # of generative models: the paper's table, and what it says of each x
    *("log_likelihood", "likelihood_gap", "reconstruction_error", "mean_elbo"),
    *("aggregate_kl", "posterior_kl"),
    "fit_seconds",
    "setup_seconds",
    "gradients",
    "peak_memory",
)
# beside a distance, what fits into a terminal
BRIEF = (
    *("mean_error", "sd_error", "log_likelihood", "mean_elbo", "aggregate_kl"),
    *("fit_seconds", "setup_seconds", "gradients"),
)
# of those, what goes first where it does not
SPARE = (
    *("sd_error", "gradients", "mean_error", "mean_elbo", "aggregate_kl", "log_likelihood"),
    *("setup_seconds", "fit_seconds"),
)
ROUTES = ("kl_lower", "kl_upper", "kl_classifier", "kl_knn", "elbo_gap")
WEIGHTS = ("elbo", "log_z_error", "log_z_error_reverse", "importance_ess", "psis_khat")
DIAGNOSTICS = {
    "folded": Measure(
        "Folded",
        "Share of the draws of a map at which det J has the rarer sign: above 0 it lays its noise"
        " over itself, and looks nearer to the truth by neighbours than it is.",
        None,
    ),
    "gap": Measure(
        "Gap", "Nats to the nearest best Gaussian, estimated on draws it was not fitted to.", None
    ),
    "r_hat": Measure(
        "Split R-hat",
        "Agreement of the chains; above 1.01 they have not found the same distribution.",
        None,
    ),
    "ess_bulk": Measure(
        "Bulk ESS",
        "Independent draws that the chains are worth for the bulk of the worst coordinate.",
        None,
        written=numbers.count,
    ),
    "ess_tail": Measure(
        "Tail ESS", "The same for the 5% and 95% quantiles.", None, written=numbers.count
    ),
    "e_fmi": Measure(
        "E-FMI",
        "How well the energy is explored; below 0.3 the tails are visited too seldom.",
        None,
    ),
    "divergences": Measure(
        "Divergences",
        "Steps where the simulated dynamics broke down; any at all is a warning.",
        None,
        written=numbers.count,
    ),
    "accept_rate": Measure("Acceptance", "Mean probability of accepting a proposal.", None),
    "step_size": Measure("Step size", "Of the simulated dynamics, after adaptation.", None),
    "steps_per_draw": Measure(
        "Steps per draw", "Gradient evaluations behind each draw, on average.", None
    ),
    "cut_short": Measure(
        "Cut short",
        "Draws whose path was still going at its greatest length.",
        None,
        written=numbers.count,
    ),
}
# of the model's own parameters, in its own units
PARAMETERS = (
    "mean_error_constrained",
    "sd_error_constrained",
    "quantile_error_constrained",
    "coverage_constrained",
)
# of generative models, beside the paper's table
CODES = (
    *("negative_log_likelihood", "mean_elbo_upper", "aggregate_kl_upper", "posterior_kl_upper"),
    "amortisation_gap",
    *("mutual_information", "active_units", "squared_error", "annealing_gap"),
)
# the order of what stands in no other group
FURTHER = ("sliced_wasserstein", "c2st", "ksd", "coverage", "quantile_error", "variance_error")
# the first that a problem has orders its table and fills its cost curves
DIVERGENCES = (
    *("kl_qp", "kl_knn", "mmd", "kl_pq"),
    *("likelihood_gap", "negative_log_likelihood", "posterior_kl"),  # of generative models
)
# surely below zero they show that a density or log Z is wrong
NEVER_NEGATIVE = ("kl_qp", "kl_pq", "kl_upper", "elbo_gap", "posterior_kl")
# where they are no estimates they rest on draws of q alone, which methods do not share
OWN_DRAWS = ("kl_qp", "kl_lower", "posterior_kl")


def measure(metric: str, declared: Mapping[str, Any] | None = None) -> Measure:
    """The words for a metric.

    One of which the run has kept no words goes by its own name, and is ranked by the distance from
    its ideal, to either side, where that is known.

    Args:
        metric: its name.
        declared: what the run kept under ``metrics``: by name the words of ``Metric.described``, of
            an old run the unit and the ideal alone.
    """
    if metric in COSTS:
        return COSTS[metric]
    found = (declared or {}).get(metric)
    kept = found if isinstance(found, Mapping) else {}
    unit, ideal, worse = kept.get("unit"), kept.get("ideal"), kept.get("worse")
    return Measure(
        heading=str(kept.get("heading") or (f"{metric}, {unit}" if unit else metric)),
        meaning=str(kept.get("meaning") or "The run has kept no words for this metric."),
        ideal=float(ideal) if isinstance(ideal, int | float) else None,
        worse=cast(Worse, worse) if worse in get_args(Worse) else "both",
        density=kept.get("density") is True,
        astray=kept.get("astray") is True,
        unranked=str(kept.get("unranked") or "no ideal value is known"),
        resolves=kept.get("resolves")
        if isinstance(kept.get("resolves"), int | float | str)
        else None,
        target=str(kept.get("target") or Measure.target),
    )


def in_order(metrics: Iterable[str]) -> list[str]:
    """Metrics in the order of the page: the groups one after the other, then all others by name."""
    groups = (*MAIN, *PARAMETERS, *ROUTES, *WEIGHTS, *CODES, *FURTHER, *COSTS)
    met = set(metrics)
    return [name for name in dict.fromkeys((*groups, *sorted(met))) if name in met]


def more(metrics: Iterable[str]) -> tuple[list[str], ...]:
    """The metrics beyond the main table, in a fixed order: the model's own parameters, other routes
    to the divergence, what weights tell, codes of generative models, and all else.
    """
    rest = in_order(set(metrics) - set(MAIN))
    groups = PARAMETERS, ROUTES, WEIGHTS, CODES
    placed = {name for group in groups for name in group}
    found = ([name for name in rest if name in group] for group in groups)
    return *found, [name for name in rest if name not in placed]


def divergence(metrics: Iterable[str]) -> str | None:
    """The metric that stands for quality on one problem, or None where there is none that can."""
    found = set(metrics)
    return next((name for name in DIVERGENCES if name in found), None)
