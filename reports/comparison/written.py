"""A comparison of two runs as tables for the terminal, Markdown, HTML and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jinja2

from bench.store import COSTS
from reports import numbers
from reports.comparison.compared import Comparison
from reports.comparison.judging import Judged
from reports.comparison.overall import FACTORS, Overall
from reports.comparison.pairs import LeftOut
from reports.glossary import COSTS as WRITTEN
from reports.intervals import Figure
from reports.sheet import escaped

VERDICT = "Verdict"  # the heading of what a comparison comes to


@dataclass(frozen=True)
class Sheet:
    """A table of texts.

    Args:
        title: what it shows.
        columns: headings; the first ``names`` columns are names, and what follows are figures.
        lines: a text for each column.
        note: how to read it, a sentence or two.
    """

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str]]
    note: str = ""
    names: int = 1


def lead(found: Comparison) -> str:
    """What came of it, in a sentence."""
    counts = found.counts
    parts = [f"{counts.get(word, 0)} {word}" for word in ("better", "worse", "same", "cannot tell")]
    lost = "".join(f" {m} on {p} has no figure any more." for p, m in found.lost)
    return f"Of {len(found.judged)} comparisons: {', '.join(parts)}.{lost}"


def sheets(found: Comparison, *, brief: bool = False) -> list[Sheet]:
    """All tables of a comparison: what moved first, then what cannot be told, then the rest.

    Args:
        found: the comparison.
        brief: whether lines that say "same" are counted instead of shown.
    """
    order = ("worse", "better", "cannot tell", "same")
    lines = sorted(found.judged, key=lambda of: order.index(of.word))
    tables = [
        Sheet(
            "Old and new",
            ("Problem", "Method", "Metric", "Old", "New", "New − old", "New / old", VERDICT),
            [_line(of) for of in lines if not (brief and of.word == "same")],
            "Distances from the ideal of each metric, and costs: less is better. "
            + (f"The {found.counts.get('same', 0)} that are the same are left out. " * brief)
            + found.rates,
            names=3,
        )
    ]
    if found.overall is not None:
        tables += _overall(found.overall)
    if found.left_out:
        tables.append(_not_compared(found.left_out))
    return tables


def _not_compared(left_out: Sequence[LeftOut]) -> Sheet:
    grouped: dict[tuple[str, str], list[str]] = {}
    for of in left_out:
        grouped.setdefault((of.metric, of.why), []).append(f"{of.method} on {of.problem}")
    lines = [[metric, why, "; ".join(places)] for (metric, why), places in grouped.items()]
    return Sheet("Not compared", ("Metric", "Why", "Where"), lines, names=3)


def markdown(found: Comparison) -> str:
    """The comparison of two runs as a page in Markdown."""
    parts = [
        "# Comparison of two runs",
        escaped(f"{found.old} → {found.new}"),
        escaped(lead(found)),
    ]
    for sheet in sheets(found):
        rows = [sheet.columns, ["---"] * len(sheet.columns)]
        body = [[escaped(text) for text in line] for line in sheet.lines]
        table = "\n".join(f"| {' | '.join(row)} |" for row in [*rows, *body])
        parts += [f"## {sheet.title}", table, escaped(sheet.note)]
    return "\n\n".join(filter(None, parts)) + "\n"


def html(found: Comparison) -> str:
    """The comparison as one HTML file that needs nothing else."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("compare.html")
    return template.render(
        found=found, lead=lead(found), sheets=list(map(_for_page, sheets(found)))
    )


def _for_page(sheet: Sheet) -> Sheet:
    """With the verdict beside the names, where a narrow window shows it."""
    if sheet.columns[-1] != VERDICT:
        return sheet
    columns, *lines = (
        [*line[: sheet.names], line[-1], *line[sheet.names : -1]]
        for line in (sheet.columns, *sheet.lines)
    )
    return replace(sheet, columns=columns, lines=lines)


