"""Tables that say no more than the figures bear out: the noise floor in each, and what it cannot
tell apart left untold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pandas as pd
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from bench.store import Store
from reports import numbers
from reports.console import Fitted, as_rich
from reports.entries import NONE, entry, seeds, shown
from reports.glossary import BRIEF, DIAGNOSTICS, DIVERGENCES, MAIN, SPARE, Measure, more
from reports.guarded import guarded
from reports.intervals import combine
from reports.overview import overview
from reports.readings import FLOOR
from reports.remarks import remarks
from reports.results import APART, Results, ordered, summarise
from reports.sheet import FLOORS, LEGEND, PLUS_MINUS, Entry, Line, Table
from reports.verdict import Verdict, verdict

Made = TypeVar("Made")
MANY = 8  # problems: with more of them, the table that closes a run has one line for each
LINES = 60  # of all such tables together; with more, one of all
OWN_ACCOUNT = (
    "A method's own account, not held against the truth: no noise floor applies, and nothing here"
    " is ranked."
)


def terminal(store: Store, results: Results | None = None) -> RenderableType:
    """What a run prints when it ends: the verdict, a table per problem or one of all, the failures,
    the meaning of the marks.
    """
    results = summarise(store) if results is None else results
    if not results.problems:
        return Group(Text("No cell has ended yet."))
    whole = made(lambda: overview(results))
    parts = verdicts(results)
    if wide(results):
        table = made(lambda: overview(results, short=len(results.problems) <= MANY))
        parts.append(as_rich(_brief(replace(table, notes=()))))
    else:
        parts += [_closing(results, problem) for problem in results.problems]
    ended = [made(partial(make, results)) for make in (set_apart, failures, skipped)]
    parts += [as_rich(found) for found in ended if found]
    words = guarded(lambda: settings_in_words(results), str)
    told = Text(" ".join(filter(None, [PLUS_MINUS, LEGEND, FLOORS, words])), "dim")
    note = [Text(results.note, "yellow")] if results.note else []
    return Group(*parts, told, *map(Text, whole.notes), *note)


def wide(results: Results) -> bool:
    """Whether one table of all has to do where a table a problem would go on for pages."""
    methods = len(results.methods)
    return len(results.problems) > MANY or methods * len(results.problems) > LINES


def made(make: Callable[[], Made]) -> Made | Table:
    """A table, or one that says why it could not be made."""
    return guarded(
        make,
        lambda why: Table(
            "A table that could not be made", ("Reason",), ("",), (Line(why, "", ()),), prose=True
        ),
    )


def said(results: Results, problem: str) -> Verdict:
    """The verdict on a problem, or why there is none."""
    return guarded(
        lambda: verdict(results, problem),
        lambda why: Verdict(f"No verdict could be made: {why}.", ()),
    )


def verdicts(results: Results) -> list[RenderableType]:
    """The verdict of every problem, for the terminal."""
    parts: list[RenderableType] = []
    for problem in results.problems:
        found = said(results, problem)
        parts.append(Text.assemble((f"{problem}: ", "bold"), found.sentence))
        for claim in () if wide(results) else found.claims:
            marked = Text(f"{claim.mark or ' '} {claim.text}", "green" if claim.mark else "")
            parts.append(Padding(marked, (0, 0, 0, 2)))
    return [*parts, Text()]


def _closing(results: Results, problem: str) -> Fitted:
    found = results.metrics(problem)
    metrics = [metric for metric in (results.divergence(problem) or "", *BRIEF) if metric in found]
    drops = [1 + metrics.index(metric) for metric in SPARE if metric in metrics[1:]]
    table = made(lambda: _table(results, problem, problem, metrics, ()))
    return Fitted(_brief(replace(table, notes=())), tuple(drops))


def _brief(table: Table) -> Table:
    """Without remarks, but for those on the floor, on figures that are not believed, and on methods
    that lost cells or figures.
    """
    lines = [
        replace(
            line,
            detail=line.detail if line.floor else line.brief,
            entries=tuple(
                found if line.floor else replace(found, detail=found.brief)
                for found in line.entries
            ),
        )
        for line in table.lines
    ]
    return replace(table, lines=tuple(lines))


def problem_table(results: Results, problem: str) -> Table:
    """Quality and cost of every method on one problem: those near the truth first, then by
    distance, the noise floor last.
    """
    found = results.metrics(problem)
    return _table(
        results,
        problem,
        f"Results on {problem}",
        [metric for metric in MAIN if metric in found],
        MAIN,
    )


def more_tables(results: Results, problem: str) -> list[Table]:
    """The metrics that the main table leaves out, by what they are made of: a table for each group
    that has any.
    """
    found = more(results.metrics(problem))
    asked = more(results.of(problem)["metric"].dropna().unique())
    titles = (
        *("The model's own parameters", "Other routes to the divergence"),
        *("Evidence and importance weights", "Bounds and codes", "Further figures"),
    )
    tables = [
        _table(results, problem, f"{title} on {problem}", *parts)
        for title, *parts in zip(titles, found, asked, strict=True)
    ]
    return [table for table in map(_telling, tables) if len(table.columns) > 1]


def _telling(table: Table) -> Table:
    """Without the columns in which no method has a figure of its own."""
    kept = [
        i
        for i in range(len(table.columns) - 1)
        if any(line.entries[i].own for line in table.lines if not line.floor)
    ]
    kept = kept or [
        i for i in range(len(table.columns) - 1) if all(line.floor for line in table.lines)
    ]
    lines = tuple(
        replace(line, entries=tuple(line.entries[i] for i in kept)) for line in table.lines
    )
    columns, helps = (
        (words[0], *(words[i + 1] for i in kept)) for words in (table.columns, table.helps)
    )
    keys = tuple(table.keys[i] for i in kept)
    return replace(table, columns=columns, helps=helps, lines=lines, keys=keys)


def diagnostics_table(results: Results, problem: str) -> Table | None:
    """What methods report of their own health, from the lowest seed to the highest, or None where
    none does.
    """
    found = {method: cells for (of, method), cells in results.diagnostics.items() if of == problem}
    names = list(dict.fromkeys(name for cells in found.values() for cell in cells for name in cell))
    words = [DIAGNOSTICS.get(name, Measure(name, "", None)) for name in names]
    lines = []
    for method in ordered(results, problem, found):
        entries = []
        for name, word in zip(names, words, strict=True):
            values = [cell[name] for cell in found[method] if cell.get(name) is not None]
            written = word.written or (lambda value: numbers.plain(value, 3))
            text = (
                numbers.span(min(values), max(values), written) or written(values[0])
                if values
                else NONE
            )
            entries.append(Entry(text))
        lines.append(Line(method, "", tuple(entries)))
    columns = ("Method", *(word.heading for word in words))
    helps = ("", *(word.meaning for word in words))
    title = f"What methods say of themselves on {problem}"
    notes = (OWN_ACCOUNT,)
    return Table(title, columns, helps, tuple(lines), notes, rows="method") if lines else None


def _table(
    results: Results, problem: str, title: str, metrics: Sequence[str], noted: Sequence[str]
) -> Table:
    here = results.cells_of[problem]
    lines = []
    for method in ordered(results, problem, dict.fromkeys([*here, FLOOR])):
        counted, ended = seeds(here[method]) if method in here else ("not run", "")
        entries = tuple(entry(results, problem, metric, method) for metric in metrics)
        known = results.published_as(problem, method)
        detail = "; ".join(filter(None, [counted, ended, known]))
        lines.append(Line(method, detail, entries, method == FLOOR, counted if ended else ""))
    words = [results.measure(metric) for metric in metrics]
    columns = ("Method", *(word.heading for word in words))
    helps = ("", *(f"{word.meaning} {word.ranking}".strip() for word in words))
    notes = [*filter(None, [results.no_floor(problem)]), *remarks(results, problem, noted)]
    made_of = title, columns, helps, tuple(lines), tuple(notes)
    return Table(*made_of, rows="method", across="metric", keys=tuple(metrics))


def set_apart(results: Results) -> Table | None:
    """Every cell whose figures are shown and neither averaged nor ranked, with its divergence and
    the reason; None where there is none.
    """
    lines = []
    for _, found in results.frame[results.frame["status"].isin(APART)].groupby("key", sort=False):
        problem, method, seed, status, reason = found.iloc[0][
            ["problem", "method", "seed", "status", "reason"]
        ]
        last = found[found["checkpoint"] == found["checkpoint"].max()]
        metric = next((name for name in DIVERGENCES if name in set(last["metric"])), "")
        read = last[(last["metric"] == metric) & last["value"].notna()].head(1)
        figure = [
            f"{results.measure(metric).short} {shown(combine([value], [error], [kind], [end]))}"
            for value, error, kind, end in zip(
                read["value"], read["stderr"], read["kind"], _ends(read), strict=True
            )
        ]
        words = (problem, status, *(figure or [NONE]), reason or "no reason given")
        lines.append(Line(method, f"seed {seed}", tuple(Entry(text) for text in words)))
    columns = ("Method", "Problem", "How it ended", "Figure", "Reason")
    title = "Cells set apart: neither averaged nor ranked"
    table = Table(title, columns, ("",) * 5, tuple(lines), prose=True, rows="method")
    return table if lines else None


def _ends(rows: pd.DataFrame) -> list[tuple[float, float] | None]:
    return [
        None if pd.isna(end) else (end, error)
        for end, error in zip(rows["upper"], rows["upper_stderr"], strict=True)
    ]


def failures(results: Results) -> Table | None:
    """Every cell that ended without figures that count, with its reason, or None where all did."""
    lines = [
        Line(
            cell.method,
            f"seed {cell.seed}",
            (Entry(cell.problem), Entry(cell.status), Entry(cell.reason or "no reason given")),
        )
        for cell in results.cells
        if cell.status not in ("ok", "skipped", *APART)
    ]
    columns = ("Method", "Problem", "How it ended", "Reason")
    title = "Cells that did not end well"
    table = Table(title, columns, ("",) * 4, tuple(lines), prose=True, rows="method")
    return table if lines else None


def skipped(results: Results) -> Table | None:
    """Methods that could not be run on some problems, by the reason; None where there are none."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in results.cells:
        if cell.status == "skipped":
            found.setdefault((cell.method, cell.reason or "no reason given"), []).append(
                cell.problem
            )
    lines = [
        Line(method, "", (Entry(_problems(results, of)), Entry(reason)))
        for (method, reason), of in found.items()
    ]
    columns = ("Method", "Problem", "What it lacks")
    title = "Skipped: methods that cannot be run here"
    table = Table(title, columns, ("",) * 3, tuple(lines), prose=True, rows="method")
    return table if lines else None


def _problems(results: Results, of: Sequence[str]) -> str:
    named = list(dict.fromkeys(of))
    every = len(named) == len(results.problems) > 1
    return "every problem" if every else ", ".join(named)


def settings(results: Results) -> Table | None:
    """Whose settings each method has; None where the run has kept nothing of it."""
    found = {
        method: results.origins[method] for method in results.methods if method in results.origins
    }
    lines = [Line(method, "", (Entry(words),)) for method, words in found.items()]
    title = "Settings of the methods"
    made_of = title, ("Method", "Settings"), ("", ""), tuple(lines)
    return Table(*made_of, prose=True, rows="method") if lines else None


def settings_in_words(results: Results) -> str:
    """The same in a sentence, methods of the same settings together."""
    found: dict[str, list[str]] = {}
    for method in results.methods:
        if method in results.origins:
            found.setdefault(results.origins[method], []).append(method)
    if len(found) == 1 and len(results.origins) > 1:
        return f"Settings of every method: {next(iter(found))}."
    said = (f"{', '.join(methods)}: {words}" for words, methods in found.items())
    return f"Settings: {'; '.join(said)}." if found else ""
