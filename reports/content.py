"""All that a page says of a run, before it is laid out as HTML or Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.errors import unknown
from bench.store import GENERATIVE, Store
from reports import tables
from reports.by_trait import by_trait
from reports.glossary import DIAGNOSTICS, Measure, in_order
from reports.guarded import guarded
from reports.live import live
from reports.overview import overview
from reports.pictures.figures import NOT_DRAWN, pictures
from reports.pictures.style import Look, Picture, looks, svg
from reports.reading import GENERATIVE_MODELS, HOW_TO_READ
from reports.readings import FLOOR
from reports.remarks import judged_by
from reports.results import Results, summarise
from reports.sheet import Table
from reports.verdict import Verdict

# panels, one for each method on each problem, beyond which only the problems asked for are drawn
MOST = 150
CLOCKED = (
    "Some fits were planned by the clock, so that their figures depend on the machine and on what"
    " else it did."
)
TOO_MANY = (
    "These are too many problems to draw on one page. `postbench report DIR --problem NAME` draws"
    " those that are asked for."
)


@dataclass(frozen=True)
class Drawn:
    """A picture as both pages show it.

    Args:
        name, caption, alt: as of ``Picture``.
        svg: the picture, drawn once; empty where it could not be, and ``why`` says so.
    """

    name: str
    caption: str
    alt: str
    svg: str
    why: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """All that the page shows of one problem.

    Args:
        problem, anchor: its label, and how it is linked to.
        verdict: what may be said of it.
        judged: by which draws it was judged, where these are a reference's.
        pictures, tables: in their order.
        remarks: what the tables remark, once each.
    """

    problem: str
    anchor: str
    verdict: Verdict
    judged: str
    pictures: tuple[Drawn, ...]
    tables: tuple[Table, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Content:
    """All that either page says, before it is laid out; ``live`` is what the script of the HTML
    page works with, ``generative`` whether any problem is a generative model.
    """

    title: str
    description: str
    lead: str
    facts: Mapping[str, str]
    verdicts: Mapping[str, Verdict]
    overview: Table | None
    by_trait: Table | None
    sections: tuple[Section, ...]
    undrawn: str
    apart: Table | None
    failures: Table | None
    skipped: Table | None
    settings: Table | None
    glossary: Mapping[str, Measure]
    looks: Mapping[str, Look]
    live: Mapping[str, Any]
    generative: bool = False

    @property
    def how_to_read(self) -> tuple[tuple[str, str], ...]:
        """Headings with their paragraphs, for people who have never seen the suite."""
        return (*HOW_TO_READ, *((GENERATIVE_MODELS,) if self.generative else ()))

    @property
    def wide(self) -> bool:
        """Whether there are too many problems for a list of them to be read."""
        return len(self.verdicts) > tables.MANY

    @property
    def choices(self) -> dict[str, dict[str, str]]:
        """What a reader may filter by: of each kind of choice, values and how they are called."""
        known = self.live.get("problems", {}).values()
        traits = dict.fromkeys(trait for problem in known for trait in problem["traits"])
        tables = [table for section in self.sections for table in section.tables]
        headings = {
            key: column
            for table in tables
            if table.across == "metric"
            for key, column in zip(table.keys, table.columns[1:], strict=True)
        }
        found = {
            "problem": {name: name for name in self.verdicts},
            "trait": {name: name for name in traits},
            "method": {name: name for name in self.looks if name != FLOOR},
            "metric": headings,
            "kind": {name: name for name in self.live.get("kinds", ())},
        }
        return {name: choices for name, choices in found.items() if len(choices) > 1}


def content(store: Store, problems: Sequence[str] = (), results: Results | None = None) -> Content:
    """Read the store, once, and work out all that is said."""
    results = summarise(store) if results is None else results
    for problem in problems:
        if problem not in results.problems:
            raise unknown("problem of this run", problem, results.problems, "")
    panels = sum(len(of) for of in results.cells_of.values())
    drawn = problems or (results.problems if panels <= MOST else [])
    info, colours = store.info(), looks(results.methods)
    return Content(
        title=str(info.get("title") or "PostBench"),
        description=str(info.get("description") or ""),
        lead=_lead(results),
        facts=_facts(info),
        verdicts={problem: tables.said(results, problem) for problem in results.problems},
        overview=tables.made(lambda: overview(results)) if results.problems else None,
        by_trait=tables.made(lambda: by_trait(results)),
        sections=tuple(_section(store, results, problem) for problem in drawn),
        undrawn=TOO_MANY if results.problems and not drawn else "",
        apart=tables.made(lambda: tables.set_apart(results)),
        failures=tables.made(lambda: tables.failures(results)),
        skipped=tables.made(lambda: tables.skipped(results)),
        settings=tables.made(lambda: tables.settings(results)),
        glossary=_glossary(results),
        looks=colours,
        live=live(store, results, drawn, colours),
        generative=any(GENERATIVE in traits for traits in results.traits.values()),
    )


def _section(store: Store, results: Results, problem: str) -> Section:
    more = guarded(lambda: tables.more_tables(results, problem), lambda _: [])
    found = [
        tables.made(lambda: tables.problem_table(results, problem)),
        *more,
        tables.made(lambda: tables.diagnostics_table(results, problem)),
    ]
    shown = [table for table in found if table is not None]
    return Section(
        problem,
        f"problem-{results.problems.index(problem) + 1}",
        tables.said(results, problem),
        guarded(lambda: judged_by(store, results, problem), str),
        tuple(_drawn(found) for found in pictures(store, results, problem)),
        tuple(replace(table, notes=()) for table in shown),
        tuple(dict.fromkeys(note for table in shown for note in table.notes)),
    )


def _drawn(found: Picture) -> Drawn:
    words = found.name, found.caption, found.alt
    if isinstance(found.figure, str):
        return Drawn(*words, "", found.figure)
    return guarded(
        lambda: Drawn(*words, svg(found)), lambda why: Drawn(*words, "", f"{NOT_DRAWN} {why}.")
    )


def _glossary(results: Results) -> dict[str, Measure]:
    """What the tables' columns say, of those that occur."""
    reported = {name for cells in results.diagnostics.values() for cell in cells for name in cell}
    met = set(results.frame["metric"].dropna().unique())
    known = {name: results.measure(name) for name in in_order(met)}
    return known | {name: words for name, words in DIAGNOSTICS.items() if name in reported}


