"""A Gaussian on its way to an optimum of the ELBO: made narrow enough to begin, climbed by L-BFGS,
and judged on draws to which it was not fitted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from torch import Generator

from methods.base import Target
from methods.parts.gaussians.elbo import Frame, Local, Loss, gap, normals, together
from methods.parts.optimisation.lbfgs import minimise

STEPS = 20  # of L-BFGS in one frame
HALVINGS = 30  # of the width, to bring every draw to where the density is finite


class Candidate(NamedTuple):
    """A Gaussian, its loss in nats, and the loss around it where that was worked out."""

    value: float
    frame: Frame
    local: Local | None = None


class Judged(NamedTuple):
    """A Gaussian on draws that it was not fitted to, nats: its loss, what the nearest optimum is
    better by, and the same with the noise of the draws, which is mostly more.
    """

    value: float
    frame: Frame
    gap: float
    bound: float


def narrowed(loss: Loss, frame: Frame) -> Candidate:
    """A Gaussian, drawn together around its mean until the density is finite at every draw."""
    local = loss.here(frame)
    for _ in range(HALVINGS):
        if math.isfinite(local.value):
            break
        frame = frame.halved()
        local = loss.here(frame)
    return Candidate(local.value, frame, local)


def improved(loss: Loss, start: Candidate, tolerance: float) -> Iterator[Candidate]:
    """L-BFGS in the frame of the start, then in that of where it came to, until there is nothing to
    be gained in a frame of its own.
    """
    here, before = start, math.inf
    while before - here.value >= tolerance:
        before, frame = here.value, here.frame
        local = here.local or loss.here(frame)
        steps = minimise(
            partial(loss, frame),
            loss.origin(frame),
            tolerance=tolerance,
            inverse=local.inverse,
            known=(local.value, local.gradient),
        )
        for value, x in itertools.islice(steps, STEPS):
            here = Candidate(value, frame.at(x))
            yield here


def judged(target: Target, frame: Frame, draws: int, generator: Generator) -> Judged:
    """A Gaussian on twice so many fresh draws."""
    device = frame.loc.device
    eps = (normals(draws, target.dim, generator).to(device) for _ in range(2))
    one, other = (Loss(target, each).here(frame) for each in eps)
    both = together(one, other)
    return Judged(both.value, frame, gap(one, other), gap(both, both))
