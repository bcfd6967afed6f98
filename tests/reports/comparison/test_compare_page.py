"""The page of a comparison in a browser: in both themes and at both widths nothing is out of reach,
and the verdict is in sight.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.comparison import written
from reports.comparison.compared import compare
from tests.helpers.browser import CHROMIUM, violations, watched
from tests.helpers.two_runs import Law, on_disk

pytest.importorskip("playwright.sync_api", reason="needs postbench[browser]")
pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs its audit")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium, of the system's packages")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    old = on_disk(folder / "a-folder-whose-name-is-longer-than-a-telephone-is-wide", Law(), seed=1)
    new = on_disk(folder / "new", Law({"avb": 1.5, "pyro-nuts": 0.5}, failing=["gaussian-vb"]), 2)
    page = folder / "compared.html"
    page.write_text(written.html(compare(old, new)), encoding="utf-8")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_is_accessible_in_both_themes(
    browser: Any, path: Path, scheme: str, width: int
) -> None:
    with watched(browser, path, width, scheme) as opened:
        assert violations(opened) == []
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        page, ink = (
            opened.evaluate(f"getComputedStyle(document.body).{name}")
            for name in ("backgroundColor", "color")
        )
        dark = [sum(map(int, rgb.strip("rgb()").split(", "))) < 380 for rgb in (page, ink)]
        assert dark == [scheme == "dark", scheme == "light"]


@pytest.mark.parametrize("width", [400, 1400])
def test_the_verdict_is_in_sight_without_scrolling(browser: Any, path: Path, width: int) -> None:
    with watched(browser, path, width) as opened:
        table = opened.locator("table").first
        assert table.locator("thead th").nth(3).inner_text() == "Verdict"
        verdicts = table.locator("tbody tr td:nth-child(4)")
        assert verdicts.all_inner_texts().count("worse") == 6
        region = opened.locator(".scroll").first.bounding_box()
        for box in (verdicts.nth(i).bounding_box() for i in range(verdicts.count())):
            assert box["x"] + 70 <= region["x"] + region["width"]  # room for the word


def test_the_last_column_of_a_narrow_window_is_reached_by_the_keyboard(
    browser: Any, path: Path
) -> None:
    with watched(browser, path, 400) as opened:
        region = opened.get_by_role("region", name="Old and new")
        region.focus()
        for _ in range(60):
            opened.keyboard.press("ArrowRight")
        opened.wait_for_timeout(300)
        last = region.locator("thead th").last.bounding_box()
        assert last["x"] + last["width"] <= 400
