"""The tables in LaTeX: as many cells in every row as the table has columns, no letter that means
something to LaTeX, the figures of the page; and a paper that reads them compiles.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.store import Store
from reports.latex import ACROSS, escaped, latex
from reports.overview import overview
from reports.results import summarise
from tests.helpers.synthetic_store import NASTY, build, wide

PDFLATEX = shutil.which("pdflatex")
TABLE = re.compile(r"\\begin\{tabular\}\{@\{\}l(r+)@\{\}\}(.*?)\\end\{tabular\}", re.DOTALL)
ROW = re.compile(r"^ +(.*) \\\\$", re.MULTILINE)
CELL = re.compile(r"(?<!\\) & ")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return build(tmp_path_factory.mktemp("latex") / "run")


@pytest.fixture(scope="module")
def text(store: Store) -> str:
    return latex(store)


def test_every_row_has_as_many_cells_as_the_table_has_columns(text: str) -> None:
    found = TABLE.findall(text)
    assert len(found) > 10
    for columns, body in found:
        rows = ROW.findall(body)
        assert len(rows) > 3
        assert {len(CELL.split(row)) for row in rows} == {1 + len(columns)}
        assert len(columns) <= ACROSS
        assert [body.count(rule) for rule in (r"\toprule", r"\bottomrule")] == [1, 1]


def test_what_is_opened_is_closed_and_labels_are_unique(text: str) -> None:
    depth = 0
    for sign in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if sign == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    assert text.count(r"\begin{table}") == text.count(r"\end{table}")
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels)) == text.count(r"\begin{table}")


def test_the_figures_are_those_of_the_page_with_their_intervals(store: Store, text: str) -> None:
    table = overview(summarise(store))
    body = TABLE.findall(text)[0][1]
    for line in table.lines:
        for entry in line.entries:
            assert escaped(entry.text) in body
            assert escaped(entry.brief) in body
    assert "±" not in text
    assert body.count(r"$\pm$") > 8


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ("a_b & 50% of $x #1 {y}", r"a\_b \& 50\% of \$x \#1 \{y\}"),
        ("\\input{x} ~ ^", r"\textbackslash{}input\{x\} \textasciitilde{} \textasciicircum{}"),
        ("−0.5 × 10⁻¹² ± 0.1", r"$-$0.5 $\times$ 10$^{-12}$ $\pm$ 0.1"),
        ("1–2 --x --- y", "1--2 -{}-x -{}-{}- y"),
        ("[x] *", "{[}x{]} {*}"),
        ("αΒΩο", r"$\alpha$$\mathrm{B}$$\Omega$$o$"),
        ("é 中\n\x1b", "é (U+4E2D)"),
    ],
)
def test_letters_are_printed_as_they_are(plain: str, written: str) -> None:
    assert escaped(plain).strip() == written


def test_a_problem_that_is_asked_for_comes_alone(store: Store) -> None:
    text = latex(store, ["eight-schools"])
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert captions
    assert all("eight-schools" in caption for caption in captions)
    assert "signed" not in text
    with pytest.raises(UserError, match="problem of this run"):
        latex(store, ["nowhere"])


@pytest.mark.skipif(PDFLATEX is None, reason="needs pdflatex")
def test_a_paper_that_reads_them_compiles(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tables.tex").write_text(latex(store), encoding="utf-8")
    (tmp_path / "wide.tex").write_text(latex(wide(tmp_path / "wide", problems=12)), "utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
        f"{escaped(NASTY)} {escaped('~^<>|[]*αΒ∞√µé')}\n"
        "\\input{tables}\n\\clearpage\n\\input{wide}\n\\end{document}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
