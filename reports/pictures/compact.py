"""An SVG of matplotlib's in a quarter of its bytes.

Its paths are written to a tenth of a point, without points that a straight line passes, and each
point as a step from the one before. What many elements share in style is written once, and names
are short.

Steps are taken between rounded points, so that they add up to the same place however many there
are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from string import ascii_lowercase as LETTERS  # noqa: N812

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int64]
TENTHS = 10  # of a point, a fifth of a pixel on the page
NEAR = 1.0  # tenths of a point by which a line may pass a point that is left out
STRAIGHT = re.compile(r"(?:\s*(?:[ML]\s+-?[\d.]+\s+-?[\d.]+|z))+\s*")


def compact(svg: str) -> str:
    """The same picture without what no reader sees: names of groups, blanks between elements, turns
    by nothing, a font that the page sets itself, and decimals past a tenth of a point.
    """
    text = re.sub(r' d="([^"]*)"', lambda d: f' d="{shortened(d[1])}"', svg)
    text = re.sub(r' (x|y)="(-?[\d.]+)"', lambda at: f' {at[1]}="{float(at[2]):.1f}"', text)
    text = re.sub(r' transform="rotate\(-?0 [^"]*"', "", text)
    text = text.replace("font-family: 'DejaVu Sans'; ", "")
    text = re.sub(r'<g id="(?!bracket)[^"]*"', "<g", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<path d="[^"]*" style="fill: none"/>', "", text)  # neither filled nor drawn
    return _sharing(_named_shortly(re.sub(r">\s+<", "><", text)))


def _named_shortly(text: str) -> str:
    """With names of a letter or two, and none for what nothing refers to."""
    asked = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^)"]*)', text))
    names = {name: _short(i) for i, name in enumerate(asked)}
    text = re.sub(r'(url\(#|href="#)([^)"]*)', lambda found: f"{found[1]}{names[found[2]]}", text)
    return re.sub(
        r' id="([^"]*)"',
        lambda found: (
            f' id="{names[found[1]]}"'
            if found[1] in names
            else found[0] * found[1].startswith("bracket")
        ),
        text,
    )


def _sharing(text: str) -> str:
    """With the styles that more than one element has as classes."""
    counts = Counter(re.findall(r' style="([^"]*)"', text))
    shared = [style for style, count in counts.most_common() if count > 1]
    names = {style: f"s{_short(i)}" for i, style in enumerate(shared)}
    text = re.sub(
        r' style="([^"]*)"',
        lambda found: f' class="{names[found[1]]}"' if found[1] in names else found[0],
        text,
    )
    rules = "".join(f".{name}{{{_tight(style)}}}" for style, name in names.items())
    return text.replace("</style>", f"{rules}</style>", 1)


def _tight(style: str) -> str:
    return re.sub(r"\s*([:;,])\s*", r"\1", style)


def _short(i: int) -> str:
    """A name of letters: a, b, ..., z, ba, bb, ..."""
    found = LETTERS[i % len(LETTERS)]
    while i := i // len(LETTERS):
        found = LETTERS[i % len(LETTERS)] + found
    return found


def shortened(path: str) -> str:
    """The data of a path, as matplotlib writes it, in few bytes; curves keep their own commands.

    Args:
        path: of ``d="..."``, with absolute commands.
    """
    if not STRAIGHT.fullmatch(path):
        return re.sub(r"(\.\d)\d+", r"\1", " ".join(path.split()))
    parts: list[str] = []
    at = np.zeros(2, np.int64)
    for line, closed in _lines(path):
        kept = thinned(line)
        letter = "m" if parts else "M"
        parts.append(letter + _pair(*(kept[0] - at).tolist()))
        steps = np.diff(kept, axis=0).tolist()
        parts += ["l" * (i == 0) + _pair(*step, more=i > 0) for i, step in enumerate(steps)]
        parts.append("z" * closed)
        at = kept[0] if closed else kept[-1]
    return "".join(parts)


def _lines(path: str) -> Iterator[tuple[Points, bool]]:
    """The points of each line, in tenths, and whether it is closed."""
    for part in re.split(r"(?=M)", path)[1:]:
        numbers = [float(x) for x in re.findall(r"-?[\d.]+", part)]
        points = np.rint(np.array(numbers).reshape(-1, 2) * TENTHS).astype(np.int64)
        yield points, "z" in part


def thinned(points: Points) -> Points:
    """The points [n, 2] without those that the line through the others passes within ``NEAR``.

    Source: D. H. Douglas, T. K. Peucker, Algorithms for the reduction of the number of points
    required to represent a digitized line or its caricature, 1973, doi:10.3138/FM57-6770-U75U-7727.
    """
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        away = _distances(points[first + 1 : last], points[first], points[last])
        furthest = first + 1 + int(away.argmax())
        if away.max() > NEAR:
            keep[furthest] = True
            spans += [(first, furthest), (furthest, last)]
    return points[keep]


def _distances(points: Points, start: Points, end: Points) -> NDArray[np.float64]:
    """Of points [n, 2] from the segment between two: [n]."""
    along = (end - start).astype(float)
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    gaps = points - start - share[:, None] * along
    norms: NDArray[np.float64] = np.linalg.norm(gaps, axis=1)
    return norms


def _pair(across: int, up: int, *, more: bool = False) -> str:
    """Two numbers with as little between them as the grammar of paths asks for."""
    x, y = _number(across), _number(up)
    before = " " if more and x[0] != "-" else ""
    return f"{before}{x}{'' if y[0] == '-' else ' '}{y}"


def _number(tenths: int) -> str:
    sign, (whole, rest) = "-" * (tenths < 0), divmod(abs(tenths), TENTHS)
    if rest == 0:
        return f"{sign}{whole}"
    return f"{sign}{whole or ''}.{rest}"
