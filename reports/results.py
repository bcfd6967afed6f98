"""Results worked out once for tables and pictures alike: seeds combined, methods ranked, the noise
floor set apart.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from bench.store import GENERATIVE, NOTE, ORIGINS, TRAITS, Store
from reports.brackets import bracketed
from reports.comparing import ROUNDING
from reports.frame import cells_of, diagnostics, joined, latest
from reports.glossary import NEVER_NEGATIVE, OWN_DRAWS, Measure, divergence, measure
from reports.intervals import BRACKET, MIRRORED, Figure, deviation, loss
from reports.ranking import Fault, Margin, NoiseFloor, Ranking, Verdict, rank
from reports.readings import FLOOR, End, Key, Reading, columns_of, figures_of, readings_of

# of an estimator that reads the truth without noise, as a distance from its ideal
NIL = Figure(0.0, 0.0, 0.0, "estimate", 1)
ESTIMATED = ("kl_qp", "kl_knn")  # KL(q||p), possibly by neighbours
PROVEN = ("kl_qp", "kl_lower", "kl_classifier")  # the same, possibly exact or from below
APART = ("cut-short", "partial")  # how a cell ends whose figures are shown, but neither averaged
# split R-hat of chains that have not found the same distribution; 1.01 is the aim, and slow chains
# that agree all the same stay below this
DISAGREE = 1.1
SURELY = 4.0  # standard errors below zero, from which on a divergence cannot be


@dataclass(frozen=True, eq=False)
class Results:
    """Everything the tables and pictures need, worked out once.

    Args:
        frame: ``frame.load``, the latest cell of each problem, method and seed, lower bounds joined
            with upper ones.
        readings: of the cells that ended well, at their last checkpoint, by problem, metric and
            method.
        figures: seeds combined, by the same keys.
        diagnostics: what methods report of themselves, a dictionary a cell, by problem and method.
        declared: the words of metrics, by name, as far as the run kept them.
        origins: where the settings of each method come from, by its label, as far as the run kept
            them.
        traits: what each problem is known for, by its label, as far as the run kept it.
        published: of published cells, by key, why they are stale; empty where they are not.
        note: what a reader must know of published cells.
        clocked: whether any cell was planned by seconds, so that figures depend on the machine.
    """

    frame: pd.DataFrame
    readings: Mapping[Key, Sequence[Reading]]
    figures: Mapping[Key, Figure]
    diagnostics: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
    declared: Mapping[str, Any]
    clocked: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)
    traits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @functools.cached_property
    def cells(self) -> list[End]:
        """How each cell ended, in the order they ended."""
        columns = ["key", "problem", "method", "seed", "status", "reason"]
        found = self.frame.drop_duplicates("key")[columns]
        return [End(*row) for row in found.itertuples(index=False)]

    @functools.cached_property
    def _parts(self) -> dict[str, pd.DataFrame]:
        return {str(problem): rows for problem, rows in self.frame.groupby("problem", sort=False)}

    @functools.cached_property
    def cells_of(self) -> dict[str, dict[str, list[End]]]:
        """The cells of each method on each problem."""
        found: dict[str, dict[str, list[End]]] = {}
        for cell in self.cells:
            found.setdefault(cell.problem, {}).setdefault(cell.method, []).append(cell)
        return found

    @functools.cached_property
    def _rankings(self) -> dict[tuple[str, str], Ranking]:
        return {}

    @functools.cached_property
    def problems(self) -> list[str]:
        """Labels in the order they were met."""
        return list(self.cells_of)

    @functools.cached_property
    def methods(self) -> list[str]:
        """Labels in the order they were met, the noise floor last."""
        found = list(dict.fromkeys(cell.method for cell in self.cells))
        return sorted(found, key=lambda method: method == FLOOR)

    @functools.cached_property
    def _metrics(self) -> dict[str, dict[str, list[str]]]:
        """Methods with a figure, by problem and metric."""
        found: dict[str, dict[str, list[str]]] = {problem: {} for problem in self.problems}
        for problem, metric, method in self.figures:
            found[problem].setdefault(metric, []).append(method)
        return found

    def of(self, problem: str) -> pd.DataFrame:
        """The part of ``frame`` that belongs to one problem."""
        return self._parts[problem]

    def measure(self, metric: str) -> Measure:
        """The words for a metric of this run."""
        return measure(metric, self.declared)

    def metrics(self, problem: str) -> list[str]:
        """Metrics with a figure for some method other than the floor; all of them where there is no
        other.
        """
        here = self._metrics[problem]
        return [metric for metric, of in here.items() if set(of) - {FLOOR}] or list(here)

    def measured(self, problem: str, metric: str) -> list[str]:
        """Methods with a figure of that metric there, the noise floor left out."""
        return [method for method in self._metrics[problem].get(metric, []) if method != FLOOR]

    def divergence(self, problem: str) -> str | None:
        """The metric that stands for quality there."""
        return divergence(self.metrics(problem))

    def has_floor(self, problem: str) -> bool:
        """Whether exact draws were measured there."""
        return any(FLOOR in of for of in self._metrics[problem].values())

    def no_floor(self, problem: str) -> str:
        """Why there is no noise floor, and how to get one; empty where there is, and of generative
        models, whose decoder mostly is to be learned, so that there is no truth to draw from.
        """
        if self.has_floor(problem) or GENERATIVE in self.traits.get(problem, ()):
            return ""
        why = (
            "no cell of the method exact ended with a figure"
            if FLOOR in self.cells_of[problem]
            else "the method exact was not run; add it with -m exact"
        )
        return (
            f"No noise floor: {why}. Without one an estimate may be noise, and none is called best."
        )

    def rows(self, key: Key) -> Sequence[Reading]:
        """What became of one metric at the end of each cell that ended well: with a value, or
        skipped.
        """
        return self.readings.get(key, ())

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
        values, stderrs, kinds, _, seeds = columns_of(self.rows(key))
        return deviation(values, stderrs, kinds, words.ideal, seeds)

    def noise(self, problem: str, metric: str) -> NoiseFloor:
        """What a metric reads on the truth there, as a distance from its ideal."""
        words, own = self.measure(metric), self.figures.get((problem, metric, FLOOR))
        if own is None:
            return NoiseFloor(NIL if words.density else None, words.astray)
        return NoiseFloor(loss(own, words.ideal or 0.0, words.worse), words.astray)

    def refuted(self, problem: str, metric: str, method: str) -> Figure | None:
        """What is proven of KL(q||p), as a lower bound, where it denies an estimate of it; None
        where nothing does.

        Neighbours read a map that folds space into thin sheets as the truth, or as much nearer to
        it than it is; its density, a classifier or a density model may see that. Denied is an
        estimate that lies below the bound with all of its interval, or inside its noise floor while
        the bound is outside of its own.
        """
        figure, noise = self.figures.get((problem, metric, method)), self.noise(problem, metric)
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
            and not self.noise(problem, name).within(bound)
            and (noise.within(figure) or bound.low > figure.high)
        ]
        return max(proven, key=lambda bound: bound.low, default=None)

    def published_as(self, problem: str, method: str) -> str:
        """``published``, and whether it is stale, of a method whose cells there are; empty of a
        run's own.
        """
        keys = [cell.key for cell in self.cells_of[problem].get(method, ())]
        known = [self.published[key] for key in keys if key in self.published]
        return "" if not known else "published, stale" if any(known) else "published"

    def r_hat(self, problem: str, method: str) -> float | None:
        """The largest split R-hat that a method reports there, None where it reports none."""
        found = [cell.get("r_hat") for cell in self.diagnostics.get((problem, method), ())]
        return max((x for x in found if isinstance(x, int | float)), default=None)

    def fault(self, key: Key) -> Fault:
        """Why a figure is not to be believed; empty where nothing speaks against it."""
        problem, metric, method = key
        figure = self.figures[key]
        if metric in NEVER_NEGATIVE and _impossible(figure):
            return "impossible"
        if self.noise(problem, metric).misled(self.distance(key)):
            return "below"
        if self.refuted(*key) is not None:
            return "denied"
        if figure.kind != "estimate" or metric not in ESTIMATED:
            return ""
        chains = self.r_hat(problem, method)
        if chains is not None and chains > DISAGREE:
            return "chains"
        # neighbours give a standard error wherever the draws may be taken for independent
        _, stderrs, *_ = columns_of(self.rows(key))
        return "interacting" if all(map(math.isnan, stderrs)) else ""

    def ranking(self, problem: str, metric: str) -> Ranking:
        """What may be said of each method there, and of each pair of them."""
        if (problem, metric) not in self._rankings:
            self._rankings[problem, metric] = self._ranked(problem, metric)
        return self._rankings[problem, metric]

    def _ranked(self, problem: str, metric: str) -> Ranking:
        words, here, faults = self.measure(metric), {}, {}
        if words.ideal is None:
            return Ranking({}, {})
        for method in self.measured(problem, metric):
            key = problem, metric, method
            faults[method] = self.fault(key)
            here[method] = self.refuted(*key) or self.distance(key)
            if here[method].seeds < len(self.rows(key)):  # a seed of an infinite KL, say
                here[method] = replace(here[method], seeds=1)  # the others do not speak for it
        own = words.density or metric in OWN_DRAWS
        shared = ("estimate",) if own else ("estimate", "exact")
        return rank(here, self.noise(problem, metric), faults=faults, shared=shared)

    def verdict(self, key: Key) -> Verdict:
        """What may be said of one figure."""
        return self.ranking(*key[:2]).verdicts.get(key[2], Verdict())

    def margins(self, problem: str) -> Mapping[tuple[str, str], Margin]:
        """Every pair (better, worse) that is shown by the divergence there, and by how much."""
        metric = self.divergence(problem)
        return self.ranking(problem, metric).shown if metric else {}

    @functools.cached_property
    def verdicts(self) -> dict[Key, Verdict]:
        """Every verdict, the floor's own row left out."""
        return {
            (problem, metric, method): verdict
            for problem in self.problems
            for metric in self._metrics[problem]
            for method, verdict in self.ranking(problem, metric).verdicts.items()
        }


