"""How a mixture of Gaussians is fitted to a density: what its components begin at, and the climb
from there.

The reverse KL finds no mode that no component begins at. So the way up is climbed from many points,
and the Gaussians found on it, those that differ, are the first components; what is left of K begins
beside them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator as Steps
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.gaussians.elbo import Frame, Loss
from methods.parts.gaussians.gaussian_mixture import GaussianMixture
from methods.parts.gaussians.laplace import starts
from methods.parts.gaussians.mixture_elbo import Chart, MixtureLoss
from methods.parts.optimisation.lbfgs import minimise

STEPS = 50  # of L-BFGS in one chart
APART = 1.0  # widths between the means of two components that begin apart
LEAST = 0.1  # share of an equal weight that a component has at least, at the start
NARROWED = 0.7  # width of a component that begins beside another, as a share of that one's
WIDTHS = (1.0, 0.3, 0.1, 0.01)  # of a start, until the density is finite at every draw


class Found(NamedTuple):
    """A Gaussian on the way up, and its loss in nats."""

    value: float
    frame: Frame


def apart(target: Target, loss: Loss, points: Iterable[Tensor], most: int) -> list[Found]:
    """The best Gaussians on the way up from each of the points [D], those that differ, best first.

    Args:
        target: the density; loss: of a Gaussian, by which they are judged.
        points: where to climb from.
        most: how many are kept at most.
    """
    found: list[Found] = []
    for loc in points:
        offered = [_narrowed(loss, frame) for frame in starts(target, loc, full=True)]
        found += sorted(offered, key=_value)[:1]
    kept: list[Found] = []
    for one in sorted((f for f in found if math.isfinite(f.value)), key=_value):
        if len(kept) < most and all(_away(other.frame, one.frame) > APART for other in kept):
            kept.append(one)
    return kept


def begun(found: list[Found], components: int, generator: Generator) -> GaussianMixture:
    """A mixture whose first components are the Gaussians found, by their ELBOs; the rest of K
    begins beside them.
    """
    frames = [frame for _, frame in found]
    elbos = -torch.tensor([value for value, _ in found], dtype=torch.float64)
    weights = elbos.softmax(0).clamp(min=LEAST / len(frames))
    owners = torch.arange(components) % len(frames)
    dim = len(frames[0].loc)
    noise = torch.randn(components, dim, generator=generator, dtype=torch.float64)
    locs, factors = [], []
    for k, j in enumerate(owners.tolist()):
        beside = k >= len(frames)
        step = frames[j].move(noise[k]) if beside else 0.0
        locs.append(frames[j].loc + step)
        factors.append(frames[j].factor * (NARROWED if beside else 1.0))
    shares = weights[owners] / owners.bincount()[owners]
    return GaussianMixture(shares / shares.sum(), torch.stack(locs), torch.stack(factors))


def climb(
    loss: MixtureLoss, q: GaussianMixture, iterations: int, tolerance: float
) -> Steps[GaussianMixture, None, tuple[GaussianMixture, float]]:
    """L-BFGS in the chart of the mixture, then in that of where it came to, while it gains: yield
    every step, return where it ended and the loss there.

    Args:
        loss: on the draws of this round; q: where to begin.
        iterations: steps at most.
        tolerance: nats that the last chart gains at most.
    """
    value, left = math.inf, iterations
    while left > 0:
        chart, before = Chart(q), value
        steps = minimise(partial(loss, chart), chart.origin, tolerance=0.1 * tolerance)
        for here, x in itertools.islice(steps, min(STEPS, left)):
            q, value, left = chart.mixture(x), here, left - 1
            yield q
        if math.isinf(value):  # not one step was to be had
            return q, loss.here(q)
        if before - value < tolerance:
            break
    return q, value


def _narrowed(loss: Loss, frame: Frame) -> Found:
    """A loss and its Gaussian, drawn together until the density is finite at every draw."""
    tried = (Frame(frame.loc, frame.factor * width) for width in WIDTHS)
    values = (Found(loss.here(one)[0], one) for one in tried)
    return next((one for one in values if math.isfinite(one.value)), Found(math.inf, frame))


def _away(one: Frame, other: Frame) -> float:
    """How far another's mean is from one's, in widths of the one."""
    difference = (other.loc - one.loc).unsqueeze(-1)
    white: Tensor = torch.linalg.solve_triangular(one.factor, difference, upper=False)
    return float(white.norm())


def _value(found: Found) -> float:
    return found.value
