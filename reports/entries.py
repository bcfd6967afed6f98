"""One figure as it is written in a table: its uncertainty, its kind, its verdict, and the floor
that its estimator has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports import numbers
from reports.brackets import LOWER, WHOLES
from reports.comparing import ROUNDING
from reports.intervals import BRACKET, Figure
from reports.readings import FLOOR, End
from reports.results import Results
from reports.sheet import Entry

NONE = "—"
BY_DENSITIES = "by densities"
ZERO = "0 to rounding"
NO_INTERVAL = "no interval"  # of one run of draws that interact
LISTED = 3  # seeds whose values are written one by one; of more, the lowest and the highest
Remark = tuple[str, bool]  # words, and whether they stay where a table is brief


def shown(figure: Figure, *, rounds: bool = True) -> str:
    """A figure with its uncertainty; of a bracket both ends.

    Args:
        figure: what is known.
        rounds: whether it is so scaled that nothing below ``ROUNDING`` was measured.
    """
    ends = [figure.value, *([figure.above.value] if figure.above is not None else [])]
    if math.isnan(figure.half_width) and math.isfinite(figure.value):
        return f"{numbers.plain(figure.value)}, {NO_INTERVAL}"
    if rounds and max(*map(abs, ends), figure.half_width) < ROUNDING:
        return ZERO
    if figure.above is not None:
        return numbers.between(figure.value, figure.above.value, figure.half_width)
    return numbers.bounded(figure.value, figure.half_width, figure.kind)


def seeds_apart(values: Sequence[float]) -> str:
    """What seeds that differ read, each or from the lowest to the highest."""
    if not values:
        return ""
    if len(values) <= LISTED:
        return f"seeds {', '.join(numbers.plain(value, 3) for value in values)}"
    return f"seeds {numbers.plain(values[0], 3)} to {numbers.plain(values[-1], 3)}"


def entry(results: Results, problem: str, metric: str, method: str) -> Entry:
    """One figure of one method; the row of exact draws says which floor is whose."""
    key = problem, metric, method
    words, figure = results.measure(metric), results.figures.get(key)
    if words.written is not None:
        return _cost(results, problem, metric, method)
    if method == FLOOR:
        return _floor(results, problem, metric)
    if figure is None:
        absent = dict.fromkeys(found.status for found in results.rows(key))
        return Entry(NONE, ", ".join(absent), own=False)
    if _told(results, problem, metric, method, figure):
        return Entry(f"as {results.measure(WHOLES[metric]).short}", own=False)
    remarks = _remarks(results, problem, metric, method, figure)
    return Entry(
        shown(figure, rounds=words.rounds),
        ", ".join(text for text, _ in remarks),
        results.verdict(key),
        brief=", ".join(text for text, stays in remarks if stays),
        order=figure.value,
        kind=figure.kind,
    )


def _cost(results: Results, problem: str, metric: str, method: str) -> Entry:
    key, written = (problem, metric, method), results.measure(metric).written
    figure = results.figures.get(key)
    values = [found.value for found in results.rows(key) if found.value is not None]
    if figure is None or written is None:
        return Entry(NONE, own=False)
    spread = numbers.span(min(values), max(values), written)
    return Entry(written(figure.value), spread, order=figure.value)


def _remarks(
    results: Results, problem: str, metric: str, method: str, figure: Figure
) -> list[Remark]:
    key, words, noise = (
        (problem, metric, method),
        results.measure(metric),
        results.noise(problem, metric),
    )
    said: list[Remark] = []
    if metric == results.divergence(problem) or figure.kind != "estimate":
        said.append((figure.kind, False))
    if figure.seeds < (asked := len(results.rows(key))):
        said.append((f"{figure.seeds} of {asked} seeds", True))
    if apart := seeds_apart(figure.spread):
        said.append((apart, True))
    if words.ideal is None:
        return said
    if fault := blamed(results, problem, metric, method):
        said.append((fault, True))
    elif (
        figure.kind == "lower bound"
        and noise.floor is not None
        and noise.within(results.distance(key))
    ):
        said.append(("inside the floor", False))
    return said


def blamed(results: Results, problem: str, metric: str, method: str) -> str:
    """Why a figure is not believed, in a few words; empty where it is."""
    key = problem, metric, method
    fault = results.verdict(key).fault
    if fault == "impossible":
        return "cannot be: never below 0"
    if fault == "below":
        return "misled: below the floor"
    if fault == "denied" and (refuting := results.refuted(*key)) is not None:
        return f"misled: at least {numbers.plain(refuting.low, 2)}"
    if fault == "interacting":
        return "misled: the draws interact"
    if fault == "chains":
        worst = results.r_hat(problem, method)
        return f"misled: chains disagree, R-hat {numbers.plain(worst or math.nan, 3)}"
    return ""


def _floor(results: Results, problem: str, metric: str) -> Entry:
    """What one metric reads on the truth: exact draws by its estimator from draws,
    densities by theirs.
    """
    words, figure = results.measure(metric), results.figures.get((problem, metric, FLOOR))
    ideal = None if words.ideal is None else f"{words.ideal:g}"
    kinds = {
        results.figures[problem, metric, method].kind
        for method in results.measured(problem, metric)
    }
    own = figure.kind if figure is not None else "estimate"
    sharp = ideal is not None and (
        words.density or kinds & ({"exact", BRACKET, "lower bound", "upper bound"} - {own})
    )
    if figure is None:
        return Entry(ideal or NONE, BY_DENSITIES) if sharp else Entry(NONE, own=False)
    kind = figure.kind if metric == results.divergence(problem) or figure.kind != "estimate" else ""
    return Entry(
        shown(figure, rounds=words.rounds),
        "; ".join(filter(None, [kind, f"{ideal} {BY_DENSITIES}" if sharp else ""])),
    )


def _told(results: Results, problem: str, metric: str, method: str, figure: Figure) -> bool:
    """Whether a bound says no more than the quantity itself does, in whose entry it stands."""
    whole = results.figures.get((problem, WHOLES.get(metric, ""), method))
    if whole is None:
        return False
    if metric != LOWER and whole.kind == BRACKET:
        return True
    known = ("exact", BRACKET, "lower bound") if metric == LOWER else ("exact",)
    return whole.kind in known and figure.value <= whole.value + whole.half_width


def seeds(cells: Sequence[End]) -> tuple[str, str]:
    """How many cells there are, and how those ended that did not end well."""
    whole, total = sum(cell.status == "ok" for cell in cells), len(cells)
    counted = f"{total} seed{'s' * (total != 1)}"
    if whole == total:
        return counted, ""
    ended = ", ".join(dict.fromkeys(cell.status for cell in cells if cell.status != "ok"))
    return f"{whole} of {counted}", ended
