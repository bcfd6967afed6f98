"""The example of the page on audits: a sampler whose variance is 0.4% too large is found by the
page's own command, and one without the bias is not.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path

import pytest
from torch import Generator

from bench.cli import main
from bench.running import measuring
from bench.seeds import generator_of
from bench.store import Store
from reports.intervals import WIDTH
from reports.results import summarise
from tests.helpers.pages import ROOT, blocks

PAGE = ROOT / "docs" / "audit.md"


def of_seeds(purpose: str, content: str, seed: int, *more: object) -> Generator:
    """Generators that a change of code leaves as they are, so that the test draws what it drew."""
    return generator_of(purpose, seed)


def test_the_audit_of_the_page_finds_the_bias_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight cells of 10^6 draws; some 6 s of processor."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measuring, "generator_of", of_seeds)
    (method,) = blocks(PAGE, "python")
    Path("wide.py").write_text(method, encoding="utf-8")
    (line,) = blocks(PAGE, "sh")
    monkeypatch.setattr(sys, "argv", [*shlex.split(line), "--jobs", "0"])
    with contextlib.suppress(SystemExit):  # how a command ends that went well, too
        main()
    store = Store(Path("audit"), create=False)
    results = summarise(store)
    assert {cell.status for cell in results.cells} == {"ok"}
    for method, bias in (("wide.py:Wide", 0.004), ("wide.py:Wide by=1.0", 0.0)):
        key = ("isotropic-2", "variance_error", method)
        figure = results.figures[key]
        assert (figure.seeds, figure.kind) == (4, "exact")
        assert figure.half_width == pytest.approx(WIDTH * 0.001 / 2, rel=0.02)
        assert figure.low < bias / 2 < figure.high  # one variance of two is right
        assert (figure.low > 0) == (bias > 0)
        assert results.verdict(key).at_floor == (bias == 0), "cannot be told from the truth"
    judged = [row for row in store.rows() if row["metric"] in ("variance_error", "sd_error")]
    assert {row["draws"] for row in judged} == {1_000_000}
    assert all("the truth's own moments, which are known" in row["reason"] for row in judged)
