"""Where each method is good and where it is not: problems by what they are known for."""

from __future__ import annotations

from collections.abc import Sequence

from reports import numbers
from reports.entries import NONE
from reports.readings import FLOOR
from reports.results import Results
from reports.sheet import Entry, Line, Table

TITLE = "Problems by trait"
HELP = (
    "on how many problems of that trait no method is shown to be better, or it cannot be told from"
    " the truth; and its distances there, the smallest and the largest"
)
LEGEND = (
    "“2 of 8”: so many problems of that trait on which a method is among the best: no other is"
    " shown to be better, or it cannot be told from the truth. In brackets: the smallest and the"
    " largest distance there."
)


def by_trait(results: Results) -> Table | None:
    """A line for each trait that some problems of the run share and others have not; None where
    there is none, or fewer than two methods.
    """
    methods = [method for method in results.methods if method != FLOOR]
    shared = _shared(results)
    if len(methods) < 2 or not shared:
        return None
    lines = [
        Line(
            trait,
            f"{len(problems)} problems",
            tuple(_entry(results, problems, method) for method in methods),
        )
        for trait, problems in shared.items()
    ]
    notes = (LEGEND, *filter(None, (_words(results, shared, method) for method in methods)))
    helps = ("", *[HELP] * len(methods))
    columns = ("Trait", *methods)
    return Table(
        *(TITLE, columns, helps, tuple(lines), notes), across="method", keys=tuple(methods)
    )


def _shared(results: Results) -> dict[str, list[str]]:
    """The problems of each trait that tells some of them from others, two or more."""
    found: dict[str, list[str]] = {}
    for problem in results.problems:
        for trait in results.traits.get(problem, ()):
            found.setdefault(trait, []).append(problem)
    everywhere = len(results.problems)
    return {trait: found[trait] for trait in sorted(found) if 1 < len(found[trait]) < everywhere}


def _entry(results: Results, problems: Sequence[str], method: str) -> Entry:
    met = [problem for problem in problems if method in results.cells_of[problem]]
    if not met:
        return Entry(NONE, own=False)
    good = sum(_good(results, problem, method) for problem in met)
    figures = [found for problem in met if (found := _distance(results, problem, method))]
    spread = f"{numbers.plain(min(figures), 2)} to {numbers.plain(max(figures), 2)}"
    return Entry(f"{good} of {len(met)}", spread if figures and _one_metric(results, met) else "")


def _good(results: Results, problem: str, method: str) -> bool:
    metric = results.divergence(problem)
    key = problem, metric or "", method
    if key not in results.figures:
        return False
    said = results.verdict(key)
    return not said.fault and (bool(said.rank) or said.at_floor)


def _distance(results: Results, problem: str, method: str) -> float | None:
    figure = results.figures.get((problem, results.divergence(problem) or "", method))
    return None if figure is None else figure.value


def _one_metric(results: Results, problems: Sequence[str]) -> bool:
    return len({results.divergence(problem) for problem in problems}) == 1


def _words(results: Results, shared: dict[str, list[str]], method: str) -> str:
    """For which traits a method is among the best on all problems, on some, and on none."""
    on: dict[str, list[str]] = {"all": [], "some": [], "none": []}
    for trait, problems in shared.items():
        met = [problem for problem in problems if method in results.cells_of[problem]]
        count = sum(_good(results, problem, method) for problem in met)
        if not met:
            continue
        how = "none" if not count else "all" if count == len(met) else "some"
        on[how].append(f"{trait} ({count} of {len(met)})" if how == "some" else trait)
    parts = [f"on {how} known as {', '.join(traits)}" for how, traits in on.items() if traits]
    return f"{method}: among the best {'; '.join(parts)}." if parts else ""
