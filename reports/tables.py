"""Tables that say no more than the figures bear out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from bench.store import Store
from reports import numbers
from reports.glossary import BRIEF, DIAGNOSTICS, MAIN, Measure, measure, more
from reports.ranking import Verdict
from reports.results import FLOOR, Results, ordered, summarise
from reports.sheet import LEGEND, Entry, Line, Table, as_rich

NONE = "—"


def terminal(store: Store) -> RenderableType:
    """What a run prints when it ends: a table per problem, the failures, the meaning of the marks."""
    results = summarise(store)
    parts: list[RenderableType] = []
    for problem in results.problems:
        found = results.metrics(problem)
        metrics = [metric for metric in (results.divergence(problem) or "", *BRIEF) if metric in found]
        parts.append(as_rich(_brief(_table(results, problem, problem, metrics, ()))))
    failed = failures(results)
    return Group(
        *parts, *([as_rich(failed)] if failed else []), Text(LEGEND, "dim") if parts else Text("No cell has ended yet.")
    )


def _brief(table: Table) -> Table:
    """Without remarks, but for the methods that lost cells."""
    lines = []
    for line in table.lines:
        seeds, lost, _ = line.detail.partition(";")
        entries = tuple(replace(found, detail="") for found in line.entries)
        lines.append(replace(line, detail=seeds if lost else "", entries=entries))
    return replace(table, lines=tuple(lines))


def problem_table(results: Results, problem: str) -> Table:
    """Quality and cost of every method on one problem, best first, the noise floor last."""
    found = results.metrics(problem)
    return _table(results, problem, f"Results on {problem}", [metric for metric in MAIN if metric in found], MAIN)


def more_table(results: Results, problem: str) -> Table | None:
    """The metrics that the main table leaves out, or None where there are none."""
    metrics = more(results.metrics(problem))
    asked = more(results.frame.loc[results.frame["problem"] == problem, "metric"].dropna())
    return _table(results, problem, f"Further figures on {problem}", metrics, asked) if metrics else None


def diagnostics_table(results: Results, problem: str) -> Table | None:
    """What methods report of their own health, from the lowest seed to the highest, or None where none does."""
    found = {method: cells for (of, method), cells in results.diagnostics.items() if of == problem}
    names = list(dict.fromkeys(name for cells in found.values() for cell in cells for name in cell))
    words = [DIAGNOSTICS.get(name, Measure(name, "", False)) for name in names]
    lines = []
    for method in ordered(results, problem, found):
        entries = []
        for name, word in zip(names, words, strict=True):
            values = [cell[name] for cell in found[method] if cell.get(name) is not None]
            written = word.written or (lambda value: numbers.plain(value, 3))
            text = numbers.span(min(values), max(values), written) or written(values[0]) if values else NONE
            entries.append(Entry(text))
        lines.append(Line(method, "", tuple(entries)))
    columns = ("Method", *(word.heading for word in words))
    helps = ("", *(word.meaning for word in words))
    return Table(f"What methods say of themselves on {problem}", columns, helps, tuple(lines)) if lines else None


def _table(results: Results, problem: str, title: str, metrics: Sequence[str], noted: Sequence[str]) -> Table:
    here = results.frame[results.frame["problem"] == problem]
    lines = [
        Line(
            method,
            _seeds(here[here["method"] == method]),
            tuple(entry(results, problem, metric, method) for metric in metrics),
            method == FLOOR,
        )
        for method in ordered(results, problem, dict.fromkeys(here["method"]))
    ]
    words = [measure(metric) for metric in metrics]
    columns = ("Method", *(word.heading for word in words))
    return Table(title, columns, ("", *(word.meaning for word in words)), tuple(lines), _notes(results, problem, noted))


def entry(results: Results, problem: str, metric: str, method: str) -> Entry:
    """One figure as it is written, with its kind or its range over seeds as the remark."""
    figure, written = results.figures.get((problem, metric, method)), measure(metric).written
    if figure is None:
        return Entry(NONE)
    if written is None:
        told = metric == results.divergence(problem) or figure.kind != "estimate"
        text = numbers.bounded(figure.value, figure.half_width, figure.kind)
        return Entry(text, figure.kind if told else "", results.verdicts.get((problem, metric, method), Verdict()))
    finals = results.finals
    values = finals[(finals["problem"] == problem) & (finals["metric"] == metric) & (finals["method"] == method)]["value"]
    return Entry(written(figure.value), numbers.span(values.min(), values.max(), written))


def _seeds(rows: pd.DataFrame) -> str:
    cells = rows.drop_duplicates("key")
    whole, total = int((cells["status"] == "ok").sum()), len(cells)
    counted = f"{total} seed{'s' * (total != 1)}"
    if whole == total:
        return counted
    return f"{whole} of {counted}; {', '.join(dict.fromkeys(cells.loc[cells['status'] != 'ok', 'status']))}"


def _notes(results: Results, problem: str, metrics: Iterable[str]) -> tuple[str, ...]:
    """Why a figure is absent or of its kind, and what else its metric remarks: one line for each metric, by its methods."""
    rows = results.finals[(results.finals["problem"] == problem) & results.finals["metric"].isin(list(metrics))]
    everyone = set(rows["method"])
    rows = rows[rows["row_reason"].fillna("") != ""].drop_duplicates(["metric", "method"])
    notes = []
    for metric in dict.fromkeys(rows["metric"]):
        found: dict[str, list[str]] = {}
        for method, status, reason in rows[rows["metric"] == metric][["method", "row_status", "row_reason"]].itertuples(
            index=False
        ):
            found.setdefault(reason if status == "ok" else f"{status}: {reason}", []).append(method)
        said = [f"{_listed(methods, everyone)}: {reason.rstrip('.')}" for reason, methods in found.items()]
        notes.append(f"{measure(metric).heading.partition(',')[0]}: {'; '.join(said)}.")
    return tuple(notes)


def _listed(methods: Sequence[str], everyone: set[str]) -> str:
    return "every method" if len(methods) > 1 and set(methods) == everyone else ", ".join(methods)


def overview(results: Results) -> Table:
    """How far each method is from the truth on every problem: the page's first answer."""
    lines = []
    for method in results.methods:
        entries = []
        for problem in results.problems:
            found = entry(results, problem, results.divergence(problem) or "", method)
            rows = results.frame[(results.frame["problem"] == problem) & (results.frame["method"] == method)]
            entries.append(found if found.text != NONE or rows.empty else Entry(NONE, _seeds(rows)))
        lines.append(Line(method, "", tuple(entries), method == FLOOR))
    helps = [measure(metric).heading if (metric := results.divergence(problem)) else "" for problem in results.problems]
    what = " or ".join(dict.fromkeys(filter(None, helps))) or "No figures"
    return Table(what, ("Method", *results.problems), ("", *helps), tuple(lines))


