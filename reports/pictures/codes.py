"""What a learner has made of a generative model: the codes of its data, the posteriors of single x,
x as they come back from their codes, and x that the model draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from bench.store import Store
from reports import numbers
from reports.layout import Grid
from reports.pictures import density
from reports.pictures.density import SHARES, Array, Window
from reports.pictures.posteriors import middle_cell
from reports.pictures.style import FAINT, INK, PALETTE, RULE, TRUTH, WIDTH, Look, wrapped
from reports.results import Results, ordered

STAGES = 3  # checkpoints of which codes are shown
REACH = 3.6  # prior standard deviations that a plane shows at least
DOTS = 150  # draws of each q(z | x) that are shown as points
TITLE, SIDE, EDGE = 0.24, 0.62, 0.08  # inches: above a row, beside it, around pictures of x
TALLEST_PLANE, LARGEST_IMAGE = 2.3, 1.1  # inches: a panel of the plane, and a picture of an x
LEAST_ROW = 0.27  # inches, in which a name of two lines has room


@dataclass(frozen=True, eq=False)
class Learned:
    """What was kept of the middle seed of one learner.

    Args:
        draws: of all q(z | x) together, [n, L].
        more: arrays by name, as ``bench.running.shown_pair`` explains them.
    """

    draws: Array
    more: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Kind:
    """One kind of picture: what its name ends in, its caption, what it shows."""

    name: str
    caption: str
    shows: str

    def alt(self, problem: str, who: str) -> str:
        """For those who cannot see it."""
        return f"{self.shows} {problem}, learned by {who}."


def gather(store: Store, results: Results, problem: str) -> dict[str, Learned]:
    """What was kept of the seed in the middle, for each method, in the order of the table."""
    found = {}
    for method in ordered(results, problem, results.cells_of[problem]):
        cell, _ = middle_cell(results, problem, method)
        kept, more = store.draws(cell) if cell else None, store.more(cell) if cell else {}
        if kept is not None and more:
            found[method] = Learned(kept[0], more)
    return found


def pictures(
    learned: Mapping[str, Learned], looks: Mapping[str, Look]
) -> Iterator[tuple[Kind, Callable[[], Figure]]]:
    """Each kind of picture that there is something to show of, and how it is drawn."""
    if min(found.draws.shape[1] for found in learned.values()) > 1:
        yield PLANE, lambda: plane(learned, looks)
    if any("log_posterior" in found.more for found in learned.values()):
        yield SINGLE, lambda: single(learned, looks)
    yield RECONSTRUCTED, lambda: images(learned, "reconstruction")
    yield SAMPLED, lambda: images(learned, "sample")


PLANE = Kind(
    "codes",
    "The latent space: draws of q(z | x), a colour for each x, at checkpoints from the first to the"
    " last, and on the right all of them together: lines enclose 95%, 80% and 50% of q(z), the mean"
    " of q(z | x) over the x. Grey: the prior N(0, I), which q(z) is to match, its circles holding"
    " the same shares. Of more than two coordinates the first two are shown.",
    "The latent space of",
)
SINGLE = Kind(
    "posteriors",
    "The posterior of single x. Grey: p(z | x) under the learned decoder, exact, its darkest part"
    " holding 50% of the mass, the next 80% and the lightest 95%; points: draws of q(z | x).",
    "Exact posteriors of single x of",
)
RECONSTRUCTED = Kind(
    "reconstructions",
    "Test data, and what comes back: the decoder's mean at one draw of q(z | x). Dark is one.",
    "Reconstructions of",
)
SAMPLED = Kind(
    "samples",
    "What the model draws: the decoder's mean at draws of the prior, the same ones for every"
    " method. Dark is one.",
    "Samples of",
)


def plane(learned: Mapping[str, Learned], looks: Mapping[str, Look]) -> Figure:
    """Rows of methods; columns of checkpoints, and of all codes together."""
    size = min(TALLEST_PLANE, (WIDTH - SIDE) / (STAGES + 1) - 0.14)
    grid = Grid(STAGES + 1, size, size, [TITLE] * len(learned), left=SIDE, bottom=0.24)
    figure, rows = grid.draw()
    for row, (method, found) in zip(rows, learned.items(), strict=True):
        codes, spent = found.more["codes"], found.more["spent"]
        last = len(codes) - 1
        stages = sorted({round(i * last / (STAGES - 1)) for i in range(STAGES)})
        reach = max(REACH, float(np.quantile(np.abs(codes[-1, ..., :2]), 0.995)) * 1.05)
        for axes, stage in zip(row, [*stages, *[None] * (STAGES - len(stages))], strict=False):
            _prior(axes, reach)
            if stage is None:
                axes.set_visible(False)
                continue
            _points(axes, codes[stage])
            axes.set_title(f"{numbers.count(float(spent[stage]))} gradients", color=FAINT)
        _prior(row[-1], reach)
        _together(row[-1], found.draws, reach, looks[method])
        row[-1].set_title("all x together", color=FAINT)
        row[0].set_ylabel(wrapped(method, 24), color=INK)
    return figure


def _prior(axes: Axes, reach: float) -> None:
    """The prior's circles, and an even plane around them."""
    for share, colour in zip(SHARES, TRUTH, strict=True):
        radius = math.sqrt(-2 * math.log(1 - share))
        axes.add_patch(Circle((0, 0), radius, facecolor=colour, edgecolor="none", zorder=0))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=(), yticks=(), aspect="equal")


