"""Tables that say no more than the figures bear out: the noise floor in each, and what it cannot
tell apart left untold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.text import Text

from bench.store import Store
from reports import numbers
from reports.console import Fitted, as_rich
from reports.entries import NONE, entry, seeds, tells
from reports.glossary import BRIEF, DIAGNOSTICS, MAIN, SPARE, Measure, more
from reports.overview import overview
from reports.results import FLOOR, Results, ordered, summarise
from reports.sheet import FLOORS, LEGEND, Entry, Line, Table

MANY = 8  # problems: with more of them, the table that closes a run has one line for each
OWN_ACCOUNT = (
    "A method's own account, not held against the truth: no noise floor applies, and nothing here"
    " is ranked."
)


def terminal(store: Store) -> RenderableType:
    """What a run prints when it ends: a table per problem or one of all, the failures, the meaning
    of the marks.
    """
    results = summarise(store)
    if not results.problems:
        return Group(Text("No cell has ended yet."))
    failed, whole = failures(results), overview(results)
    parts: list[RenderableType] = []
    if len(results.problems) > MANY:
        parts.append(as_rich(_brief(replace(whole, notes=()))))
    else:
        parts += [_closing(results, problem) for problem in results.problems]
    parts += [as_rich(failed)] if failed else []
    return Group(*parts, Text(f"{LEGEND} {FLOORS}", "dim"), *map(Text, whole.notes))


def _closing(results: Results, problem: str) -> Fitted:
    found = results.metrics(problem)
    metrics = [metric for metric in (results.divergence(problem) or "", *BRIEF) if metric in found]
    drops = [1 + metrics.index(metric) for metric in SPARE if metric in metrics[1:]]
    return Fitted(
        _brief(replace(_table(results, problem, problem, metrics, ()), notes=())), tuple(drops)
    )


def _brief(table: Table) -> Table:
    """Without remarks, but for those on the floor, on estimates that are misled, and on methods
    that lost cells or figures.
    """
    lines = []
    for line in table.lines:
        counted, lost, _ = line.detail.partition(";")
        detail = counted if lost or line.floor else ""
        entries = tuple(
            replace(found, detail=found.detail if _kept(found, line.floor) else "")
            for found in line.entries
        )
        lines.append(replace(line, detail=detail, entries=entries))
    return replace(table, lines=tuple(lines))


def _kept(found: Entry, floor: bool) -> bool:
    return floor or any(words in found.detail for words in ("misled", "no exact draws", " seeds"))


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
    asked = more(results.frame.loc[results.frame["problem"] == problem, "metric"].dropna())
    titles = "Other routes to the divergence", "Evidence and importance weights", "Further figures"
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
        if any(tells(line.entries[i]) for line in table.lines if not line.floor)
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
    return replace(table, columns=columns, helps=helps, lines=lines)


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
    return Table(title, columns, helps, tuple(lines), (OWN_ACCOUNT,)) if lines else None


def _table(
    results: Results, problem: str, title: str, metrics: Sequence[str], noted: Sequence[str]
) -> Table:
    here = results.frame[results.frame["problem"] == problem]
    methods = ordered(results, problem, dict.fromkeys([*here["method"], FLOOR]))
    lines = [
        Line(
            method,
            (
                seeds(here[here["method"] == method])
                if (here["method"] == method).any()
                else "not run"
            ),
            tuple(entry(results, problem, metric, method) for metric in metrics),
            method == FLOOR,
        )
        for method in methods
    ]
    words = [results.measure(metric) for metric in metrics]
    columns = ("Method", *(word.heading for word in words))
    helps = ("", *(f"{word.meaning} {word.ranking}".strip() for word in words))
    notes = [*filter(None, [results.no_floor(problem)]), *_notes(results, problem, noted)]
    return Table(title, columns, helps, tuple(lines), tuple(notes))


def _notes(results: Results, problem: str, metrics: Iterable[str]) -> tuple[str, ...]:
    """Why a figure is absent or of its kind, and what else its metric remarks: one line for each
    metric, by its methods.
    """
    rows = results.finals[
        (results.finals["problem"] == problem) & results.finals["metric"].isin(list(metrics))
    ]
    everyone = set(rows["method"])
    rows = rows[rows["row_reason"].fillna("") != ""].drop_duplicates(
        ["metric", "method", "row_status"]
    )
    notes = []
    for metric in dict.fromkeys(rows["metric"]):
        found: dict[str, list[str]] = {}
        for method, status, reason in rows[rows["metric"] == metric][
            ["method", "row_status", "row_reason"]
        ].itertuples(index=False):
            found.setdefault(reason if status == "ok" else f"{status}: {reason}", []).append(method)
        said = [
            f"{_listed(methods, everyone)}: {reason.rstrip('.')}"
            for reason, methods in found.items()
        ]
        notes.append(f"{results.measure(metric).short}: {'; '.join(said)}.")
    return tuple(notes)


def _listed(methods: Sequence[str], everyone: set[str]) -> str:
    return "every method" if len(methods) > 1 and set(methods) == everyone else ", ".join(methods)


def failures(results: Results) -> Table | None:
    """Every cell that did not end well, with its reason, or None where all did."""
    cells = results.frame.drop_duplicates("key")
    cells = cells[cells["status"] != "ok"][["method", "seed", "problem", "status", "reason"]]
    lines = [
        Line(
            method,
            f"seed {seed}",
            (Entry(problem), Entry(status), Entry(reason or "no reason given")),
        )
        for method, seed, problem, status, reason in cells.itertuples(index=False)
    ]
    columns = ("Method", "Problem", "How it ended", "Reason")
    return (
        Table("Cells that did not end well", columns, ("",) * 4, tuple(lines), prose=True)
        if lines
        else None
    )