def summary(results: Results, problem: str) -> str:
    """What the figures allow to be said of one problem, in words."""
    metric = results.divergence(problem)
    here = {method: figure for (p, m, method), figure in results.figures.items() if (p, m) == (problem, metric)}
    if metric is None or not set(here) - {FLOOR}:
        return "No method has a distance from the truth here."
    names = [method for method in ordered(results, problem, here) if method != FLOOR]
    verdicts = {method: results.verdicts[problem, metric, method] for method in names}
    best = [method for method in names if verdicts[method].rank == "best"]
    tied = [method for method in names if verdicts[method].rank == "tied"]
    floor = [method for method in names if verdicts[method].at_floor]
    bounds = [method for method in names if here[method].kind == "lower bound"]
    said = [f"{measure(metric).heading.partition(',')[0]}:"]
    said += [f"{best[0]} is closest to the truth."] if best else []
    said += [f"no method is shown to be better than {_either(tied)}."] if tied else []
    said += [f"Not to be told from the truth: {', '.join(floor)}."] if floor else []
    said += [f"Known by a lower bound only: {', '.join(bounds)}."] if bounds else []
    return " ".join(said) if len(said) > 1 else "Nothing tells the methods apart here."


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def failures(results: Results) -> Table | None:
    """Every cell that did not end well, with its reason, or None where all did."""
    cells = results.frame.drop_duplicates("key")
    cells = cells[cells["status"] != "ok"][["method", "seed", "problem", "status", "reason"]]
    lines = [
        Line(method, f"seed {seed}", (Entry(problem), Entry(status), Entry(reason or "no reason given")))
        for method, seed, problem, status, reason in cells.itertuples(index=False)
    ]
    columns = ("Method", "Problem", "How it ended", "Reason")
    return Table("Cells that did not end well", columns, ("",) * 4, tuple(lines), prose=True) if lines else None
