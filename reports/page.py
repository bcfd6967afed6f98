"""The report: one HTML file that needs nothing else, and the same as Markdown with its pictures in
a folder beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from bench.store import Store
from reports import tables
from reports.figures import pictures
from reports.glossary import DIAGNOSTICS, MEASURES, Measure
from reports.overview import overview, summary
from reports.results import FLOOR, Results, summarise
from reports.sheet import FLOORS, LEGEND, MEANINGS, SYMBOLS, Table, as_markdown, escaped, symbols
from reports.style import Look, Picture, data_uri, looks, png

HOW_TO_READ = (
    (
        "Kinds",
        (
            "Every distance carries its kind. Exact: unbiased, right but for chance; an average"
            " over draws of a known difference of log densities, or over pairs of draws (MMD²,"
            " KSD²). Between bounds (0.296 to 0.301): not less than the one and not more than the"
            " other. Lower bound (≥): the true value is this or more, so a small one is no praise."
            " Upper bound (≤): this or less. Estimate: from draws alone, blurred and possibly off"
            " even on average; hold it against the noise floor. Beside other metrics than the first"
            " no kind is written where it is an estimate."
        ),
    ),
    (
        "Noise floor",
        (
            "The row “exact” is what the rulers for draws read on fresh draws of the truth itself."
            " An estimate that, less 1.96 standard errors, is not above the upper end of the"
            " floor's interval cannot be told from the truth (○); nor can what a squared MMD or KSD"
            " reads there, which is unbiased and has the same floor. Log q − log p is constant"
            " where q is p: the noise of rulers by densities is nil, so that exact values, bounds"
            " and brackets of a divergence beside an estimated floor are held against 0, and a"
            " bracket is at the floor only with both of its ends. An estimate of KL in either"
            " direction whose interval lies below the floor, or one of KL(q‖p) which a lower bound"
            " denies, was misled, and earns no mark. A lower bound inside the floor of bounds shows"
            " nothing."
        ),
    ),
    (
        "Intervals",
        (
            "After ± stands half of a 95% interval of the mean over seeds: the wider of Student's"
            " interval from the spread between seeds and the normal one from the standard errors"
            " within them. Of a bracket each end has its own, and the wider one is written. Three"
            " seeds that differ make it wide; with one seed it speaks of that seed only. Of exact"
            " draws, whose seeds differ by noise alone, both are normal; and whether a figure is at"
            " the floor is judged by its standard errors alone, since seeds that differ are none"
            " the nearer to the truth. Costs are means, and beside them the range over seeds."
        ),
    ),
    (
        "Marks",
        (
            f"{LEGEND} One method is better than another where the values that their intervals"
            " leave possible do not meet: of a bracket, from the low end of the lower bound's"
            " interval to the high end of the upper's. Inside the noise floor none is. Beside"
            " another kind an estimate may be three times too large, and one of KL above the floor"
            " too small by any factor; one seed is trusted within a factor of two, and an estimate"
            " without a floor may be noise. ★ takes two seeds of the method. Where perfect is not"
            " 0, the distance from the ideal is ranked."
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class Section:
    """One problem on the page."""

    problem: str
    anchor: str
    summary: str
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, eq=False)
class Content:
    """All that either page says, before it is laid out."""

    title: str
    description: str
    lead: str
    facts: Mapping[str, str]
    overview: Table | None
    sections: tuple[Section, ...]
    failures: Table | None
    glossary: Mapping[str, Measure]
    looks: Mapping[str, Look]


def write(store: Store, html: Path | None = None, markdown: Path | None = None) -> None:
    """Write the report as HTML, as Markdown, or both; pictures of ``NAME.md`` go to the folder
    ``NAME_figures`` beside it.
    """
    found = content(store)
    for path in (html, markdown):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if html is not None:
        html.write_text(_html(found), encoding="utf-8")
    if markdown is not None:
        markdown.write_text(
            _markdown(found, markdown.with_name(f"{markdown.stem}_figures")), encoding="utf-8"
        )


def html(store: Store) -> str:
    """The page as one file."""
    return _html(content(store))


def markdown(store: Store, figures_folder: Path) -> str:
    """The page as Markdown; writes its pictures to ``figures_folder``, which belongs beside the
    file.
    """
    return _markdown(content(store), figures_folder)


def content(store: Store) -> Content:
    """Read the store, once, and work out all that is said."""
    results = summarise(store)
    info = store.info()
    return Content(
        title=str(info.get("title") or "PostBench"),
        description=str(info.get("description") or ""),
        lead=_lead(results),
        facts=_facts(info),
        overview=overview(results) if results.problems else None,
        sections=tuple(
            _section(store, results, i, problem) for i, problem in enumerate(results.problems)
        ),
        failures=tables.failures(results),
        glossary=_glossary(results),
        looks=looks(results.methods),
    )


def _section(store: Store, results: Results, index: int, problem: str) -> Section:
    found = [tables.problem_table(results, problem), *tables.more_tables(results, problem)]
    shown = tuple(filter(None, [*found, tables.diagnostics_table(results, problem)]))
    return Section(
        problem,
        f"problem-{index + 1}",
        summary(results, problem),
        shown,
        tuple(pictures(store, results, problem)),
    )


def _glossary(results: Results) -> dict[str, Measure]:
    """What the tables' columns say, of those that occur."""
    reported = {name for cells in results.diagnostics.values() for cell in cells for name in cell}
    met = set(results.frame["metric"].dropna())
    known = {
        name: results.measure(name)
        for name in (*MEASURES, *sorted(met - set(MEASURES)))
        if name in met
    }
    return known | {name: words for name, words in DIAGNOSTICS.items() if name in reported}


def _lead(results: Results) -> str:
    cells = results.frame.drop_duplicates("key")
    if cells.empty:
        return "No cell has ended yet, so there is nothing to report."
    ended = cells["status"].value_counts()
    rest = ", ".join(f"{count} {status}" for status, count in ended.items() if status != "ok")
    rivals = len([method for method in results.methods if method != FLOOR])
    return (
        f"{_counted(len(results.problems), 'problem')}, {_counted(rivals, 'method')},"
        f" {_counted(cells['seed'].nunique(), 'seed')}: {ended.get('ok', 0)} of"
        f" {_counted(len(cells), 'cell')} ended well" + (f"; {rest}." if rest else ".")
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
        marks=SYMBOLS,
        meanings=MEANINGS,
        legend=[LEGEND, FLOORS],
        anchors={section.problem: section.anchor for section in found.sections},
        wide=len(found.sections) > tables.MANY,
    )


def _markdown(found: Content, folder: Path) -> str:
    parts = [f"# {escaped(found.title)}", escaped(found.description), found.lead]
    if found.overview is not None:
        parts += ["## Distance from the truth", LEGEND, FLOORS, as_markdown(found.overview)]
    for section in found.sections:
        parts += [
            f"## {escaped(section.problem)}",
            escaped(section.summary),
            *map(as_markdown, section.tables),
        ]
        parts += [_pictured(picture, folder) for picture in section.pictures]
    if found.failures is not None:
        parts += [f"## {found.failures.title}", as_markdown(found.failures)]
    parts += ["## How to read it", *(f"**{name}.** {text}" for name, text in HOW_TO_READ)]
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


def _pictured(picture: Picture, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{picture.name}.png").write_bytes(png(picture))
    path = f"{quote(folder.name)}/{picture.name}.png"
    return f"![{escaped(picture.alt)}]({path})\n\n{escaped(picture.caption)}"