def _impossible(figure: Figure) -> bool:
    """Whether a quantity that is never negative is at most what lies below zero, surely."""
    top = figure.above if figure.above is not None else figure
    return top.kind in ("exact", "upper bound") and any(
        value + SURELY * max(stderr, ROUNDING) < 0 for value, stderr in top.readings.values()
    )


def summarise(store: Store) -> Results:
    """Read a run, combine its seeds and rank its methods."""
    info, cells = store.info(), cells_of(store, store.shown())
    declared, origins, traits = info.get("metrics"), info.get(ORIGINS), info.get(TRAITS)
    frame = bracketed(latest(joined(cells, store.rows())))
    kept = set(frame["key"])
    cells = [cell for cell in cells if cell["key"] in kept]
    whole = frame[(frame["status"] == "ok") & frame["checkpoint"].notna()]
    last = whole.groupby("key")["checkpoint"].transform("max")
    readings = readings_of(whole[whole["checkpoint"] == last])
    return Results(
        frame,
        readings,
        figures_of(readings),
        diagnostics(cells),
        declared if isinstance(declared, Mapping) else {},
        clocked=any(cell["budget"].get("seconds") for cell in cells),
        origins=origins if isinstance(origins, Mapping) else {},
        traits=traits if isinstance(traits, Mapping) else {},
        published=store.published(),
        note=str(info.get(NOTE, "")) if store.published() else "",
    )


def ordered(results: Results, problem: str, methods: Iterable[str]) -> list[str]:
    """Methods by what they reached on one problem, those misled and those without a figure after
    them, the noise floor last.

    Those that cannot be told from the truth come first and in the order they were met: an order by
    value would tell them apart.
    """
    metric = results.divergence(problem) or ""

    def place(method: str) -> tuple[bool, bool, bool, bool, float]:
        key = problem, metric, method
        figure, verdict = results.figures.get(key), Verdict()
        if figure is not None and method != FLOOR:
            verdict = results.verdict(key)
        return (
            method == FLOOR,
            figure is None,
            bool(verdict.fault),
            not verdict.at_floor,
            figure.value if figure and not verdict.at_floor else 0.0,
        )

    return sorted(methods, key=place)
