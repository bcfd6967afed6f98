"""Where panels and legends stand: placed by inches, since to let matplotlib measure every label
takes longer than to draw them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.pictures.style import FAINT, WIDTH, Look, wrapped


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
    """Panels of one size in rows.

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
