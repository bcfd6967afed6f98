"""What the pages point at is there: links, anchors, files, modules, commands and names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bench.calibration.table import LEGEND
from bench.cli import app
from bench.commands.calibrate import LEARNED_MARKS, MARKS
from bench.plugins.built_in import AMORTISED, BUILT_IN, ON_REQUEST
from bench.running.matrix import presets
from tests.helpers.pages import PAGES, ROOT, anchors, blocks, label, links, prose

DOCS = sorted((ROOT / "docs").glob("*.md"))
ROOMS = r"(?:bench|methods|problems|reports|tests|docs)"
WIDEST = 125  # columns of a line of prose, where links lead left out; tables and code may be wider
PLACEHOLDER = re.compile(r"[A-Z]{4}")  # as in methods/NAME.py
MADE = re.compile(r"<!-- calibration -->.*", re.DOTALL)  # by a command, in lines of its own


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{label(page)} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{label(page)} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_path_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(rf"(?<![\w/.-])({ROOMS}/[\w./-]*\w)", text):
        assert PLACEHOLDER.search(path) or (ROOT / path).exists(), f"{label(page)} names {path}"


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_module_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for dotted in re.findall(rf"(?<![\w/.-])({ROOMS}(?:\.[a-z_]+)+)", text):
        parts = dotted.split(".")
        if parts[-1] in ("py", "md", "toml"):
            continue
        # the last word may be a name inside the module
        places = [ROOT.joinpath(*parts[:count]) for count in (len(parts), len(parts) - 1)]
        found = any(place.with_suffix(".py").is_file() or place.is_dir() for place in places)
        assert found, f"{label(page)} names {dotted}"


@pytest.mark.parametrize("page", DOCS, ids=label)
def test_the_index_leads_to_every_page(page: Path) -> None:
    index = ROOT / "docs" / "index.md"
    if page != index:
        assert page.name in {link.partition("#")[0] for link in links(index)}


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "CHANGELOG"], ids=label)
def test_lines_are_no_wider_than_a_screen(page: Path) -> None:
    for line in MADE.sub("", prose(page)).splitlines():
        bare = re.sub(r"\]\([^)]*\)", "]", line)
        assert line.startswith("|") or len(bare) <= WIDEST, f"{label(page)}: {line}"


def test_every_metric_has_its_section() -> None:
    headings = [
        line for line in prose(ROOT / "docs" / "metrics.md").splitlines() if line[:3] == "## "
    ]
    for name in BUILT_IN["metrics"]:
        assert any(f"`{name}`" in line for line in headings), (
            f"no section of docs/metrics.md has {name}"
        )


def test_readme_and_index_name_what_ships() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in [*BUILT_IN["methods"], *BUILT_IN["metrics"], *presets()]:
        assert f"`{name}`" in readme, f"README.md does not name {name}"
    for name in [*BUILT_IN["models"], *BUILT_IN["learners"]]:
        assert f"`{name}`" in readme, f"README.md does not name {name}"


def test_the_page_on_amortised_inference_defines_every_figure() -> None:
    page = (ROOT / "docs" / "amortised.md").read_text(encoding="utf-8")
    for name in BUILT_IN["figures"]:
        assert f"| `{name}` |" in page, f"no row of docs/amortised.md defines {name}"


def test_presets_and_names_on_command_lines_exist() -> None:
    """Of every ``postbench`` line in a block of shell: the words after -p, -m and --metric."""
    for page in PAGES:
        for line in "".join(blocks(page, "sh")).splitlines():
            for option, group in (("-p", "problems"), ("-m", "methods"), ("--metric", "metrics")):
                for word in re.findall(rf"(?<=\s{option}\s)([^\s:#]+)", line):
                    if (
                        line.startswith("postbench")
                        and ".py" not in word
                        and ".stan" not in word
                        and word not in ("all", "trait")
                    ):
                        known = BUILT_IN[group] | ON_REQUEST[group] | BUILT_IN[AMORTISED[group]]
                        assert word in known, f"{label(page)}: {line}"


def test_the_page_of_the_calibration_is_what_the_command_writes() -> None:
    page = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    before, table, after = re.split("|".join(mark.strip() for mark in MARKS), page)
    assert before.startswith("# ")
    assert LEGEND in table
    head, learned, rest = re.split("|".join(mark.strip() for mark in LEARNED_MARKS), after)
    assert head.strip().startswith("## Learned pairs")
    assert "| `posterior_kl_upper` | map of 5 |" in learned
    assert rest.strip() == ""


def test_the_map_of_the_house_has_every_room() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    plan = re.split(
        r"^(?=\w+/)", index.partition("```\n")[2].partition("```")[0], flags=re.MULTILINE
    )
    rooms = {
        part.partition("/")[0]: set(re.findall(r"^ +(\w+)/", part, re.MULTILINE)) for part in plan
    }
    for package in ("problems", "methods", "bench", "reports"):
        folders = {path.name for path in (ROOT / package).rglob("*") if path.is_dir()}
        assert rooms[package] == {name for name in folders if name[0] != "_"}


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_the_options_that_are_shown_are_those_of_the_command(page: Path) -> None:
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    for line in (line for line in lines if line.startswith("postbench ")):
        command: Any = get_command(app)
        words = shlex.split(line, comments=True)[1:]
        while hasattr(command, "commands"):
            assert words[0] in command.commands, f"{label(page)}: {line}"
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = {word for word in words if word.startswith("-")} - known
        assert not unknown, f"{label(page)}: {line} has {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_the_options_that_are_shown_of_a_benchmark_are_those_of_its_script(page: Path) -> None:
    """By the words of its file, since to build its parser is to run it."""
    for name, words in re.findall(
        r"python -m tests\.benchmarks\.(\w+)(.*)", "".join(blocks(page, "sh"))
    ):
        script = (ROOT / "tests" / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        for option in re.findall(r"(?<=\s)-[\w-]+", words.partition("#")[0]):
            assert f'"{option}"' in script, f"{label(page)} shows {name} {option}"
