"""How far each method is from the truth on every problem, in one table."""

from __future__ import annotations

from reports.entries import NONE, entry, seeds
from reports.readings import FLOOR
from reports.results import Results
from reports.sheet import Entry, Line, Table, floored

NO_DRAWS = "no exact draws"


def overview(results: Results) -> Table:
    """Distances from the truth, the noise floor last; problems stand in rows where there are more
    of them than methods.
    """
    methods = [*(method for method in results.methods if method != FLOOR), FLOOR]
    found = {problem: results.divergence(problem) for problem in results.problems}
    helps = [results.measure(metric).heading if metric else "" for metric in found.values()]
    what = " or ".join(dict.fromkeys(filter(None, helps))) or "No figures"
    notes = _missing(results)
    if len(found) > len(methods):
        lines = [
            Line(problem, words, tuple(_entry(results, problem, method) for method in methods))
            for problem, words in zip(
                found, helps if len(set(helps)) > 1 else [""] * len(helps), strict=True
            )
        ]
        columns = (
            "Problem",
            *(floored(method) if method == FLOOR else method for method in methods),
        )
        return Table(what, columns, ("",) * len(columns), tuple(lines), notes, floor_column=True)
    lines = [
        Line(
            method,
            "",
            tuple(_entry(results, problem, method) for problem in found),
            method == FLOOR,
        )
        for method in methods
    ]
    return Table(what, ("Method", *found), ("", *helps), tuple(lines), notes)


def _entry(results: Results, problem: str, method: str) -> Entry:
    found = entry(results, problem, results.divergence(problem) or "", method)
    if method == FLOOR and not results.has_floor(problem):
        detail = "; ".join(filter(None, [found.detail, NO_DRAWS]))
        return Entry(found.text, detail, brief=detail)
    if found.text != NONE or method not in results.cells_of[problem]:
        return found
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
