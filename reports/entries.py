"""One figure as it is written in a table: its uncertainty, its kind, its verdict, and the floor
that its ruler has.
"""

from __future__ import annotations

import pandas as pd

from reports import numbers
from reports.brackets import LOWER, UPPER, WHOLE
from reports.intervals import BRACKET, Figure
from reports.ranking import Verdict
from reports.results import FLOOR, Results
from reports.sheet import Entry

NONE = "—"
BY_DENSITIES = "by densities"


def shown(figure: Figure) -> str:
    """A figure with its uncertainty; of a bracket both ends."""
    if figure.above is not None:
        return numbers.between(figure.value, figure.above.value, figure.half_width)
    return numbers.bounded(figure.value, figure.half_width, figure.kind)


def entry(results: Results, problem: str, metric: str, method: str) -> Entry:
    """One figure of one method; the row of exact draws says which floor belongs to which ruler."""
    words, figure = results.measure(metric), results.figures.get((problem, metric, method))
    if words.written is not None:
        return _cost(results, problem, metric, method)
    if method == FLOOR:
        return _floor(results, problem, metric)
    if figure is None:
        return Entry(NONE)
    if _told(results, problem, metric, method, figure):
        return Entry(f"as {results.measure(WHOLE).short}")
    verdict = results.verdicts.get((problem, metric, method), Verdict())
    return Entry(
        shown(figure), ", ".join(_remarks(results, problem, metric, method, figure)), verdict
    )


def _cost(results: Results, problem: str, metric: str, method: str) -> Entry:
    key, written = (problem, metric, method), results.measure(metric).written
    values, figure = results.rows(key)["value"], results.figures.get(key)
    if figure is None or written is None:
        return Entry(NONE)
    return Entry(written(figure.value), numbers.span(values.min(), values.max(), written))


def _remarks(results: Results, problem: str, metric: str, method: str, figure: Figure) -> list[str]:
    words, ruler = results.measure(metric), results.ruler(problem, metric)
    said = (
        [figure.kind] if metric == results.divergence(problem) or figure.kind != "estimate" else []
    )
    if figure.seeds < (asked := len(results.rows((problem, metric, method)))):
        said.append(f"{figure.seeds} of {asked} seeds")
    if words.ideal is None:
        return said
    distance, refuting = (
        results.distance((problem, metric, method)),
        results.refuted(problem, metric, method),
    )
    if ruler.misled(distance):
        said.append("misled: below the floor")
    elif refuting is not None:
        said.append(f"misled: at least {numbers.plain(refuting.least, 2)}")
    elif figure.kind == "lower bound" and ruler.floor is not None and ruler.within(distance):
        said.append("inside the floor")
    return said


def _floor(results: Results, problem: str, metric: str) -> Entry:
    """What the rulers of one metric read on the truth: exact draws by the ruler for draws,
    densities by theirs.
    """
    words, figure = results.measure(metric), results.figures.get((problem, metric, FLOOR))
    ideal = None if words.ideal is None else f"{words.ideal:g}"
    kinds = {
        f.kind
        for (p, m, method), f in results.figures.items()
        if (p, m) == (problem, metric) and method != FLOOR
    }
    own = figure.kind if figure is not None else "estimate"
    sharp = ideal is not None and (
        words.density or kinds & ({"exact", BRACKET, "lower bound", "upper bound"} - {own})
    )
    if figure is None:
        return Entry(ideal or NONE, BY_DENSITIES) if sharp else Entry(NONE)
    kind = figure.kind if metric == results.divergence(problem) or figure.kind != "estimate" else ""
    return Entry(
        shown(figure), "; ".join(filter(None, [kind, f"{ideal} {BY_DENSITIES}" if sharp else ""]))
    )


def _told(results: Results, problem: str, metric: str, method: str, figure: Figure) -> bool:
    """Whether a bound says no more than KL(q||p) itself does, in whose entry it stands."""
    whole = results.figures.get((problem, WHOLE, method))
    if whole is None or metric not in (LOWER, UPPER):
        return False
    if metric == UPPER and whole.kind == BRACKET:
        return True
    known = {LOWER: ("exact", BRACKET, "lower bound"), UPPER: ("exact",)}[metric]
    return whole.kind in known and figure.value <= whole.value + whole.half_width


def tells(found: Entry) -> bool:
    """Whether an entry holds a figure of its own."""
    return found.text != NONE and not found.text.startswith("as ")


def seeds(rows: pd.DataFrame) -> str:
    """How many cells there are, and how those ended that did not end well."""
    cells = rows.drop_duplicates("key")
    whole, total = int((cells["status"] == "ok").sum()), len(cells)
    counted = f"{total} seed{'s' * (total != 1)}"
    if whole == total:
        return counted
    return (
        f"{whole} of {counted};"
        f" {', '.join(dict.fromkeys(cells.loc[cells['status'] != 'ok', 'status']))}"
    )
