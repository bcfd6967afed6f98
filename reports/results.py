"""Results worked out once for tables and pictures alike: seeds combined, methods ranked, the noise floor set apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.store import Store
from reports.frame import diagnostics, latest, load
from reports.glossary import divergence, measure
from reports.ranking import Figure, Verdict, combine, rank

FLOOR = "exact"  # the method whose row is the noise floor
Key = tuple[str, str, str]  # problem, metric, method


@dataclass(frozen=True, eq=False)
class Results:
    """Everything the tables and pictures need, worked out once.

    Args:
        frame: ``frame.load``, the latest cell of each problem, method and seed.
        finals: the rows of cells that ended well, at their last checkpoint.
        figures: seeds combined, by problem, metric and method.
        verdicts: the same keys, the floor's own row left out.
        diagnostics: what methods report of themselves, a dictionary a cell, by problem and method.
    """

    frame: pd.DataFrame
    finals: pd.DataFrame
    figures: Mapping[Key, Figure]
    verdicts: Mapping[Key, Verdict]
    diagnostics: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]

    @property
    def problems(self) -> list[str]:
        return list(dict.fromkeys(self.frame["problem"]))

    @property
    def methods(self) -> list[str]:
        """Labels in the order they were met, the noise floor last."""
        found = list(dict.fromkeys(self.frame["method"]))
        return sorted(found, key=lambda method: method == FLOOR)

    def metrics(self, problem: str) -> list[str]:
        """Metrics with a figure for some method other than the floor; all of them where there is no other."""
        found = {metric: method for (of, metric, method) in self.figures if of == problem and method != FLOOR}
        return list(found or {metric: "" for (of, metric, _) in self.figures if of == problem})

    def divergence(self, problem: str) -> str | None:
        """The metric that stands for quality there."""
        return divergence(self.metrics(problem))


def summarise(store: Store) -> Results:
    """Read a run, combine its seeds and rank its methods."""
    frame = latest(load(store))
    whole = frame[(frame["status"] == "ok") & frame["checkpoint"].notna()]
    finals = whole[whole["checkpoint"] == whole.groupby("key")["checkpoint"].transform("max")]
    figures: dict[Key, Figure] = {}
    for group, rows in finals.dropna(subset=["value"]).groupby(["problem", "metric", "method"], sort=False):
        problem, metric, method = map(str, group)
        stderrs, kinds = rows["stderr"].fillna(0.0).tolist(), rows["kind"].fillna("estimate").tolist()
        figures[problem, metric, method] = combine(rows["value"].tolist(), stderrs, kinds)
    verdicts: dict[Key, Verdict] = {}
    for problem, metric in dict.fromkeys((problem, metric) for problem, metric, _ in figures):
        here = {method: figure for (p, m, method), figure in figures.items() if (p, m) == (problem, metric)}
        floor = here.pop(FLOOR, None)
        if measure(metric).ranked:
            verdicts |= {(problem, metric, method): verdict for method, verdict in rank(here, floor).items()}
    return Results(frame, finals, figures, verdicts, diagnostics(store))


def ordered(results: Results, problem: str, methods: Iterable[str]) -> list[str]:
    """Methods by what they reached on one problem, those without a figure after them, the noise floor last."""
    metric = results.divergence(problem) or ""

    def place(method: str) -> tuple[bool, bool, float]:
        figure = results.figures.get((problem, metric, method))
        return method == FLOOR, figure is None, figure.value if figure else 0.0

    return sorted(methods, key=place)
