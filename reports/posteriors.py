"""Each method's posterior over the truth: what a table of distances cannot show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.store import Store
from reports import density
from reports.density import Array, Window
from reports.entries import shown
from reports.intervals import combine
from reports.results import FLOOR, Results, ordered
from reports.sheet import floored
from reports.style import FAINT, TRUTH, WIDTH, Look, legend, wrapped

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
    """

    coordinates: Sequence[str]
    truth: Array
    draws: Mapping[str, Array]
    figures: Mapping[str, str]


def gather(store: Store, results: Results, problem: str) -> Posterior | None:
    """Draws of the seed with the middle divergence, for each method that has any; None without
    truth or without draws.
    """
    kept = store.draws(f"truth-{problem}")
    if kept is None:
        return None
    truth, coordinates = kept
    here = results.finals[results.finals["problem"] == problem]
    draws: dict[str, Array] = {}
    figures: dict[str, str] = {}
    for method in ordered(results, problem, dict.fromkeys(here["method"])):
        cells = here[here["method"] == method]
        judged = cells[
            (cells["metric"] == results.divergence(problem)) & cells["value"].notna()
        ].sort_values("value", kind="stable")
        middle = (judged if len(judged) else cells.drop_duplicates("key")).iloc[
            (max(len(judged), 1) - 1) // 2
        ]
        found = store.draws(str(middle["key"]))
        if found is not None and found[0].shape[1] == truth.shape[1]:
            draws[method] = found[0]
            if len(judged):
                end = [
                    None if pd.isna(middle["upper"]) else (middle["upper"], middle["upper_stderr"])
                ]
                figures[method] = shown(
                    combine([middle["value"]], [middle["stderr"]], [middle["kind"]], end)
                )
    return Posterior(coordinates, truth, draws, figures) if draws else None


def telling(posterior: Posterior, most: int) -> list[int]:
    """The coordinates in which some method is furthest from the truth, in their natural order."""
    rivals = [x for method, x in posterior.draws.items() if method != FLOOR] or list(
        posterior.draws.values()
    )
    apart = [
        max(density.far(x[:, i], posterior.truth[:, i]) for x in rivals)
        for i in range(posterior.truth.shape[1])
    ]
    return sorted(sorted(range(len(apart)), key=lambda i: -apart[i])[:most])


def telling_pairs(posterior: Posterior) -> list[tuple[int, int]]:
    """The pairs of coordinates that tell most: the one with the largest distance, then one that
    brings a new coordinate.
    """
    rivals = [x for method, x in posterior.draws.items() if method != FLOOR] or list(
        posterior.draws.values()
    )

    def apart(pair: tuple[int, int]) -> float:
        columns = list(pair)
        return sum(density.far_pair(x[:, columns], posterior.truth[:, columns]) for x in rivals)

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
    side = WIDTH / max(across, 4)
    figure = Figure(
        figsize=(side * across, (side + 0.1) * deep * len(chosen) + 0.5 * deep),
        layout="constrained",
    )
    grid = figure.subplots(deep * len(chosen), across, squeeze=False)
    for (block, pair), (i, method) in itertools.product(enumerate(chosen), enumerate(methods)):
        axes = grid[block * deep + i // across, i % across]
        _panel(axes, posterior, pair, method, looks[method])
        if block == 0 or deep > 1:
            name = wrapped(floored(method) if method == FLOOR else method, 24)
            axes.set_title(
                "\n".join(filter(None, [name, posterior.figures.get(method)])),
                color=looks[method].colour,
            )
        if i % across == 0:
            axes.set_ylabel(wrapped(posterior.coordinates[pair[1]], 20, 1))
        else:
            axes.tick_params(labelleft=False)
    for axes in grid.flat:
        axes.set_visible(axes.has_data())
    return figure


def _panel(
    axes: Axes, posterior: Posterior, pair: tuple[int, int], method: str, look: Look
) -> None:
    across, up = (
        density.window(posterior.truth[:, i], [x[:, i] for x in posterior.draws.values()])
        for i in pair
    )
    x, y = (posterior.draws[method][:, i] for i in pair)
    _contours(axes, posterior.truth[:, pair[0]], posterior.truth[:, pair[1]], across, up, None)
    shown = slice(None, None, math.ceil(len(x) / DOTS))
    axes.plot(
        x[shown],
        y[shown],
        ".",
        color=look.colour,
        markersize=1.6,
        alpha=0.4,
        markeredgewidth=0,
        rasterized=True,
    )
    _contours(axes, x, y, across, up, look)
    axes.set(
        xlim=(across.low, across.high),
        ylim=(up.low, up.high),
        box_aspect=1,
        xlabel=wrapped(posterior.coordinates[pair[0]], 20, 1),
    )
    axes.locator_params(nbins=4)
    outside = float(np.mean((x < across.low) | (x > across.high) | (y < up.low) | (y > up.high)))
    if outside >= 0.005:
        axes.text(
            0.98,
            0.02,
            f"{outside:.0%} outside",
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            color=FAINT,
            size=7,
        )


def _contours(
    axes: Axes, x: Array, y: Array, across: Window, up: Window, look: Look | None
) -> None:
    """Filled greys for the truth, which has no look; lines for a method."""
    z = density.surface(x, y, across, up)
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
    figure = Figure(
        figsize=(WIDTH, (1.6 if across > 2 else 2.2) * deep + 0.4), layout="constrained"
    )
    for i, coordinate in enumerate(chosen):
        axes = figure.add_subplot(deep, across, i + 1)
        _marginal(
            axes,
            posterior.truth[:, coordinate],
            {m: posterior.draws[m][:, coordinate] for m in methods},
            looks,
        )
        axes.set_title(wrapped(posterior.coordinates[coordinate], 24, 1))
    named = {floored(method) if method == FLOOR else method: looks[method] for method in methods}
    legend(figure, named, {"truth": TRUTH[1]})
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
