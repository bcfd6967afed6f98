"""How every picture looks: a palette that colour-blind readers can tell apart, one colour a method,
light and dark alike.
"""

from __future__ import annotations

import base64
import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import matplotlib.style
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.results import FLOOR

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
    text = re.sub(r' d="[^"]*"', _rounded, file.getvalue())
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


def _rounded(path: re.Match[str]) -> str:
    """A path to a tenth of a point, a fifth of a pixel: it takes a third of the room of
    matplotlib's six decimals.
    """
    return re.sub(r"(\.\d)\d+", r"\1", path[0])


def data_uri(svg: str) -> str:
    """An SVG as the source of an ``img`` element: no other file is needed."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def wrapped(text: str, width: int, lines: int = 2) -> str:
    """A label on at most so many lines."""
    return "\n".join(
        textwrap.wrap(text, width, max_lines=lines, placeholder="…", break_on_hyphens=False) or [""]
    )


@dataclass(frozen=True, eq=False)
class Legend:
    """One legend above all panels, read row by row: areas of a colour first, then methods.

    Args:
        methods: their looks, by name.
        areas: colours, by name.
    """

    methods: Mapping[str, Look]
    areas: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        return [wrapped(name, 44) for name in (*self.areas, *self.methods)]

    @property
    def columns(self) -> int:
        widths = [0.6 + 0.065 * max(map(len, name.split("\n"))) for name in self.names]  # inches
        if sum(widths) <= WIDTH:
            return len(widths)
        return min(len(widths), max(1, int(WIDTH / max(widths))))

    @property
    def height(self) -> float:
        """Height of the legend, in inches."""
        names, columns = self.names, self.columns
        rows = [names[i : i + columns] for i in range(0, len(names), columns)]
        return 0.12 + sum(0.04 + 0.14 * max(1 + n.count("\n") for n in row) for row in rows)

    def draw(self, figure: Figure) -> None:
        """Put it at the top left."""
        handles: list[Patch | Line2D] = [
            Patch(facecolor=colour, edgecolor=FAINT, linewidth=0.4)
            for colour in self.areas.values()
        ]
        handles += [
            Line2D([], [], color=look.colour, linestyle=look.dashes, linewidth=1.8)
            for look in self.methods.values()
        ]
        names, columns = self.names, self.columns
        # matplotlib fills by column
        order = [i for column in range(columns) for i in range(column, len(names), columns)]
        drawn = figure.legend(
            [handles[i] for i in order],
            ["name"] * len(order),
            loc="upper left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.2,
            ncols=columns,
        )
        for text, i in zip(drawn.get_texts(), order, strict=True):
            # set afterwards: matplotlib drops a name that begins with an underscore
            text.set_text(names[i])


@dataclass(frozen=True)
class Grid:
    """Panels of one size in rows, placed by inches: to let matplotlib measure every label takes
    longer than to draw them.

    Args:
        columns: panels in a row; width, height: of a panel.
        titles: room above each row.
        left, bottom: room for labels beside the first panel of a row and below each row.
        head: room for a legend.
    """

    columns: int
    width: float
    height: float
    titles: Sequence[float]
    left: float = 0.62
    bottom: float = 0.44
    gap: float = 0.14
    head: float = 0.0

    def draw(self) -> tuple[Figure, list[list[Axes]]]:
        """A figure with its axes, by row."""
        wide = self.left + self.columns * (self.width + self.gap) + 0.06
        high = self.head + sum(self.titles) + len(self.titles) * (self.height + self.bottom)
        figure, rows, top = Figure(figsize=(wide, high)), [], high - self.head
        for title in self.titles:
            top -= title + self.height
            rows.append(
                [
                    figure.add_axes(
                        (
                            (self.left + i * (self.width + self.gap)) / wide,
                            top / high,
                            self.width / wide,
                            self.height / high,
                        )
                    )
                    for i in range(self.columns)
                ]
            )
            top -= self.bottom
        return figure, rows