def _points(axes: Axes, codes: NDArray[Any]) -> None:
    """Draws of q(z | x), [x, S, L], a colour for each x."""
    for i, z in enumerate(codes[:, :DOTS]):
        colour = PALETTE[i % len(PALETTE)]
        axes.plot(z[:, 0], z[:, 1], ".", color=colour, markersize=1.6, alpha=0.6, rasterized=True)


def _together(axes: Axes, draws: Array, reach: float, look: Look) -> None:
    shown = Window(-reach, reach)
    heights = density.surface(draws[:, 0], draws[:, 1], shown, shown)
    centres = shown.centres(density.BINS_2D)
    axes.contour(
        *(centres, centres, heights, density.levels(heights)), colors=look.colour, linewidths=1.1
    )


def single(learned: Mapping[str, Learned], looks: Mapping[str, Look]) -> Figure:
    """Rows of methods; a column for each x whose exact posterior was kept."""
    kept = {method: found for method, found in learned.items() if "log_posterior" in found.more}
    count = max(len(found.more["exact"]) for found in kept.values())
    size = min(TALLEST_PLANE, (WIDTH - SIDE) / count - 0.14)
    grid = Grid(count, size, size, [TITLE] * len(kept), left=SIDE, bottom=0.24)
    figure, rows = grid.draw()
    for row, (method, found) in zip(rows, kept.items(), strict=True):
        more = found.more
        for axes, which, height in zip(row, more["exact"], more["log_posterior"], strict=False):
            _exact(axes, more["lattice"], np.exp(height.astype(np.float64)))
            place = np.flatnonzero(more["coded"] == which)
            if len(place):
                z = more["codes"][-1, place[0]]
                colour = looks[method].colour
                axes.plot(z[:, 0], z[:, 1], ".", color=colour, markersize=1.8, rasterized=True)
            axes.set_title(f"x number {int(which)}", color=FAINT)
        row[0].set_ylabel(wrapped(method, 24), color=INK)
    return figure


def _exact(axes: Axes, lattice: NDArray[Any], heights: Array) -> None:
    """Filled contours of a density over its lattice, [G, G, 2], [G, G], around its mass."""
    across, up = lattice[0, :, 0], lattice[:, 0, 1]
    levels = density.levels(heights)
    if levels:
        top = float(heights.max()) * 1.01
        axes.contourf(across, up, heights, [*levels, top], colors=TRUTH[-len(levels) :])
    where = heights > 1e-3 * heights.max()
    ends = [
        (axis[seen.any(1 - i)]) for i, (axis, seen) in enumerate([(up, where), (across, where)])
    ]
    low = min(float(ends[1].min()), float(ends[0].min())) - 0.5
    high = max(float(ends[1].max()), float(ends[0].max())) + 0.5
    axes.set(xlim=(low, high), ylim=(low, high), xticks=(), yticks=(), aspect="equal")


def images(learned: Mapping[str, Learned], what: str) -> Figure:
    """A row of pictures for each method; above them the data, where these are reconstructed."""
    first = next(iter(learned.values())).more
    rows = {"data": first["x"]} if what == "reconstruction" else {}
    rows |= {method: found.more[what] for method, found in learned.items()}
    count = max(map(len, rows.values()))
    shape = first["x"].shape[1:]
    high, wide = shape if len(shape) == 2 else (1, math.prod(shape))
    across = min(LARGEST_IMAGE, (WIDTH - 2 * SIDE) / count - EDGE)
    tall = max(LEAST_ROW, across * high / wide)
    grid = Grid(count, across, tall, [0.0] * len(rows), 2 * SIDE, EDGE, EDGE, EDGE)
    figure, panels = grid.draw()
    for row, (name, pictured) in zip(panels, rows.items(), strict=True):
        for i, axes in enumerate(row):
            axes.set(xticks=(), yticks=())
            axes.spines[:].set(visible=i < len(pictured), color=RULE)
            if i < len(pictured):
                _image(axes, pictured[i].reshape(high, wide))
        row[0].set_ylabel(
            wrapped(name, 18), color=INK, rotation=0, horizontalalignment="right", va="center"
        )
    return figure


def _image(axes: Axes, values: NDArray[Any]) -> None:
    """Probabilities of a one as areas that follow the theme: ink on nothing."""
    ink = np.zeros((*values.shape, 4))
    ink[..., :3] = 0.45
    ink[..., 3] = np.clip(values, 0, 1)
    axes.imshow(ink, aspect="auto", interpolation="nearest")
