"""The report: one HTML file that needs nothing else, and the same as Markdown with its pictures in
a folder beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2

from bench.store import Store
from reports.content import Content, Drawn, content
from reports.pictures.style import data_uri
from reports.reading import MORE_EXACTLY
from reports.results import Results
from reports.sheet import (
    FLOORS,
    LEGEND,
    MEANINGS,
    PLUS_MINUS,
    SYMBOLS,
    as_markdown,
    escaped,
    symbols,
)
from reports.vendor import policy, scripts
from reports.verdict import Verdict


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
        how_to_read=found.how_to_read,
        more_exactly=MORE_EXACTLY,
        marks=SYMBOLS,
        meanings=MEANINGS,
        legend=[PLUS_MINUS, LEGEND, FLOORS],
        anchors={section.problem: section.anchor for section in found.sections},
        policy=policy(),
        scripts=scripts(),
    )


def _markdown(found: Content, folder: Path) -> str:
    parts = [f"# {escaped(found.title)}", escaped(found.description), found.lead]
    if found.verdicts:
        parts += ["## Verdict", *(_said(name, said) for name, said in found.verdicts.items())]
        parts += [found.undrawn]
    if found.overview is not None:
        parts += ["## Distance from the truth", as_markdown(found.overview)]
        parts += [PLUS_MINUS, LEGEND, FLOORS]
    if found.by_trait is not None:
        parts += ["## By trait", as_markdown(found.by_trait)]
    parts += ["## How to read it", *(f"**{name}.** {text}" for name, text in found.how_to_read)]
    for section in found.sections:
        parts += [_said(section.problem, section.verdict, heading=True), escaped(section.judged)]
        parts += [_pictured(picture, folder) for picture in section.pictures]
        parts += map(as_markdown, section.tables)
        if section.remarks:
            parts += ["**Remarks**", "\n".join(f"- {escaped(note)}" for note in section.remarks)]
    for table in filter(None, (found.apart, found.failures, found.skipped, found.settings)):
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
