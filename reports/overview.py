"""The page's first answer: how far each method is from the truth on every problem, and what may be
said of it in words.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports.entries import NONE, entry, seeds
from reports.results import FLOOR, Results, ordered
from reports.sheet import Entry, Line, Table, floored


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
    rows = results.frame[
        (results.frame["problem"] == problem) & (results.frame["method"] == method)
    ]
    if method == FLOOR and not results.has_floor(problem):
        return Entry(found.text, "; ".join(filter(None, [found.detail, "no exact draws"])))
    return found if found.text != NONE or rows.empty else Entry(NONE, seeds(rows))


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


def summary(results: Results, problem: str) -> str:
    """What the figures allow to be said of one problem, in words."""
    metric = results.divergence(problem)
    here = {
        method: figure
        for (p, m, method), figure in results.figures.items()
        if (p, m) == (problem, metric)
    }
    if metric is None or not set(here) - {FLOOR}:
        return "No method has a distance from the truth here."
    names = [method for method in ordered(results, problem, here) if method != FLOOR]
    verdicts = {method: results.verdicts[problem, metric, method] for method in names}
    best = [method for method in names if verdicts[method].rank == "best"]
    tied = [method for method in names if verdicts[method].rank == "tied"]
    floor = [method for method in names if verdicts[method].at_floor]
    bounds = [method for method in names if here[method].kind == "lower bound"]
    said = [f"{best[0]} is closest to the truth."] if best else []
    said += [f"no method is shown to be better than {_either(tied)}."] if tied else []
    said += [f"Not to be told from the truth: {', '.join(floor)}."] if floor else []
    said += [f"Known by a lower bound only: {', '.join(bounds)}."] if bounds else []
    said += [] if results.has_floor(problem) else ["No noise floor was measured."]
    told = bool(best or tied or floor or bounds)
    return " ".join(
        [f"{results.measure(metric).short}:", *said]
        if told
        else ["Nothing tells the methods apart here.", *said]
    )


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
