"""Quality against what it cost: seconds, and gradients, which no machine makes faster."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports import numbers
from reports.entries import shown
from reports.intervals import BRACKET
from reports.intervals import Figure as Interval
from reports.layout import Grid, Legend
from reports.pictures.style import TRUTH, WIDTH, Look
from reports.readings import FLOOR, Key
from reports.results import Results, ordered

MARKERS = {"exact": "o", "lower bound": "^", "upper bound": "v", "estimate": "D", BRACKET: "s"}
COSTS = (
    ("seconds", "Fitting time", numbers.seconds),
    ("gradients", "Gradient evaluations", numbers.count),
)
SETUP = "setup_seconds"  # the cost that the axis of seconds leaves out
DECADES = 5  # of quality shown at most
HIGHEST = 1e100  # what is further away has no place on an axis
BAND = "noise floor of estimates"
NO_BAND = "no noise floor: exact was not measured"


class Costs(NamedTuple):
    """A picture and what must be said of it.

    Args:
        clipped: whether any point stands elsewhere than at its value; absent: the methods that have
            no place on it.
        floor: what the noise floor is, where it stands, or why there is none.
    """

    figure: Figure
    clipped: bool
    absent: list[str]
    floor: str


def costs(
    results: Results, problem: str, looks: Mapping[str, Look], metric: str = ""
) -> Costs | None:
    """Two panels with one quality axis; None where no method has a finite figure.

    Args:
        results, problem, looks: what is drawn.
        metric: on the quality axis; empty for that which stands for quality there.
    """
    metric = metric or results.divergence(problem) or ""
    frame = results.of(problem)
    frame = frame[(frame["metric"] == metric) & (frame["status"] == "ok")]
    points = frame[(frame["method"] != FLOOR) & frame["value"].abs().lt(HIGHEST)]
    if points.empty:
        return None
    floor = results.figures.get((problem, metric, FLOOR))
    line = max(floor.high, 0.0) if floor else 0.0
    points, bottom = _placed(points, line, floor.kind if floor else "estimate")
    methods = ordered(results, problem, dict.fromkeys(points["method"]))
    name = BAND if floor and floor.kind == "estimate" else "noise floor"
    unknown = {NO_BAND: "none"} if results.no_floor(problem) else {}
    band = {name: TRUTH[0]} if line > bottom else {} if floor else unknown
    legend = Legend({method: looks[method] for method in methods}, band)
    grid = Grid(2, (WIDTH - 0.9) / 2, 2.7, [0.06], left=0.7, head=legend.height)
    figure, (panels,) = grid.draw()
    panels[1].sharey(panels[0])
    panels[1].tick_params(labelleft=False)
    for axes, (column, title, written) in zip(panels, COSTS, strict=True):
        if line > bottom:
            axes.axhspan(bottom / 10, line, color=TRUTH[0], linewidth=0)
        for method in methods:
            its = points[points["method"] == method]
            _curve(axes, its, column, looks[method], results, (problem, metric, method))
        highest = max(float(points["shown"].max()), float(points["shown_upper"].max()), bottom)
        apart = column == "seconds" and SETUP in results.metrics(problem)
        _scale(axes, (bottom / 1.2, highest * 1.6))
        axes.set_xlabel(f"{title}, set-up left out" if apart else title)
        _label(axes.xaxis, written)
    _label(figure.axes[0].yaxis, lambda value: numbers.plain(value, 1))
    figure.axes[0].set_ylabel(results.measure(metric).heading)
    legend.draw(figure)
    absent = sorted(set(frame.loc[frame["value"].notna(), "method"]) - set(methods) - {FLOOR})
    return Costs(
        figure,
        bool(points["clipped"].any()),
        absent,
        _words(results, problem, floor, line > bottom),
    )


def _scale(axes: Axes, shown: tuple[float, float]) -> None:
    """Both axes of a panel are logarithmic, and the quality axis shows this range."""
    axes.set(xscale="log", yscale="log", ylim=shown)
    axes.grid(True)
    axes.tick_params(which="minor", length=0)


def _words(results: Results, problem: str, floor: Interval | None, drawn: bool) -> str:
    if floor is None:
        none = "No noise floor: exact draws have no figure of this kind here."
        return results.no_floor(problem) or (none if results.has_floor(problem) else "")
    place = (
        "Grey: the noise floor" if drawn else "The noise floor lies below the picture's lower edge"
    )
    held = (
        ""
        if floor.kind != "estimate"
        else "; exact values, bounds and brackets come from densities, whose floor is 0"
    )
    return f"{place}; exact draws read {shown(floor)}{held}."


def _placed(points: pd.DataFrame, line: float, own: str) -> tuple[pd.DataFrame, float]:
    """Where each value is drawn, with the upper end of a bracket, and the lowest place there is.

    A figure by the floor's own estimator that is below the floor's line says nothing but that, and
    is put on the line; what has no logarithm, at the bottom. Both are marked as ``clipped``.
    """
    blurred = points["kind"].isin(["estimate", own]) & (points["value"] <= line)
    sound = points.loc[~blurred & (points["value"] > 0), "value"]
    lowest = min([float(x) for x in (sound.min(), line) if x > 0], default=1e-3)
    bottom = max(lowest / 1.5, float(points["value"].max()) * 10.0**-DECADES)
    drawn = points["value"].clip(lower=bottom).mask(blurred, max(line, bottom))
    upper = points["upper"].clip(lower=bottom)
    return points.assign(shown=drawn, shown_upper=upper, clipped=drawn > points["value"]), bottom


def _curve(
    axes: Axes, points: pd.DataFrame, column: str, look: Look, results: Results, key: Key
) -> None:
    """Median over seeds in a band from the lowest to the highest, its end marked; one checkpoint: a
    point with its interval.
    """
    points = points[points[column] > 0]
    if points.empty:
        return
    steps, colour = points.groupby("checkpoint"), look.colour
    x, y, tops = (
        steps[column].median().astype(float),
        steps["shown"].median(),
        steps["shown_upper"].median(),
    )
    marker, open_ends = (
        MARKERS.get(str(points["kind"].iloc[-1]), "s"),
        steps["clipped"].mean() > 0.5,
    )
    if len(x) > 1:
        axes.fill_between(
            x, steps["shown"].min(), steps["shown"].max(), color=colour, alpha=0.18, linewidth=0
        )
        axes.plot(x, y, color=colour, linestyle=look.dashes, linewidth=1.4)
    elif key in results.figures and not math.isnan(results.figures[key].half_width):
        figure = results.figures[key]
        axes.vlines(
            x, max(figure.low, 1e-12), max(figure.high, y.iloc[-1]), color=colour, linewidth=0.8
        )
    _bars(axes, x, y, tops, colour)
    for i, (across, up, is_open) in enumerate(zip(x, y, open_ends, strict=True)):
        size = (6.5 if pd.isna(tops.iloc[i]) else 4.5) if i == len(x) - 1 else 3.0
        face = "none" if is_open else colour
        axes.plot(
            across,
            up,
            marker,
            markersize=size,
            color=colour,
            markerfacecolor=face,
            markeredgewidth=1.2,
            zorder=3,
        )


def _bars(
    axes: Axes, x: pd.Series[float], lower: pd.Series[float], upper: pd.Series[float], colour: str
) -> None:
    """What the true value may be between two bounds, each end the median of the seeds."""
    closed = upper.notna()
    axes.vlines(x[closed], lower[closed], upper[closed], color=colour, linewidth=2.4, gid="bracket")
    axes.plot(x[closed], upper[closed], "_", color=colour, markersize=9.0, markeredgewidth=1.6)


def _label(axis: Axis, written: Callable[[float], str]) -> None:
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    subs = (1.0,) if decades > 3.5 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: re.sub(r"\.0+(?=\D|$)", "", written(value)))
    )
    axis.set_minor_formatter(NullFormatter())
