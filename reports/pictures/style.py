"""How every picture looks: a palette that colour-blind readers can tell apart, one colour a method,
light and dark alike.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import matplotlib.style
from cycler import cycler
from markupsafe import Markup
from matplotlib.figure import Figure

from reports.pictures.compact import compact
from reports.readings import FLOOR

Dashes = Literal["-"] | tuple[float, Sequence[float]]

# Okabe and Ito, Color Universal Design (2008), without black and yellow, which one of the two
# backgrounds would swallow.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# a seventh method has the first one's colour, dashed
DASHES: tuple[Dashes, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
INK, FAINT, RULE = "#1f2430", "#6b7280", "#d9dce1"
TRUTH = ("#e7e9ed", "#d0d4db", "#b3b9c4")  # the truth is always grey: 95%, 80%, 50% of its mass
DARK = {
    INK: "#e6e8ec",
    FAINT: "#9aa1ad",
    RULE: "#3a404a",
    **dict(zip(TRUTH, ("#2b3038", "#3d444f", "#565f6c"), strict=True)),
}
DARK |= {"#0072b2": "#4aa3df", "#d55e00": "#f0803c", "#009e73": "#2fbf93"}
FONTS = ["system-ui", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans", "sans-serif"]
# inches; the page shows a picture at its full width, so letters come out 1.4 times as large as set
# here
WIDTH = 9.6
PLAIN = " '!$()*+,-./:;=?@[]^_{|}~"  # what a URL within an attribute shows as it is
DPI = 120  # of points, which are drawn as pixels
RC = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": INK,
    "axes.prop_cycle": cycler(color=PALETTE),
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "postbench",
}


@dataclass(frozen=True)
class Look:
    """Colour and dashes of one method, the same in every picture of a page."""

    colour: str
    dashes: Dashes = "-"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with the words that stand beside it.

    Args:
        name: for a file, letters and dashes.
        caption: what is drawn and how to read it.
        alt: what it shows, for those who cannot see it.
        figure: laid out, or why it could not be drawn.
    """

    name: str
    caption: str
    alt: str
    figure: Figure | str


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """A look for each method label, by its place among them; the noise floor is faint, as the truth
    is grey.
    """
    own = [method for method in methods if method != FLOOR]
    found = {
        method: Look(PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)])
        for i, method in enumerate(own)
    }
    return found | {FLOOR: Look(FAINT, (0, (2, 1.5)))}


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's defaults and this style, whatever the reader's own settings are; they are
    restored afterwards.
    """
    with matplotlib.style.context(["default", RC]), warnings.catch_warnings():
        # a browser has more fonts than matplotlib
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def svg(picture: Picture) -> str:
    """SVG that follows the reader's light or dark scheme, text as text; empty where there is no
    picture.
    """
    if isinstance(picture.figure, str):
        return ""
    file = io.StringIO()
    with styled():
        picture.figure.savefig(
            file, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None}
        )
    text = compact(file.getvalue())
    names = {colour: f"--c{i}" for i, colour in enumerate(DARK)}
    text = re.sub("|".join(names), lambda found: f"var({names[found[0]]})", text)
    light, dark = (
        ";".join(f"{names[c]}:{value}" for c, value in scheme.items())
        for scheme in ({c: c for c in DARK}, DARK)
    )
    css = f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    css += f"text{{font-family:{','.join(FONTS)} !important}}"
    text = text[text.index("<svg") :]
    end = text.index(">") + 1
    return f"{text[:end]}<style>{css}</style>{text[end:]}"


def data_uri(svg: str) -> Markup:
    """An SVG as the source of an ``img`` element, between double quotes: no other file is needed.

    What a URL or an attribute cannot hold is written in percents, which takes less room than
    base64 would; the SVG's own attributes stand between single quotes, which need none.
    """
    text = " ".join(svg.split()).replace("'", "&apos;").replace('"', "'")
    return Markup("data:image/svg+xml," + quote(text, safe=PLAIN))


def wrapped(text: str, width: int, lines: int = 2) -> str:
    """A label on at most so many lines."""
    return "\n".join(
        textwrap.wrap(text, width, max_lines=lines, placeholder="…", break_on_hyphens=False) or [""]
    )
