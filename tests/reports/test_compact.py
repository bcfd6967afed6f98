"""Paths in few bytes lead where the whole ones do."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from reports.pictures.compact import NEAR, shortened, thinned
from reports.pictures.style import Picture, data_uri, svg

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
    assert not set(found) & set("<>\"'&#\n")
