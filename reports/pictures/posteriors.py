"""Each method's posterior over the truth: what a table of distances cannot show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.store import Store
from reports.entries import shown
from reports.guarded import finite_draws
from reports.intervals import combine
from reports.layout import Grid, Legend
from reports.pictures import density
from reports.pictures.density import Array, Window
from reports.pictures.style import FAINT, TRUTH, WIDTH, Look, wrapped
from reports.readings import FLOOR
from reports.results import Results, ordered
from reports.sheet import floored

ACROSS = 5  # panels in a row
PAIRS = 2  # pairs of coordinates shown where there are more than two
COORDINATES = 12  # marginals shown at most
TALLEST = 3.5  # times the truth: a density that is higher runs out of its panel
DOTS = 1200  # draws shown as points in a panel


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of one problem: the truth and one seed of each method, in the order of its table.

    Args:
        coordinates: a label for each of the D coordinates.
        truth: [m, D].
        draws: [n, D] for each method.
        figures: the divergence of the very cell whose draws are shown, as written, for each method
            that has one.
        absent: what must be said of methods whose draws are not shown, or not all of them.
        cells: the key of the cell whose draws are shown, for each method.
    """

    coordinates: Sequence[str]
    truth: Array
    draws: Mapping[str, Array]
    figures: Mapping[str, str]
    absent: Mapping[str, str]
    cells: Mapping[str, str]

    @property
    def varied(self) -> list[int]:
        """The coordinates that have a density, not being constant to rounding."""
        return [i for i in range(self.truth.shape[1]) if not density.constant(self.truth[:, i])]

    @property
    def rivals(self) -> list[Array]:
        """Draws of all methods but the noise floor; its own where there are no others."""
        found = [x for method, x in self.draws.items() if method != FLOOR]
        return found or list(self.draws.values())


def gather(store: Store, results: Results, problem: str) -> Posterior | str:
    """Draws of the seed with the middle divergence, for each method that has any; why there is
    nothing to draw where that is so, empty where no draws were kept at all.
    """
    if not store.has_draws(f"truth-{problem}"):
        return ""
    truth, coordinates, why = finite_draws(store, f"truth-{problem}")
    if not truth.size:
        return f"of the truth, {why}"
    draws: dict[str, Array] = {}
    figures: dict[str, str] = {}
    cells: dict[str, str] = {}
    absent = {"the truth": why} if why else {}
    known = results.cells_of[problem]
    for method in ordered(results, problem, known):
        middle, figure = middle_cell(results, problem, method)
        if not middle or not store.has_draws(middle):
            continue
        x, _, why = finite_draws(store, middle)
        if x.size and x.shape[1] != truth.shape[1]:
            why, x = f"its draws have {x.shape[1]} coordinates, not {truth.shape[1]}", x[:0]
        if x.size:
            draws[method], cells[method] = x, middle
            figures |= {method: figure} if figure else {}
        if why:
            absent[method] = why
    if not draws:
        return "; ".join(f"{name}: {why}" for name, why in absent.items())
    return Posterior(coordinates, truth, draws, figures, absent, cells)


def own_units(store: Store, problem: str, posterior: Posterior) -> Posterior | None:
    """The same draws in the model's own units, a column for each entry of each parameter; None
    where those are the coordinates, or were not kept.
    """
    truth = store.named(f"truth-{problem}")
    if truth is None or not len(whole := _finite(truth[0])):
        return None
    draws, absent = {}, dict(posterior.absent)
    for method, cell in posterior.cells.items():
        found = store.named(cell)
        if found is not None and found[1] == truth[1] and len(x := _finite(found[0])):
            draws[method] = x
        else:
            absent[method] = "its draws were not kept in the model's own units"
    if not draws:
        return None
    return replace(posterior, coordinates=truth[1], truth=whole, draws=draws, absent=absent)


def _finite(draws: Array) -> Array:
    found: Array = draws[np.isfinite(draws).all(axis=1)]
    return found