def as_json(found: Comparison) -> str:
    """The comparison as JSON; what is not finite is null."""
    content: dict[str, Any] = {
        "old": found.old,
        "new": found.new,
        "status": found.status,
        "allowed": found.allowed,
        "counts": dict(found.counts),
        "rates": found.rates,
        "pairs": [_plain(of, found) for of in found.judged],
        "not_compared": [of._asdict() for of in found.left_out],
        "lost": [{"problem": p, "method": m} for p, m in found.lost],
        "overall": None,
    }
    if (every := found.overall) is not None:
        content["overall"] = {
            "problems": every.problems,
            "ranks": dict(every.ranks),
            "critical_difference": _finite(every.critical),
            "wins": [
                {"first": a, "second": b, "rate": rate, "low": low, "high": high}
                for (a, b), (rate, low, high) in every.wins.items()
            ],
            "profiles": {"factors": FACTORS, "shares": dict(every.profiles)},
        }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _plain(of: Judged, found: Comparison) -> dict[str, Any]:
    pair = of.pair
    ends = ("value", "low", "high")
    return {
        **{name: getattr(pair, name) for name in ("problem", "method", "metric", "seeds")},
        "old": _finite(pair.old.value),
        "new": _finite(pair.new.value),
        "kind": pair.old.kind,
        "difference": dict(zip(ends, map(_finite, of.difference), strict=True)),
        "ratio": of.ratio and dict(zip(ends, map(_finite, of.ratio), strict=True)),
        "verdict": of.word,
        "why": of.why,
        "gate": of.gate if of in found.at_the_gate else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _line(of: Judged) -> list[str]:
    pair = of.pair
    verdict = {"cannot tell": f"cannot tell, {of.why}"}.get(of.word, f"{of.word} {of.why}".strip())
    return [
        pair.problem,
        pair.method,
        pair.metric,
        *(_figure(figure, pair.metric) for figure in (pair.old, pair.new)),
        _between(of.difference, signed=True),
        _between(of.ratio) if of.ratio else "—",
        verdict,
    ]


def _figure(figure: Figure, metric: str) -> str:
    if metric in COSTS:
        written = WRITTEN[metric].written
        return written(figure.value) if written else numbers.plain(figure.value)
    if figure.above is not None:
        return numbers.between(figure.value, figure.above.value, figure.half_width)
    return numbers.bounded(figure.value, figure.half_width, figure.kind)


def _between(ends: tuple[float, float, float], *, signed: bool = False) -> str:
    value, low, high = (numbers.plain(x) for x in ends)
    more = "+" if signed and ends[0] > 0 else ""
    if low == high == value:
        return f"{more}{value}"
    return f"{more}{value} ({low} to {high})"


def _overall(every: Overall) -> list[Sheet]:
    if math.isnan(every.critical):
        difference = "One problem gives no critical difference."
    else:
        difference = (
            f"Average ranks that differ by less than {every.critical:.2f} may differ by chance"
            " (Nemenyi's critical difference at 5%)."
        )
    ranked = sorted(every.ranks, key=lambda entry: every.ranks[entry])
    many = f"{every.problems} problem{'s' if every.problems > 1 else ''}"
    return [
        Sheet(
            "Average ranks",
            ("Method", "Average rank"),
            [[entry, f"{every.ranks[entry]:.2f}"] for entry in ranked],
            f"By the divergence of {many}, 1 the best. {difference}",
        ),
        Sheet(
            "Win rates",
            ("Method", "against", "Nearer to the truth on"),
            [
                [a, b, f"{rate:.0%} ({low:.0%} to {high:.0%})"]
                for (a, b), (rate, low, high) in every.wins.items()
                if _of_interest(a, b)
            ],
            f"Share of {many}, ties counting half; 95% intervals of problems and seeds drawn again,"
            " each alone.",
            names=2,
        ),
        Sheet(
            "Performance profiles",
            ("Method", *(f"within {factor:g}×" for factor in FACTORS)),
            [[entry, *(f"{share:.0%}" for share in every.profiles[entry])] for entry in ranked],
            f"Share of {many} on which a method is within that factor of the best.",
        ),
    ]


def _of_interest(first: str, second: str) -> bool:
    """Whether two entries are both of the new run, or one method in both."""
    a, b = (entry.rpartition(" ") for entry in (first, second))
    return a[0] == b[0] or a[2] == b[2] == "(new)"
