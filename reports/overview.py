"""How far each method is from the truth on every problem, in one table."""

from __future__ import annotations

from reports import numbers
from reports.entries import NONE, entry, seeds
from reports.ranking import Verdict
from reports.readings import FLOOR
from reports.results import Results
from reports.sheet import Entry, Line, Table, floored

SKIPPED = "skipped"  # how a cell ends whose method cannot be run there
NO_DRAWS = "no exact draws"


def overview(results: Results, *, short: bool = False) -> Table:
    """Distances from the truth, the noise floor last; problems stand in rows where there are more
    of them than methods.

    Args:
        results: of the run.
        short: two digits of each figure, without its interval, where a line has many.
    """
    methods = [*(method for method in results.methods if method != FLOOR), FLOOR]
    found = {problem: results.divergence(problem) for problem in results.problems}
    helps = [results.measure(metric).heading if metric else "" for metric in found.values()]
    what = " or ".join(dict.fromkeys(filter(None, helps))) or "No figures"
    notes = _missing(results)
    what += ", without intervals, which the page has" if short else ""
    of = _entry_short if short else _entry_whole
    if len(found) > len(methods):
        lines = [
            Line(problem, words, tuple(of(results, problem, method) for method in methods))
            for problem, words in zip(
                found, helps if len(set(helps)) > 1 else [""] * len(helps), strict=True
            )
        ]
        columns = (
            "Problem",
            *(floored(method) if method == FLOOR else method for method in methods),
        )
        return Table(
            *(what, columns, ("",) * len(columns), tuple(lines), notes),
            floor_column=True,
            rows="problem",
            across="method",
            keys=tuple(methods),
        )
    lines = [
        Line(
            method,
            "",
            tuple(of(results, problem, method) for problem in found),
            method == FLOOR,
        )
        for method in methods
    ]
    return Table(
        *(what, ("Method", *found), ("", *helps), tuple(lines), notes),
        rows="method",
        across="problem",
        keys=tuple(found),
    )


def _entry_short(results: Results, problem: str, method: str) -> Entry:
    key = problem, results.divergence(problem) or "", method
    figure = results.figures.get(key)
    if figure is None:
        found = _entry_whole(results, problem, method)
        ended = dict.fromkeys(cell.status for cell in results.cells_of[problem].get(method, []))
        return Entry(", ".join(ended) if set(ended) - {"ok"} else found.text, own=False)
    ends = [figure.value, *([figure.above.value] if figure.above is not None else [])]
    said = " to ".join(dict.fromkeys(numbers.plain(end, 2) for end in ends))
    verdict = Verdict() if method == FLOOR else results.verdict(key)
    text = f"{numbers.BOUNDS.get(figure.kind, '')}{said}{' misled' if verdict.fault else ''}"
    return Entry(text, verdict=verdict, order=figure.value, kind=figure.kind)


def _entry_whole(results: Results, problem: str, method: str) -> Entry:
    found = entry(results, problem, results.divergence(problem) or "", method)
    if method == FLOOR and not results.has_floor(problem):
        detail = "; ".join(filter(None, [found.detail, NO_DRAWS]))
        return Entry(found.text, detail, brief=detail)
    if found.text != NONE or method not in results.cells_of[problem]:
        return found
    if all(cell.status == SKIPPED for cell in results.cells_of[problem][method]):
        return Entry(SKIPPED, own=False)
    detail = "; ".join(filter(None, seeds(results.cells_of[problem][method])))
    return Entry(NONE, detail, brief=detail, own=False)


def _missing(results: Results) -> tuple[str, ...]:
    """Where there is no noise floor, by the reason."""
    found: dict[str, list[str]] = {}
    for problem in results.problems:
        if reason := results.no_floor(problem):
            found.setdefault(reason, []).append(problem)
    everywhere = len(results.problems)
    return tuple(
        reason if len(of) == everywhere else f"{', '.join(of)}: {reason}"
        for reason, of in found.items()
    )
