"""What each metric is called on the page, in which unit, and what it says in one sentence for a reader new to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reports import numbers


@dataclass(frozen=True)
class Measure:
    """A metric for readers.

    Args:
        heading: of its column.
        meaning: one sentence.
        ranked: whether 0 is perfect and more is worse, so that methods can be ranked by it.
        written: how a cost, known without an uncertainty, is written; None for a figure with an interval.
    """

    heading: str
    meaning: str
    ranked: bool = True
    written: Callable[[float], str] | None = None


MEASURES = {
    "kl_qp": Measure(
        "KL(q‖p), nats",
        "Kullback–Leibler divergence from the approximation q to the true posterior p, in units of the natural logarithm: "
        "large where q puts mass that p lacks.",
    ),
    "kl_pq": Measure(
        "KL(p‖q), nats", "The same in the other direction; large where q misses mass that p has, a lost mode for example."
    ),
    "mean_error": Measure(
        "Mean error, sd", "Error of the posterior mean in the worst coordinate, in units of the true standard deviation."
    ),
    "sd_error": Measure(
        "SD error, sd", "Error of the posterior standard deviation in the worst coordinate, in units of the true one."
    ),
    "mmd": Measure(
        "MMD²", "Squared maximum mean discrepancy: a distance between two distributions by a kernel, 0 where they are equal."
    ),
    "mode_balance": Measure("Mode balance", "How far the shares of the posterior's named modes are from the true shares."),
    "kl_knn": Measure(
        "KL by neighbours, nats",
        "KL(q‖p) estimated from draws alone by nearest neighbours: the same ruler for every method, biased when far from 0.",
    ),
    "elbo": Measure(
        "ELBO, nats",
        "Evidence lower bound, which variational methods maximise: at most log Z, the log of the evidence.",
        ranked=False,
    ),
    "elbo_gap": Measure("ELBO gap, nats", "log Z, the log of the evidence, less the ELBO: KL(q‖p) once more."),
    "fit_seconds": Measure("Fitting", "Time of fitting with one thread, measuring excluded.", False, numbers.seconds),
    "gradients": Measure("Gradients", "Gradient evaluations of the log density, one per point.", False, numbers.count),
    "evaluations": Measure("Evaluations", "Evaluations of the log density, one per point.", False, numbers.count),
    "sampling_seconds": Measure(
        "Sampling",
        "Time per 1,000 draws once fitted; for a sampler of chains that is the fitting itself.",
        False,
        numbers.seconds,
    ),
    "peak_memory": Measure(
        "Memory", "Peak memory of the fit above what the process held when it began.", False, numbers.memory
    ),
}
MAIN = ("kl_qp", "kl_pq", "mean_error", "sd_error", "mmd", "mode_balance", "fit_seconds", "gradients", "peak_memory")
BRIEF = ("mean_error", "sd_error", "fit_seconds", "gradients")  # beside a distance, what fits into a terminal
DIAGNOSTICS = {
    "r_hat": Measure("Split R-hat", "Agreement of the chains; above 1.01 they have not found the same distribution.", False),
    "ess_bulk": Measure(
        "Bulk ESS", "Independent draws that the chains are worth for the bulk of the worst coordinate.", False, numbers.count
    ),
    "ess_tail": Measure("Tail ESS", "The same for the 5% and 95% quantiles.", False, numbers.count),
    "e_fmi": Measure("E-FMI", "How well the energy is explored; below 0.3 the tails are visited too seldom.", False),
    "divergences": Measure(
        "Divergences", "Steps where the simulated dynamics broke down; any at all is a warning.", False, numbers.count
    ),
    "accept_rate": Measure("Acceptance", "Mean probability of accepting a proposal.", False),
    "step_size": Measure("Step size", "Of the simulated dynamics, after adaptation.", False),
    "steps_per_draw": Measure("Steps per draw", "Gradient evaluations behind each draw, on average.", False),
    "cut_short": Measure("Cut short", "Draws whose path was still going at its greatest length.", False, numbers.count),
}
DIVERGENCES = ("kl_qp", "kl_knn", "mmd", "kl_pq")  # the first that a problem has orders its table and fills its cost curves


def measure(metric: str) -> Measure:
    """The words for a metric; one from a plugin goes by its own name, and is not ranked: nothing says which way is better."""
    return MEASURES.get(metric, Measure(metric, "A metric added by a plugin.", ranked=False))


def more(metrics: Iterable[str]) -> list[str]:
    """The metrics beyond the main table, known ones first, in a fixed order."""
    rest = set(metrics) - set(MAIN)
    return [name for name in MEASURES if name in rest] + sorted(rest - set(MEASURES))


def divergence(metrics: Iterable[str]) -> str | None:
    """The metric that stands for quality on one problem, or None where there is none that can."""
    found = set(metrics)
    return next((name for name in DIVERGENCES if name in found), None)
