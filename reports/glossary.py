"""What each metric is called on the page, in which unit, what it says in one sentence, and how
methods are ranked by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reports import numbers
from reports.intervals import Worse


@dataclass(frozen=True)
class Measure:
    """A metric for readers.

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
    written: Callable[[float], str] | None = None

    @property
    def short(self) -> str:
        """The heading without its unit."""
        return self.heading.partition(",")[0]

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


MEASURES = {
    "kl_qp": Measure(
        "KL(q‖p), nats",
        "Kullback–Leibler divergence from the approximation q to the true posterior p, in units of"
        " the natural logarithm: large where q puts mass that p lacks.",
        astray=True,
    ),
    "kl_pq": Measure(
        "KL(p‖q), nats",
        "The same in the other direction; large where q misses mass that p has, a lost mode for"
        " example.",
        astray=True,
    ),
    "mean_error": Measure(
        "Mean error, sd",
        "Error of the posterior mean in the worst coordinate, in units of the true standard"
        " deviation.",
    ),
    "sd_error": Measure(
        "SD error, sd",
        "Error of the posterior standard deviation in the worst coordinate, in units of the true"
        " one.",
    ),
    "mmd": Measure(
        "MMD²",
        "Squared maximum mean discrepancy: a distance between two distributions by a kernel, 0"
        " where they are equal.",
    ),
    "mode_balance": Measure(
        "Mode balance",
        "How far the shares of the posterior's named modes are from the true shares.",
    ),
    "kl_lower": Measure(
        "KL(q‖p) at least, nats",
        "The most KL(q‖p) that can be shown: by the density, by all preimages of a map, or by a"
        " model fitted to other draws.",
    ),
    "kl_upper": Measure(
        "KL(q‖p) at most, nats",
        "The smallest upper bound on KL(q‖p) to be had; draws alone have none, as mass that no draw"
        " has reached may be anywhere.",
        density=True,
    ),
    "kl_classifier": Measure(
        "KL(q‖p) by a classifier, nats",
        "A lower bound on KL(q‖p) from how well a classifier tells draws of q from those of p: one"
        " ruler for every method.",
    ),
    "kl_knn": Measure(
        "KL by neighbours, nats",
        "KL(q‖p) estimated from draws alone by nearest neighbours: the same ruler for every method,"
        " biased when far from 0.",
        astray=True,
    ),
    "elbo_gap": Measure(
        "ELBO gap, nats",
        "log Z, the log of the evidence, less the ELBO: KL(q‖p) once more, by densities only.",
        density=True,
    ),
    "elbo": Measure(
        "ELBO, nats",
        "Evidence lower bound, which variational methods maximise: at most log Z, the log of the"
        " evidence.",
        None,
        unranked=(
            "its ideal is log Z, which is another for every problem; the ELBO gap is the distance"
            " from it"
        ),
    ),
    "log_z_error": Measure(
        "log Z error, nats",
        "Error of log Z, the log of the evidence, when draws of q are weighted to p; mostly"
        " negative, since missed mass adds no weight.",
        worse="both",
        density=True,
    ),
    "log_z_error_reverse": Measure(
        "log Z error, reverse, nats",
        "The same from draws of p, weighted to q: mostly positive; with the error above it brackets"
        " log Z.",
        worse="both",
        density=True,
    ),
    "sliced_wasserstein": Measure(
        "Sliced Wasserstein², sd²",
        "Mean squared way that mass has to move along random lines, in squared standard deviations"
        " of the truth.",
    ),
    "c2st": Measure(
        "C2ST accuracy",
        "Share of draws that the best of three classifiers sorts rightly into q and p: 0.5 is"
        " guessing. A bound from below on what any classifier could do, so that a small one is no"
        " praise.",
        0.5,
    ),
    "ksd": Measure(
        "KSD², sd⁻²",
        "Squared kernel Stein discrepancy: draws held against the gradient of log p, not against"
        " draws of the truth; nearly blind to the shares of modes that lie apart.",
    ),
    "coverage": Measure(
        "Coverage error",
        "By how much the central 50, 90 and 95% intervals of q miss that share of p; worst"
        " coordinate.",
    ),
    "quantile_error": Measure(
        "Quantile error, sd",
        "Error of the 5, 25, 50, 75 and 95% quantiles in standard deviations of the truth; the"
        " worst of all.",
    ),
    "importance_ess": Measure(
        "Importance ESS",
        "Share of q's draws that is left after weighting them to p; blind to mass that q leaves"
        " out.",
        1.0,
        "below",
        density=True,
    ),
    "psis_khat": Measure(
        "Pareto k-hat",
        "Tail of the weights p/q: above 0.7 weighting does not repair the approximation; blind to"
        " modes that q leaves out.",
        None,
        unranked="no value is ideal; what counts is whether it is below 0.7",
    ),
    "fit_seconds": _cost(
        "Fitting", "Time of fitting with one thread, measuring excluded.", numbers.seconds
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
    "fit_seconds",
    "gradients",
    "peak_memory",
)
# beside a distance, what fits into a terminal
BRIEF = ("mean_error", "sd_error", "fit_seconds", "gradients")
# of those, what goes first where it does not
SPARE = ("sd_error", "gradients", "mean_error", "fit_seconds")
ROUTES = ("kl_lower", "kl_upper", "kl_classifier", "kl_knn", "elbo_gap")
WEIGHTS = ("elbo", "log_z_error", "log_z_error_reverse", "importance_ess", "psis_khat")
DIAGNOSTICS = {
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
# the first that a problem has orders its table and fills its cost curves
DIVERGENCES = ("kl_qp", "kl_knn", "mmd", "kl_pq")
PLUGIN = Measure(
    "", "A metric added by a plugin.", None, "both", unranked="the plugin names no ideal value"
)


def measure(metric: str, declared: Mapping[str, Any] | None = None) -> Measure:
    """The words for a metric.

    One from a plugin goes by its own name. It is ranked by the distance from its ideal, to either
    side, where the run has kept one, and not at all where none is known.

    Args:
        declared: what the run kept under ``metrics``: ``{"unit": str, "ideal": float | None}`` by
            name.
    """
    if metric in MEASURES:
        return MEASURES[metric]
    kept = (declared or {}).get(metric)
    unit, ideal = (
        (kept.get("unit"), kept.get("ideal")) if isinstance(kept, Mapping) else (None, None)
    )
    heading = f"{metric}, {unit}" if unit else metric
    return replace(
        PLUGIN, heading=heading, ideal=float(ideal) if isinstance(ideal, int | float) else None
    )


def more(metrics: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """The metrics beyond the main table, in a fixed order: other routes to the divergence, what
    weights tell, and all else.
    """
    rest = set(metrics) - set(MAIN)
    known = [name for name in MEASURES if name in rest and name not in (*ROUTES, *WEIGHTS)]
    routes, weights = ([name for name in names if name in rest] for names in (ROUTES, WEIGHTS))
    return routes, weights, known + sorted(rest - set(MEASURES))


def divergence(metrics: Iterable[str]) -> str | None:
    """The metric that stands for quality on one problem, or None where there is none that can."""
    found = set(metrics)
    return next((name for name in DIVERGENCES if name in found), None)
