"""The report: one HTML file that needs nothing else, and the same as Markdown with its pictures in
a folder beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from bench.errors import unknown
from bench.store import Store
from reports import tables
from reports.figures import NOT_DRAWN, pictures
from reports.glossary import DIAGNOSTICS, Measure, in_order
from reports.guarded import guarded
from reports.overview import overview
from reports.reading import HOW_TO_READ, MORE_EXACTLY
from reports.remarks import judged_by
from reports.results import FLOOR, Results, summarise
from reports.sheet import (
    FLOORS,
    LEGEND,
    MEANINGS,
    PLUS_MINUS,
    SYMBOLS,
    Table,
    as_markdown,
    escaped,
    symbols,
)
from reports.style import Look, Picture, data_uri, looks, svg
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
    """All that either page says, before it is laid out."""

    title: str
    description: str
    lead: str
    facts: Mapping[str, str]
    verdicts: Mapping[str, Verdict]
    overview: Table | None
    sections: tuple[Section, ...]
    undrawn: str
    apart: Table | None
    failures: Table | None
    glossary: Mapping[str, Measure]
    looks: Mapping[str, Look]

    @property
    def wide(self) -> bool:
        """Whether there are too many problems for a list of them to be read."""
        return len(self.verdicts) > tables.MANY


def write(
    store: Store,
    html: Path | None = None,
    markdown: Path | None = None,
    *,
    problems: Sequence[str] = (),
    results: Results | None = None,
) -> None:
    """Write the report as HTML, as Markdown, or both; pictures of ``NAME.md`` go to the folder
    ``NAME_figures`` beside it.

    Args:
        store: of the run.
        html, markdown: where to; None for neither.
        problems: those to draw; all by default, and none of them where there are more than ``MOST``
            panels.
        results: of ``summarise``, where it was called already.

    Raises:
        UserError: a problem that the run does not hold.
    """
    found = content(store, problems, results)
    for path in filter(None, (html, markdown)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if html is not None:
        html.write_text(_html(found), encoding="utf-8", errors="replace")
    if markdown is not None:
        text = _markdown(found, markdown.with_name(f"{markdown.stem}_figures"))
        markdown.write_text(text, encoding="utf-8", errors="replace")


def html(store: Store) -> str:
    """The page as one self-contained HTML file."""
    return _html(content(store))


def markdown(store: Store, figures_folder: Path) -> str:
    """The page as Markdown; writes its pictures to ``figures_folder``, which belongs beside the
    file.
    """
    return _markdown(content(store), figures_folder)


def content(store: Store, problems: Sequence[str] = (), results: Results | None = None) -> Content:
    """Read the store, once, and work out all that is said."""
    results = summarise(store) if results is None else results
    for problem in problems:
        if problem not in results.problems:
            raise unknown("problem of this run", problem, results.problems, "")
    panels = sum(len(of) for of in results.cells_of.values())
    drawn = problems or (results.problems if panels <= MOST else [])
    info = store.info()
    return Content(
        title=str(info.get("title") or "PostBench"),
        description=str(info.get("description") or ""),
        lead=_lead(results),
        facts=_facts(info),
        verdicts={problem: tables.said(results, problem) for problem in results.problems},
        overview=tables.made(lambda: overview(results)) if results.problems else None,
        sections=tuple(_section(store, results, problem) for problem in drawn),
        undrawn=TOO_MANY if results.problems and not drawn else "",
        apart=tables.made(lambda: tables.set_apart(results)),
        failures=tables.made(lambda: tables.failures(results)),
        glossary=_glossary(results),
        looks=looks(results.methods),
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
        guarded(lambda: judged_by(store, problem), str),
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
    return (
        f"{_counted(len(results.problems), 'problem')}, {_counted(rivals, 'method')},"
        f" {_counted(len({cell.seed for cell in cells}), 'seed')}: {ended['ok']} of"
        f" {_counted(len(cells), 'cell')} ended well"
        + (f"; {rest}." if rest else ".")
        + (f" {CLOCKED}" if results.clocked else "")
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


def _html(found: Content) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"data_uri": data_uri, "symbols": symbols}
    template = environment.get_template("report.html")
    return template.render(
        found=found,
        how_to_read=HOW_TO_READ,
        more_exactly=MORE_EXACTLY,
        marks=SYMBOLS,
        meanings=MEANINGS,
        legend=[PLUS_MINUS, LEGEND, FLOORS],
        anchors={section.problem: section.anchor for section in found.sections},
    )


def _markdown(found: Content, folder: Path) -> str:
    parts = [f"# {escaped(found.title)}", escaped(found.description), found.lead]
    if found.verdicts:
        parts += ["## Verdict", *(_said(name, said) for name, said in found.verdicts.items())]
        parts += [found.undrawn]
    if found.overview is not None:
        parts += ["## Distance from the truth", as_markdown(found.overview)]
        parts += [PLUS_MINUS, LEGEND, FLOORS]
    parts += ["## How to read it", *(f"**{name}.** {text}" for name, text in HOW_TO_READ)]
    for section in found.sections:
        parts += [_said(section.problem, section.verdict, heading=True), escaped(section.judged)]
        parts += [_pictured(picture, folder) for picture in section.pictures]
        parts += map(as_markdown, section.tables)
        if section.remarks:
            parts += ["**Remarks**", "\n".join(f"- {escaped(note)}" for note in section.remarks)]
    for table in filter(None, (found.apart, found.failures)):
        parts += [f"## {table.title}", as_markdown(table)]
    parts += ["## More exactly", *(f"**{name}.** {text}" for name, text in MORE_EXACTLY)]
    parts += [
        "\n".join(
            f"- **{escaped(words.heading)}**: {escaped(f'{words.meaning} {words.ranking}'.strip())}"
            for words in found.glossary.values()
        )
    ]
    if found.facts:
        parts += [
            "## What was run",
            "\n".join(f"- {name}: {escaped(text)}" for name, text in found.facts.items()),
        ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _said(problem: str, said: Verdict, *, heading: bool = False) -> str:
    """A verdict with its claims as a list."""
    first = f"## {escaped(problem)}\n\n" if heading else f"**{escaped(problem)}**: "
    claims = (f"- {' '.join(filter(None, [c.mark, escaped(c.text)]))}" for c in said.claims)
    return "\n".join([f"{first}{escaped(said.sentence)}\n", *claims])


def _pictured(picture: Drawn, folder: Path) -> str:
    if not picture.svg:
        return escaped(picture.why)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8", errors="replace")
    path = f"{quote(folder.name)}/{picture.name}.svg"
    return f"![{escaped(picture.alt)}]({path})\n\n{escaped(picture.caption)}"
