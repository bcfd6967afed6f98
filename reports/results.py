"""Results worked out once for tables and pictures alike: seeds combined, methods ranked, the noise
floor set apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from bench.store import Store
from reports.brackets import bracketed
from reports.frame import diagnostics, latest, load
from reports.glossary import Measure, divergence, measure
from reports.intervals import BRACKET, MIRRORED, Figure, combine, deviation, floor, loss
from reports.ranking import Ruler, Verdict, rank

FLOOR = "exact"  # the method whose row is the noise floor
# of a ruler that reads the truth without noise, as a distance from its ideal
NIL = Figure(0.0, 0.0, 0.0, "estimate", 1)
ESTIMATED = ("kl_qp", "kl_knn")  # KL(q||p), possibly by neighbours
PROVEN = ("kl_qp", "kl_lower", "kl_classifier")  # the same, possibly exact or from below
Key = tuple[str, str, str]  # problem, metric, method


@dataclass(frozen=True, eq=False)
class Results:
    """Everything the tables and pictures need, worked out once.

    Args:
        frame: ``frame.load``, the latest cell of each problem, method and seed, lower bounds joined
            with upper ones.
        finals: the rows of cells that ended well, at their last checkpoint.
        figures: seeds combined, by problem, metric and method.
        verdicts: the same keys, the floor's own row left out.
        diagnostics: what methods report of themselves, a dictionary a cell, by problem and method.
        declared: unit and ideal of metrics, by name, as far as the run kept them.
    """

    frame: pd.DataFrame
    finals: pd.DataFrame
    figures: Mapping[Key, Figure]
    verdicts: Mapping[Key, Verdict]
    diagnostics: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
    declared: Mapping[str, Any]

    @property
    def problems(self) -> list[str]:
        return list(dict.fromkeys(self.frame["problem"]))

    @property
    def methods(self) -> list[str]:
        """Labels in the order they were met, the noise floor last."""
        found = list(dict.fromkeys(self.frame["method"]))
        return sorted(found, key=lambda method: method == FLOOR)

    def measure(self, metric: str) -> Measure:
        """The words for a metric of this run."""
        return measure(metric, self.declared)

    def metrics(self, problem: str) -> list[str]:
        """Metrics with a figure for some method other than the floor; all of them where there is no
        other.
        """
        here = [(metric, method) for of, metric, method in self.figures if of == problem]
        return list(
            dict.fromkeys(metric for metric, method in here if method != FLOOR) or dict(here)
        )

    def divergence(self, problem: str) -> str | None:
        """The metric that stands for quality there."""
        return divergence(self.metrics(problem))

    def has_floor(self, problem: str) -> bool:
        """Whether exact draws were measured there."""
        return any(of == problem and method == FLOOR for of, _, method in self.figures)

    def no_floor(self, problem: str) -> str:
        """Why there is no noise floor, and how to get one; empty where there is."""
        if self.has_floor(problem):
            return ""
        ran = ((self.frame["problem"] == problem) & (self.frame["method"] == FLOOR)).any()
        why = (
            "no cell of the method exact ended with a figure"
            if ran
            else "the method exact was not run; add it with -m exact"
        )
        return (
            f"No noise floor: {why}. Without one an estimate may be noise, and none is called best."
        )

    def distance(self, key: Key) -> Figure:
        """A figure as a distance from the ideal of its metric."""
        words, figure = self.measure(key[1]), self.figures[key]
        if (
            words.worse != "both"
            or words.ideal is None
            or not math.isfinite(figure.value)
            or figure.kind in MIRRORED
        ):
            return loss(figure, words.ideal or 0.0, words.worse)
        return deviation(*_readings(self.rows(key).dropna(subset=["value"])), words.ideal)

    def rows(self, key: Key) -> pd.DataFrame:
        """What became of one metric at the end of each cell that ended well: with a value, or
        skipped.
        """
        problem, metric, method = key
        of = self.finals
        return of[(of["problem"] == problem) & (of["metric"] == metric) & (of["method"] == method)]

    def ruler(self, problem: str, metric: str) -> Ruler:
        """What the rulers of a metric read on the truth there, as a distance from its ideal."""
        words, own = self.measure(metric), self.figures.get((problem, metric, FLOOR))
        if own is None:
            return Ruler(NIL if words.density else None, words.astray)
        return Ruler(loss(own, words.ideal or 0.0, words.worse), words.astray)

    def refuted(self, problem: str, metric: str, method: str) -> Figure | None:
        """What is proven of KL(q||p), as a lower bound, where it denies an estimate of it; None
        where nothing does.

        Neighbours read a map that folds space into thin sheets as the truth, or as much nearer to
        it than it is; its density, a classifier or a density model may see that. Denied is an
        estimate that lies below the bound with all of its interval, or inside its noise floor while
        the bound is outside of its own.
        """
        figure, ruler = self.figures.get((problem, metric, method)), self.ruler(problem, metric)
        if metric not in ESTIMATED or figure is None or figure.kind != "estimate":
            return None
        found = {
            name: self.figures.get((problem, name, method)) for name in PROVEN if name != metric
        }
        proven = [
            replace(bound, kind="lower bound", above=None)
            for name, bound in found.items()
            if bound is not None
            and bound.kind in ("exact", "lower bound", BRACKET)
            and not self.ruler(problem, name).within(bound)
            and (ruler.within(figure) or bound.least > figure.high)
        ]
        return max(proven, key=lambda bound: bound.least, default=None)

    def misled(self, key: Key) -> bool:
        """Whether an estimate is known to be wrong: below all that the truth reads, or denied by a
        bound.
        """
        return self.ruler(*key[:2]).misled(self.distance(key)) or self.refuted(*key) is not None


def summarise(store: Store) -> Results:
    """Read a run, combine its seeds and rank its methods."""
    frame, declared = bracketed(latest(load(store))), store.info().get("metrics")
    whole = frame[(frame["status"] == "ok") & frame["checkpoint"].notna()]
    finals = whole[whole["checkpoint"] == whole.groupby("key")["checkpoint"].transform("max")]
    found = Results(
        frame,
        finals,
        _figures(finals),
        {},
        diagnostics(store),
        declared if isinstance(declared, Mapping) else {},
    )
    return replace(found, verdicts=_verdicts(found))


def _figures(finals: pd.DataFrame) -> dict[Key, Figure]:
    figures: dict[Key, Figure] = {}
    for group, rows in finals.dropna(subset=["value"]).groupby(
        ["problem", "metric", "method"], sort=False
    ):
        problem, metric, method = map(str, group)
        ends = [
            None if pd.isna(end) else (end, error)
            for end, error in zip(rows["upper"], rows["upper_stderr"], strict=True)
        ]
        found = _readings(rows)
        figures[problem, metric, method] = (
            floor(*found) if method == FLOOR else combine(*found, ends)
        )
    return figures


def _readings(rows: pd.DataFrame) -> tuple[list[float], list[float], list[str]]:
    """Values, standard errors and kinds, one a seed."""
    return (
        rows["value"].tolist(),
        rows["stderr"].fillna(0.0).tolist(),
        rows["kind"].fillna("estimate").tolist(),
    )


def _verdicts(results: Results) -> dict[Key, Verdict]:
    verdicts: dict[Key, Verdict] = {}
    for problem, metric in dict.fromkeys(
        (problem, metric) for problem, metric, _ in results.figures
    ):
        words, ruler = results.measure(metric), results.ruler(problem, metric)
        if words.ideal is None:
            continue
        methods = [
            method
            for (p, m, method) in results.figures
            if (p, m) == (problem, metric) and method != FLOOR
        ]
        here = {
            method: (
                results.refuted(problem, metric, method)
                or results.distance((problem, metric, method))
            )
            for method in methods
        }
        for method, figure in here.items():
            if figure.seeds < len(
                results.rows((problem, metric, method))
            ):  # a seed without a figure, of an infinite KL say
                here[method] = replace(figure, seeds=1)  # earns no ★, and is trusted as one seed is
        ranked = rank(here, ruler.floor, astray=ruler.astray)
        verdicts |= {(problem, metric, method): verdict for method, verdict in ranked.items()}
    return verdicts


def ordered(results: Results, problem: str, methods: Iterable[str]) -> list[str]:
    """Methods by what they reached on one problem, those misled and those without a figure after
    them, the noise floor last.

    Those that cannot be told from the truth come first and in the order they were met: an order by
    value would tell them apart.
    """
    metric = results.divergence(problem) or ""

    def place(method: str) -> tuple[bool, bool, bool, bool, float]:
        key = problem, metric, method
        figure, near = results.figures.get(key), results.verdicts.get(key, Verdict()).at_floor
        misled = figure is not None and method != FLOOR and results.misled(key)
        return (
            method == FLOOR,
            figure is None,
            misled,
            not near,
            figure.value if figure and not near else 0.0,
        )

    return sorted(methods, key=place)
