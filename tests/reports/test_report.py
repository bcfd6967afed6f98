from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from rich.console import Console

import reports
from bench.store import Store
from reports import frame, page, tables, vendor
from reports.pictures.figures import pictures
from reports.results import summarise
from tests.helpers.synthetic_store import CHECKPOINTS, SEEDS, build

PROBLEMS = ("mixture-2d", "eight-schools-signed")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html, my report.md and its pictures."""
    folder = tmp_path_factory.mktemp("written")
    page.write(
        build(folder / "run", names=PROBLEMS),
        html=folder / "report.html",
        markdown=folder / "my report.md",
    )
    return folder


class Links(HTMLParser):
    """Everything an element asks a browser to load or to go to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.pictures: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [
            value or ""
            for name, value in attrs
            if name in ("src", "href", "srcset", "data", "action", "poster")
        ]
        if tag == "img":
            self.pictures.append(dict(attrs))


def read(text: str) -> Links:
    links = Links()
    links.feed(text)
    return links


def test_the_page_needs_no_other_file(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    links = read(text)
    assert links.found
    assert all(link.startswith(("data:image/", "#")) for link in links.found)
    assert not re.search(r"url\((?!%23)|@import", text)
    assert not links.tags & {"link", "iframe", "object", "embed"}
    for picture in links.pictures:
        drawn = unquote(str(picture["src"]).partition(",")[2])
        assert all(link.startswith(("#", "data:")) for link in re.findall(r'href="([^"]*)"', drawn))
        assert not re.search(r"url\((?!#)|@import|<script", drawn)


def test_every_anchor_leads_somewhere(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    anchors = {link[1:] for link in read(text).found if link.startswith("#")}
    assert anchors <= set(re.findall(r'id="([^"]*)"', text))
    assert len(anchors) == 5 + len(PROBLEMS)


def test_names_and_reasons_are_escaped(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; x=a|b" in text
    assert "<script>alert" not in text
    assert "<script" not in (written / "my report.md").read_text(encoding="utf-8")


def test_the_scripts_of_the_page_are_ours_and_no_others_may_run(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    found = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert tuple(found) == vendor.scripts()
    hashes = (hashlib.sha256(script.encode()).digest() for script in found)
    policy = text.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    allowed = unescape(policy).partition("script-src ")[2].split()
    assert allowed == [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes]


def test_what_the_script_works_with_holds_every_cell_of_the_page(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    kept = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert set(kept["problems"]) == set(PROBLEMS)
    cells = {(c["problem"], c["method"], c["seed"]): c for c in kept["cells"]}
    assert len(cells) == len(kept["cells"]) > 2 * 5 * SEEDS
    avb = cells["mixture-2d", "avb", 0]
    (found,) = (row for row in avb["figures"] if row[0] == "KL(q‖p), nats")
    assert found[2] == "between bounds"
    assert re.fullmatch(r"0\.1\d+ to 0\.1\d+ ± 0\.0\d+", found[1]), found
    lost = cells["eight-schools-signed", "avb", 2]
    assert (lost["status"], "wall limit" in lost["reason"]) == ("timed-out", True)
    points = kept["problems"]["mixture-2d"]["points"]
    spent = [gradients for method, seed, gradients, *_ in points if (method, seed) == ("avb", 0)]
    assert len(spent) == CHECKPOINTS
    assert spent == sorted(spent)


def test_pictures_have_words_and_follow_the_scheme(written: Path) -> None:
    pictures = read((written / "report.html").read_text(encoding="utf-8")).pictures
    assert len(pictures) == 3 * len(PROBLEMS)
    assert len({picture["alt"] for picture in pictures}) == len(pictures)
    for picture in pictures:
        drawn = unquote(str(picture["src"]).partition(",")[2])
        assert "prefers-color-scheme:dark" in drawn
        assert drawn.count("var(--c") > 10


def test_the_page_says_what_was_run(written: Path) -> None:
    for name in ("report.html", "my report.md"):
        text = re.sub(
            r"&#(\d+);",
            lambda found: chr(int(found[1])),
            (written / name).read_text(encoding="utf-8"),
        )
        assert "postbench run quick --out results" in text
        assert "torch 2.13.0" in text
        assert "Linux x86_64" in text
        assert "SIGSEGV" in text
        assert "noise floor" in text


def test_the_page_is_of_a_size_to_send(written: Path) -> None:
    assert (written / "report.html").stat().st_size < 6e6


def test_markdown_pictures_lie_beside_it(written: Path) -> None:
    text = (written / "my report.md").read_text(encoding="utf-8")
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(links) == 3 * len(PROBLEMS)
    for link in links:
        assert " " not in link
        assert (written / unquote(link)).read_bytes().startswith(b"<svg")


@pytest.mark.parametrize("failed", [False, True])
def test_nothing_measured_is_a_page_too(tmp_path: Path, failed: bool) -> None:
    store = build(tmp_path, only_failures=True) if failed else Store(tmp_path)
    text = page.html(store)
    assert ("RuntimeError: &lt;script&gt;" in text) is failed
    assert ("No cell has ended yet" in text) is not failed
    assert page.markdown(store, tmp_path / "figures").startswith("# ")
    console = Console(width=100, record=True, quiet=True)
    console.print(tables.terminal(store))
    frame.export(store, tmp_path / "rows.parquet")
    assert len(pd.read_parquet(tmp_path / "rows.parquet")) == len(store.cells())


def test_a_run_cut_short_shows_what_there_is(tmp_path: Path) -> None:
    store = build(tmp_path, names=("mixture-2d",))
    for path in store.draws_folder.glob("*.npz"):
        path.unlink()
    results = summarise(store)
    assert [picture.name for picture in pictures(store, results, "mixture-2d")] == [
        "1-mixture-2d-costs"
    ]


def test_importing_the_page_loads_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys, reports.page, reports.tables; print(*({'torch', 'matplotlib.pyplot'} &"
        " set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(reports.__file__).parents[1],
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_page_of_27_problems_like_these_stays_under_5_mb(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    parts = re.findall(r'<section id="problem-\d+".*?</section>', text, re.DOTALL)
    data = re.findall(r'<script type="application/json".*?</script>', text, re.DOTALL)
    assert (len(parts), len(data)) == (len(PROBLEMS), 1)
    of_problems = sum(len(part.encode()) for part in parts + data)
    assert of_problems > 100_000 * len(PROBLEMS)  # with their pictures
    rest = len(text.encode()) - of_problems
    assert rest + 27 * of_problems / len(PROBLEMS) < 5_000_000
