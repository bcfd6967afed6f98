"""A table as every renderer sees it, the meaning of its marks, and the table as Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reports.ranking import Verdict

NO_VERDICT = Verdict()
SYMBOLS = {"best": "★", "tied": "☆", "floor": "○"}
MEANINGS = {
    "best": "better than another method, and no method is shown to be better",
    "tied": "no method is shown to be better, and none to be worse",
    "floor": "cannot be told from the truth",
}
LEGEND = " ".join(f"{SYMBOLS[mark]} {meaning}." for mark, meaning in MEANINGS.items())

PLUS_MINUS = (
    "After ± stands half of a 95% interval by the noise of measuring; where seeds differ by more,"
    " their values stand beside it."
)
FLOORS = (
    "Noise floor: what an estimator from draws reads on fresh draws of the truth, method exact."
    " Estimates are held against it; exact values, bounds and brackets of a divergence come from"
    " densities, whose floor is 0. Inside a floor no method is ranked above another; ★ takes two"
    " seeds of the method."
)


@dataclass(frozen=True)
class Entry:
    """One figure in a table, with its remark and its mark.

    Args:
        text: what is written.
        detail: a smaller remark; brief: the part of it that stays where there is little room.
        verdict: what may be said of the figure.
        own: whether it holds a figure of its own, which no other entry of its row holds.
        order: the number by which a reader sorts, None where there is none.
        kind: of the figure; empty for words and costs.
    """

    text: str
    detail: str = ""
    verdict: Verdict = NO_VERDICT
    brief: str = ""
    own: bool = True
    order: float | None = None
    kind: str = ""


@dataclass(frozen=True)
class Line:
    """One row of a table: a method or a problem, with its figures.

    Args:
        label: of a method, or of a problem.
        detail: a smaller remark; brief: the part of it that stays where there is little room.
        entries: one for each further column.
        floor: whether it is the yardstick's own row.
    """

    label: str
    detail: str
    entries: tuple[Entry, ...]
    floor: bool = False
    brief: str = ""

    @property
    def heading(self) -> str:
        """The label as it is printed."""
        return floored(self.label) if self.floor else self.label


def floored(label: str) -> str:
    """What the yardstick is called wherever it stands."""
    return f"{label} (noise floor)"


@dataclass(frozen=True)
class Table:
    """A table as every renderer sees it.

    Args:
        title: short, for a caption.
        columns: headings, the label's first; helps: one sentence for each, empty where the heading
            says it.
        lines: rows in the order to print.
        notes: remarks that belong under the table.
        prose: whether the entries are words, to be read from the left.
        floor_column: whether the yardstick stands in the last column instead of in a row of its
            own.
        rows: what the labels of its lines name, ``method`` or ``problem``, by which a reader
            filters; empty for neither.
        across: what its further columns are, ``metric``, ``method`` or ``problem``, and ``keys``
            their names; empty for none of these.
    """

    title: str
    columns: tuple[str, ...]
    helps: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    prose: bool = False
    floor_column: bool = False
    rows: str = ""
    across: str = ""
    keys: tuple[str, ...] = ()


def symbols(verdict: Verdict) -> list[str]:
    """The marks of one figure, as keys of ``SYMBOLS``."""
    return [mark for mark in (verdict.rank, "floor" if verdict.at_floor else "") if mark]


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no new line."""
    text = " ".join(text.split())
    return re.sub(r"[\\`*_\[\]<>|~&$#]", lambda found: f"&#{ord(found[0])};", text)


def as_markdown(table: Table) -> str:
    """A pipe table with its notes below."""
    rows = [
        [escaped(column) for column in table.columns],
        ["---", *["---" if table.prose else "---:"] * (len(table.columns) - 1)],
    ]
    for line in table.lines:
        label = escaped(line.heading) + (f" ({escaped(line.detail)})" if line.detail else "")
        rows.append(
            [f"*{label}*" if line.floor else label, *(_markdown(entry) for entry in line.entries)]
        )
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return text + "\n\n" + "\n".join(f"- {escaped(note)}" for note in table.notes) + "\n"


def _markdown(entry: Entry) -> str:
    text = escaped(entry.text)
    if entry.verdict.rank:
        text = f"**{text}**"
    marks = "".join(SYMBOLS[mark] for mark in symbols(entry.verdict))
    return " ".join(
        filter(None, [text, marks, f"({escaped(entry.detail)})" if entry.detail else ""])
    )
