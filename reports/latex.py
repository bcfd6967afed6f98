r"""The tables as a paper wants them: LaTeX with booktabs and no other package, every figure with
its interval.

A file to be read by ``\input``. Figures keep their kind and what is said against them; a table that
is wider than a page goes on in a further one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.errors import unknown
from bench.store import Store
from reports import tables
from reports.overview import overview
from reports.results import Results, summarise
from reports.sheet import MEANINGS, PLUS_MINUS, Entry, Line, Table, symbols

ACROSS = 3  # columns of figures that stand side by side on a page
MARKS = {"best": r"$\star$", "tied": r"$\diamond$", "floor": r"$\circ$"}
RAISED = dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))
SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "{''}"},
    **{"[": "{[}", "]": "{]}", "*": "{*}"},  # after \\ these would be its arguments
    **{"±": r"$\pm$", "−": "$-$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$"},
    **{"∞": r"$\infty$", "√": r"$\surd$", "‖": r"$\Vert$", "µ": r"$\mu$", "→": r"$\to$"},
    **{"–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "’": "'", "·": r"$\cdot$"},
    **{"★": MARKS["best"], "☆": MARKS["tied"], "○": MARKS["floor"]},
}
# digits that are raised together, hyphens that would make a dash, any letter
PIECES = re.compile(f"[{''.join(RAISED)}]+|-+|.")
GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (\w+)$")
AS_LATIN = {"ALPHA", "BETA", "EPSILON", "ZETA", "ETA", "IOTA", "KAPPA", "MU", "NU", "OMICRON"}
AS_LATIN |= {"RHO", "TAU", "CHI"}  # whose capitals have no command of their own


def latex(store: Store, problems: Sequence[str] = (), results: Results | None = None) -> str:
    """The tables of a run: of all distances, then of each problem.

    Args:
        store: of the run.
        problems: those whose tables are wanted; all by default.
        results: of ``summarise``, where it was called already.

    Raises:
        UserError: a problem that the run does not hold.
    """
    results = summarise(store) if results is None else results
    for problem in problems:
        if problem not in results.problems:
            raise unknown("problem of this run", problem, results.problems, "")
    title = escaped(str(store.info().get("title") or "a run"))
    parts = [f"% Tables of {title}, by PostBench. In the preamble: \\usepackage{{booktabs}}\n"]
    for name, table in _tables(results, problems):
        parts += ["\\clearpage\n"] if len(parts) > 1 else []  # LaTeX holds few floats at a time
        for part, piece in enumerate(_pieces(table), 1):
            note = results.note if part == 1 else ""
            parts.append(_table(piece, f"tab:{name}{f'-part-{part}' if part > 1 else ''}", note))
    return "\n".join(parts)


def _tables(results: Results, problems: Sequence[str]) -> Iterator[tuple[str, Table]]:
    if results.problems and not problems:
        table = tables.made(lambda: overview(results))
        yield "distances", replace(table, title=f"Distance from the truth: {table.title}")
    for problem in problems or results.problems:
        found = [tables.made(lambda of=problem: tables.problem_table(results, of))]  # type: ignore[misc]
        found += tables.more_tables(results, problem)
        name = re.sub(r"[^a-zA-Z0-9-]+", "-", problem)
        for number, table in enumerate(found, 1):
            yield f"{name}-{number}" if number > 1 else name, table


def _pieces(table: Table) -> list[Table]:
    """A table in parts that have room on a page, each with the labels."""
    count = len(table.columns) - 1
    if count <= ACROSS:
        return [table]
    starts = range(0, count, ACROSS)
    return [
        replace(
            table,
            title=f"{table.title}, part {part} of {len(starts)}",
            columns=(table.columns[0], *table.columns[1 + start : 1 + start + ACROSS]),
            lines=tuple(
                replace(line, entries=line.entries[start : start + ACROSS]) for line in table.lines
            ),
        )
        for part, start in enumerate(starts, 1)
    ]


def _table(table: Table, label: str, note: str) -> str:
    rows = [_row([escaped(column) for column in table.columns]), r"\midrule"]
    for i, line in enumerate(table.lines):
        rows += [r"\midrule"] if line.floor and i else []
        rows.append(_row([_label(line), *map(_entry, line.entries)]))
    body = "\n".join(f"    {row}" for row in rows)
    return (
        "\\begin{table}\n  \\centering\\footnotesize\n"
        f"  \\caption{{{escaped(table.title)}.}}\n  \\label{{{label}}}\n"
        f"  \\begin{{tabular}}{{@{{}}l{'r' * (len(table.columns) - 1)}@{{}}}}\n    \\toprule\n"
        f"{body}\n    \\bottomrule\n  \\end{{tabular}}\n"
        f"  \\par\\smallskip\\parbox{{\\linewidth}}{{\\scriptsize {_notes(table, note)}}}\n"
        "\\end{table}\n"
    )


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _label(line: Line) -> str:
    return _above(escaped(line.heading), line.brief, "l")


def _entry(entry: Entry) -> str:
    text = escaped(entry.text)
    if entry.verdict.rank == "best":
        text = f"\\textbf{{{text}}}"
    marks = " ".join(MARKS[mark] for mark in symbols(entry.verdict))
    return _above(" ".join(filter(None, [text, marks])), entry.brief, "r")


def _above(text: str, remark: str, side: str) -> str:
    """A text with a smaller remark below it, so that a column is no wider than either."""
    if not remark:
        return text
    return f"\\shortstack[{side}]{{{text}\\\\ {{\\scriptsize {escaped(remark)}}}}}"


def _notes(table: Table, note: str) -> str:
    """What the marks of this table mean, and what must be said of its figures."""
    entries = [entry for line in table.lines for entry in line.entries]
    used = {mark for entry in entries for mark in symbols(entry.verdict)}
    marks = (f"{MARKS[mark]} {escaped(text)}." for mark, text in MEANINGS.items() if mark in used)
    intervals = PLUS_MINUS if any("±" in entry.text for entry in entries) else ""
    return " ".join([*map(escaped, filter(None, [intervals, note])), *marks])


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is, on one line, with any of its engines: letters that it may
    not know are written by the number that Unicode gives them.
    """
    return PIECES.sub(lambda found: _piece(found[0]), " ".join(text.split()))


def _piece(text: str) -> str:
    if text[0] in RAISED:
        return f"$^{{{''.join(RAISED[letter] for letter in text)}}}$"
    return "{}".join(text) if text[0] == "-" else _letter(text)


def _letter(letter: str) -> str:
    if letter in SPECIAL:
        return SPECIAL[letter]
    if letter.isascii():
        return letter if letter.isprintable() else ""
    name = unicodedata.name(letter, "")
    if greek := GREEK.match(name):
        size, word = greek[1], greek[2].replace("LAMDA", "LAMBDA")
        if size == "CAPITAL" and word in AS_LATIN:
            return f"$\\mathrm{{{word[0]}}}$"
        small = "o" if word == "OMICRON" else f"\\{word.lower()}"
        return f"${small if size == 'SMALL' else f'{chr(92)}{word.capitalize()}'}$"
    plain = unicodedata.normalize("NFD", letter)
    if name.startswith("LATIN") and plain[0].isascii() and len(plain) == 2:
        return letter  # an accent that every engine composes
    return f"(U+{ord(letter):04X})"