def middle_cell(results: Results, problem: str, method: str) -> tuple[str, str]:
    """The cell in the middle by its divergence, and that figure as written; the first cell that
    ended well where none has one; empty where none did.
    """
    rows = results.rows((problem, results.divergence(problem) or "", method))
    judged = sorted(
        (row for row in rows if row.value is not None and not math.isnan(row.value)),
        key=lambda row: row.value or 0.0,
    )
    if not judged:
        cells = results.cells_of[problem][method]
        return next(((cell.key, "") for cell in cells if cell.status == "ok"), ("", ""))
    row = judged[(len(judged) - 1) // 2]
    figure = combine([row.value or 0.0], [row.stderr], [row.kind], [row.upper])
    return row.cell, shown(figure)


def telling(posterior: Posterior, most: int) -> list[int]:
    """The coordinates in which some method is furthest from the truth, in their natural order."""
    apart = {
        i: max(density.far(x[:, i], posterior.truth[:, i]) for x in posterior.rivals)
        for i in posterior.varied
    }
    return sorted(sorted(apart, key=lambda i: -apart[i])[:most])


def telling_pairs(posterior: Posterior) -> list[tuple[int, int]]:
    """The pairs of coordinates that tell most: the one with the largest distance, then one that
    brings a new coordinate.
    """

    def apart(pair: tuple[int, int]) -> float:
        columns = list(pair)
        truth = posterior.truth[:, columns]
        return sum(density.far_pair(x[:, columns], truth) for x in posterior.rivals)

    left = sorted(
        itertools.combinations(telling(posterior, COORDINATES), 2), key=apart, reverse=True
    )
    chosen: list[tuple[int, int]] = []
    for pair in left:
        if len(chosen) < PAIRS and not set(pair) <= set(itertools.chain(*chosen)):
            chosen.append(pair)
    return chosen


def pairs(
    posterior: Posterior, chosen: Sequence[tuple[int, int]], looks: Mapping[str, Look]
) -> Figure:
    """A row of panels for each pair of coordinates, a panel for each method; methods beyond
    ``ACROSS`` go on below.
    """
    methods = list(posterior.draws)
    deep = math.ceil(len(methods) / ACROSS)
    across = min(ACROSS, math.ceil(len(methods) / deep))
    side = (WIDTH - 0.68) / max(across, 4) - 0.14
    titled = [block == 0 or deep > 1 for block in range(len(chosen)) for _ in range(deep)]
    titles = [0.55 if title else 0.06 for title in titled]
    figure, grid = Grid(across, side, side, titles).draw()
    for (block, pair), row in itertools.product(enumerate(chosen), range(deep)):
        windows = [
            density.window(posterior.truth[:, i], [x[:, i] for x in posterior.draws.values()])
            for i in pair
        ]
        x, y = (posterior.truth[:, i] for i in pair)
        truth = density.surface(x, y, windows[0], windows[1])
        for i, axes in enumerate(grid[block * deep + row]):
            if row * across + i >= len(methods):
                axes.set_visible(False)
                continue
            method = methods[row * across + i]
            _panel(axes, posterior.draws[method][:, pair], truth, windows, looks[method])
            axes.set_xlabel(wrapped(posterior.coordinates[pair[0]], 20, 1))
            if titled[block * deep + row]:
                name = wrapped(floored(method) if method == FLOOR else method, 24)
                lines = filter(None, [name, posterior.figures.get(method)])
                axes.set_title("\n".join(lines), color=looks[method].colour)
            if i == 0:
                axes.set_ylabel(wrapped(posterior.coordinates[pair[1]], 20, 1))
            else:
                axes.tick_params(labelleft=False)
    return figure


def _panel(axes: Axes, draws: Array, truth: Array, windows: Sequence[Window], look: Look) -> None:
    across, up = windows
    x, y = draws[:, 0], draws[:, 1]
    axes.set(xlim=(across.low, across.high), ylim=(up.low, up.high), autoscale_on=False)
    _contours(axes, truth, across, up, None)
    outside = (x < across.low) | (x > across.high) | (y < up.low) | (y > up.high)
    dots = draws[~outside][:: math.ceil(len(x) / DOTS)]
    axes.plot(*dots.T, ",", color=look.colour, alpha=0.5, rasterized=True)
    _contours(axes, density.surface(x, y, across, up), across, up, look)
    axes.locator_params(nbins=4)
    if (share := float(np.mean(outside))) >= 0.005:
        axes.text(
            0.98,
            0.02,
            f"{share:.0%} outside",
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            color=FAINT,
            size=7,
        )


def _contours(axes: Axes, z: Array, across: Window, up: Window, look: Look | None) -> None:
    """Filled greys for the truth, which has no look; lines for a method."""
    heights = density.levels(z)
    if not heights:
        return
    grid = (across.centres(density.BINS_2D), up.centres(density.BINS_2D), z)
    if look is None:
        axes.contourf(
            *grid, levels=[*heights, float(z.max()) * 1.001], colors=list(TRUTH[-len(heights) :])
        )
    else:
        axes.contour(
            *grid, levels=heights, colors=look.colour, linewidths=1.0, linestyles=[look.dashes]
        )


def marginals(posterior: Posterior, looks: Mapping[str, Look]) -> Figure:
    """A panel for each coordinate: the truth filled, a line for each method, the noise floor's too:
    how far chance leads.
    """
    chosen, methods = telling(posterior, COORDINATES), list(posterior.draws)
    across = len(chosen) if len(chosen) <= 5 else 5 if len(chosen) % 5 == 0 else 4
    deep = math.ceil(len(chosen) / across)
    named = {floored(method) if method == FLOOR else method: looks[method] for method in methods}
    legend = Legend(named, {"truth": TRUTH[1]})
    width, height = (WIDTH - 0.12) / across - 0.14, 1.15 if across > 2 else 1.7
    grid = Grid(across, width, height, [0.24] * deep, left=0.06, bottom=0.3, head=legend.height)
    figure, rows = grid.draw()
    for place, axes in enumerate(itertools.chain(*rows)):
        if place >= len(chosen):
            axes.set_visible(False)
            continue
        i = chosen[place]
        _marginal(
            axes, posterior.truth[:, i], {m: posterior.draws[m][:, i] for m in methods}, looks
        )
        axes.set_title(wrapped(posterior.coordinates[i], 24, 1))
    legend.draw(figure)
    return figure


def _marginal(
    axes: Axes, truth: Array, draws: Mapping[str, Array], looks: Mapping[str, Look]
) -> None:
    shown = density.window(truth, list(draws.values()))
    centres, height = shown.centres(density.BINS_1D), density.curve(truth, shown)
    axes.fill_between(centres, height, color=TRUTH[1], linewidth=0)
    highest = float(height.max())
    for method, x in draws.items():
        look, line = looks[method], density.curve(x, shown)
        axes.plot(centres, line, color=look.colour, linestyle=look.dashes, linewidth=1.3)
        highest = max(highest, min(float(line.max()), TALLEST * float(height.max())))
    axes.set(xlim=(shown.low, shown.high), ylim=(0, 1.06 * highest or 1.0), yticks=[])
    axes.spines.left.set_visible(False)
    axes.locator_params(axis="x", nbins=5)
