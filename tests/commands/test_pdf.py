"""The report as a PDF: printed by a browser where there is one, a sentence where there is none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bench.commands.pdf import write_pdf
from bench.errors import UserError
from tests.helpers.browser import CHROMIUM
from tests.helpers.synthetic_store import build

pytest.importorskip("playwright.sync_api", reason="needs postbench[browser]")


def test_without_a_browser_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "run", names=["mixture-2d"])
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="needs Chromium"):
        write_pdf(tmp_path / "run", tmp_path / "report.pdf", [])
    assert not (tmp_path / "report.pdf").exists()


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium, of the system's packages")
def test_the_page_is_printed_on_a4_with_a_page_for_each_problem(tmp_path: Path) -> None:
    build(tmp_path / "run", names=["mixture-2d", "eight-schools"])
    write_pdf(tmp_path / "run", tmp_path / "report.pdf", [])
    found = (tmp_path / "report.pdf").read_bytes()
    assert found.startswith(b"%PDF")
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", found)
    assert len(boxes) >= 3
    for width, height in boxes:
        assert (round(float(width)), round(float(height))) == (595, 842)
    assert not (tmp_path / "run" / "report.html").exists()