def _lead(results: Results) -> str:
    cells = results.cells
    if not cells:
        return "No cell has ended yet, so there is nothing to report."
    ended = Counter(cell.status for cell in cells)
    rest = ", ".join(f"{n} {status}" for status, n in ended.most_common() if status != "ok")
    rivals = len([method for method in results.methods if method != FLOOR])
    floor = " and the noise floor" if FLOOR in results.methods else ""  # its cells are counted too
    return (
        f"{_counted(len(results.problems), 'problem')}, {_counted(rivals, 'method')}{floor},"
        f" {_counted(len({cell.seed for cell in cells}), 'seed')}: {ended['ok']} of"
        f" {_counted(len(cells), 'cell')} ended well"
        + (f"; {rest}." if rest else ".")
        + (f" {CLOCKED}" if results.clocked else "")
        + (f" {results.note}" if results.note else "")
    )


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _facts(info: Mapping[str, Any]) -> dict[str, str]:
    """What was run, where and with which versions, as far as the store knows."""
    names = {
        "command": "Command",
        "started": "Started",
        "finished": "Last cell ended",
        "version": "PostBench",
        "commit": "Commit",
    }
    names |= {
        "python": "Python",
        "platform": "Platform",
        "processor": "Processor",
        "cores": "Cores",
    }
    facts = {words: str(info[name]) for name, words in names.items() if info.get(name)}
    packages = info.get("packages")
    if isinstance(packages, Mapping):
        facts["Packages"] = ", ".join(f"{name} {version}" for name, version in packages.items())
    return facts
