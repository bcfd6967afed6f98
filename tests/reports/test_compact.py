"""Paths in few bytes lead where the whole ones do."""

from __future__ import annotations

import io
import random
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from reports.pictures.compact import NEAR, compact, shortened, thinned
from reports.pictures.style import Picture, data_uri, svg

HREF = "{http://www.w3.org/1999/xlink}href"
NUMBER = re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+)")


def points(path: str) -> list[tuple[float, float]]:
    """Where the commands M, m, l and z of a path lead, by the grammar of SVG 1.1."""
    at = start = (0.0, 0.0)
    found = []
    for command, numbers in re.findall(r"([Mmlz])([^Mmlz]*)", path):
        if command == "z":
            at = start
        values = [float(x) for x in NUMBER.findall(numbers)]
        for i, (x, y) in enumerate(zip(values[::2], values[1::2], strict=True)):
            at = (x, y) if command == "M" and i == 0 else (at[0] + x, at[1] + y)
            start = at if command in "Mm" and i == 0 else start
            found.append(at)
    return found


def test_a_short_path_leads_to_the_same_points() -> None:
    draw = random.Random(0)
    lines = [[(draw.uniform(-9, 700), draw.gauss(0, 0.3)) for _ in range(50)] for _ in range(20)]
    text = " ".join(
        " ".join(f"{'L' if i else 'M'} {x:.6f} {y:.6f} \n" for i, (x, y) in enumerate(line)) + "z"
        for line in lines
    )
    short = shortened(text)
    assert len(short) < 0.5 * len(text)
    asked = [point for line in lines for point in line]
    assert len(points(short)) > 0.9 * len(asked)  # hardly any lies on a line between others
    for x, y in points(short):
        assert min(max(abs(x - a), abs(y - b)) for a, b in asked) <= 0.0501


def test_points_left_out_lie_on_the_line_through_those_that_stay() -> None:
    angle = np.linspace(0, 2 * np.pi, 2000)
    circle = np.rint(1000 * np.stack([np.cos(angle), np.sin(angle)], 1)).astype(np.int64)
    kept = thinned(circle)
    assert 30 < len(kept) < 150  # a chord of 1,000 sin(t) is 1 away at its middle for t = 0.045
    middles = np.hypot(*((kept[1:] + kept[:-1]) / 2).T)
    assert middles.min() > 1000 - NEAR - 1  # rounding moves each end by less than one


def test_a_line_there_and_back_keeps_its_far_end() -> None:
    there = np.array([[0, 0], [50, 0], [100, 0], [50, 0], [0, 0]])
    assert thinned(there).tolist() == [[0, 0], [100, 0], [0, 0]]


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("M 1 2 \nL 3.04 1.96 \nL -1 2 \nz\n", "M1 2l2 0-4 0z"),
        ("M 0.5 0.25 \nL 1 1 \nM 5 5 \nL 5.1 4.9", "M.5 .2l.5 .8m4 4l.1-.1"),
        ("M 0 0 \nC 1.234 1 2 2.5678 3 3", "M 0 0 C 1.2 1 2 2.5 3 3"),
    ],
)
def test_a_path_is_written_by_the_grammar(path: str, short: str) -> None:
    assert shortened(path) == short


def test_a_picture_within_the_page_takes_less_room_than_base64_would() -> None:
    figure = Figure()
    figure.add_subplot().plot([random.Random(1).random() for _ in range(500)], "o-")
    drawn = svg(Picture("p", "", "", figure))
    found = data_uri(drawn)
    assert len(found) < 4 / 3 * len(drawn.encode())
    assert not set(found) & set('<>"&#\n')
    shown = unquote(found.partition(",")[2])
    assert ElementTree.canonicalize(shown) == ElementTree.canonicalize(" ".join(drawn.split()))


def test_styles_that_are_shared_and_short_names_lead_where_the_whole_ones_did() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    for seed in range(4):
        axes.plot([random.Random(seed).random() for _ in range(9)], "o-", color=f"C{seed % 2}")
    axes.text(0.5, 0.5, 'it\'s id="x" & style="y"')
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    whole, short = (ElementTree.fromstring(x) for x in (file.getvalue(), compact(file.getvalue())))
    rules = {
        name: dict(part.split(":", 1) for part in rule.split(";"))
        for name, rule in re.findall(r"\.(s\w+)\{([^}]*)\}", "".join(short.itertext()))
    }
    assert looks(short, rules) == looks(whole, {})
    for of in (whole, short):
        ids = [each.get("id") for each in of.iter() if each.get("id")]
        assert len(ids) == len(set(ids))
        asked = [
            x for each in of.iter() for x in each.attrib.values() if re.match(r"(url\()?#\w+", x)
        ]
        assert asked
        assert {x.removeprefix("url(").strip("#)") for x in asked} <= set(ids)
    assert len(compact(file.getvalue())) < 0.8 * len(file.getvalue())


def looks(picture: ElementTree.Element, rules: dict[str, dict[str, str]]) -> list[object]:
    """What is drawn, in order: tags with their styles, and what their names lead to."""
    ids = {each.get("id"): i for i, each in enumerate(drawn_of(picture)) if each.get("id")}
    return [
        (
            each.tag,
            {
                name.strip(): value.replace(" ", "")
                for name, value in (
                    rules[each.get("class", "")]
                    if each.get("class")
                    else dict(
                        part.split(":", 1) for part in each.get("style", "").split(";") if part
                    )
                ).items()
                if "font" not in name
            },
            each.text,
            bool(each.get(HREF)) and ids.get(each.get(HREF, "").strip("#")),
        )
        for each in drawn_of(picture)
    ]


def drawn_of(picture: ElementTree.Element) -> list[ElementTree.Element]:
    return [
        each
        for each in picture.iter()
        if each.tag.rpartition("}")[2] in ("path", "use", "text", "image")
        and each.get("style", "") != "fill: none"
    ]
