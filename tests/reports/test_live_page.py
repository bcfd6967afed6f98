"""The page in a browser: its tables sort and filter, its curves answer, a cell opens, and without a
script it says the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports import page
from tests.helpers.browser import CHROMIUM, violations, watched
from tests.helpers.synthetic_store import build

pytest.importorskip("playwright.sync_api", reason="needs postbench[browser]")
pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs its audit")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium, of the system's packages")
PROBLEM = "eight-schools"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    store = build(folder / "run")
    key = next(cell["key"] for cell in store.cells() if cell["method"] == "avb")
    (store.logs_folder / f"{key}.txt").write_text("a word of the sampler's", encoding="utf-8")
    page.write(store, html=folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def shown(browser: Any, path: Path) -> Iterator[Any]:
    """The page in a window; nothing may be said in its console, and nothing be asked of a net."""
    with watched(browser, path) as opened:
        yield opened


def names(shown: Any, table: str) -> list[str]:
    rows = shown.locator(f"{table} tbody tr:visible > th")
    return [text.split("\n")[0] for text in rows.all_inner_texts()]


def test_a_table_sorts_by_a_column_and_back_and_keeps_the_floor_last(shown: Any) -> None:
    heading = shown.locator("#overview thead button", has_text=re.compile("^eight-schools$"))
    heading.press("Enter")
    shown.wait_for_timeout(50)
    up = names(shown, "#overview")
    assert up[:4] == ["pyro-nuts", "avb", "gaussian-vb covariance=full", "gaussian-vb"], up
    heading.press("Enter")
    shown.wait_for_timeout(50)
    down = names(shown, "#overview")
    assert down == [*up[3::-1], *up[4:]]  # a method without a figure stays below those with one
    assert up[-1] == "exact (noise floor)"


def test_filters_leave_what_they_ask_for(shown: Any) -> None:
    shown.select_option("select[name=method]", "avb")
    assert names(shown, "#overview") == ["avb", "exact (noise floor)"]
    assert shown.locator("#filters output").inner_text() == "9 of 37 cells"
    shown.select_option("select[name=problem]", PROBLEM)
    assert shown.locator("section.problem:visible").count() == 1
    shown.select_option("select[name=metric]", "kl_qp")
    main = shown.locator("section.problem:visible .sheet").first
    assert main.locator("thead th:visible").count() == 2
    shown.select_option("select[name=kind]", "estimate")
    assert main.locator("tbody tr").first.locator("td.other").count() == 1
    shown.click("#filters button[type=reset]")
    shown.wait_for_timeout(50)
    assert len(names(shown, "#overview")) == 6
    assert shown.locator("section.problem:visible").count() == 3


def test_a_cell_opens_its_seeds_diagnostics_settings_and_log(shown: Any) -> None:
    section = shown.locator("section.problem").first
    section.get_by_role("button", name="avb", exact=True).first.press("Enter")
    dialog = shown.locator("dialog[open]")
    text = dialog.inner_text()
    assert "avb on mixture-2d" in text
    assert all(f"seed {seed}" in text for seed in range(3))
    assert "a word of the sampler's" in text
    assert "KL(q‖p), nats" in text
    shown.keyboard.press("Escape")
    assert dialog.count() == 0


def test_words_of_a_failure_are_text_in_the_cell_that_opens(shown: Any) -> None:
    row = shown.locator("section.problem").nth(1).locator("tbody tr")
    row.filter(has_text="covariance=full").first.locator("td").first.click()
    assert "<script>alert(1)</script>" in shown.locator("dialog[open]").inner_text()


def test_curves_answer_to_the_pointer_and_change_their_cost(shown: Any) -> None:
    figure = shown.locator("figure[data-curves]").first
    assert not figure.locator("img").is_visible()
    chart = "Object.values(Chart.instances)[0]"
    title = f"{chart}.options.scales.x.title.text"
    assert shown.evaluate(title) == "Gradient evaluations"
    figure.get_by_role("button", name="seconds").click()
    assert shown.evaluate(title) == "Fitting time, seconds"
    figure.scroll_into_view_if_needed()
    point = shown.evaluate(f"(({{x, y}}) => ({{x, y}}))({chart}.getDatasetMeta(0).data.at(-1))")
    figure.locator("canvas").hover(position=point)
    said = shown.evaluate(f"{chart}.tooltip.title.concat({chart}.tooltip.body[0].lines)")
    assert re.match(r"\S+, seed \d", said[0].replace(" covariance=full", ""))
    assert "exact" in said[1] or "bound" in said[1] or "estimate" in said[1]
    figure.locator("canvas").click(position=point)
    assert "mixture-2d" in shown.locator("dialog[open] h2").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_is_accessible_in_both_themes(
    browser: Any, path: Path, scheme: str, width: int
) -> None:
    with watched(browser, path, width, scheme) as opened:
        assert violations(opened) == []
        opened.locator("section.problem tbody th button").first.click()
        assert violations(opened) == []
        assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_script_everything_is_there_but_what_moves(browser: Any, path: Path) -> None:
    opened = browser.new_context(java_script_enabled=False).new_page()
    opened.goto(path.as_uri())
    assert not opened.locator("#filters").is_visible()
    assert opened.locator("figure[data-curves] img").first.is_visible()
    assert opened.locator("#overview tbody tr").count() == 6
    opened.close()


def test_on_paper_the_picture_stands_in_place_of_the_curves(shown: Any) -> None:
    shown.emulate_media(media="print")
    figure = shown.locator("figure[data-curves]").first
    assert figure.locator("img").is_visible()
    assert not figure.locator("canvas").is_visible()
    assert not shown.locator("#filters").is_visible()
