r"""The oldest approximation there is: the Gaussian that a posterior looks like from the top of its
mode.

.. math::
    q = N(\hat z, H^{-1}), \quad \hat z = \arg\max_z \log p(z), \quad H = -\nabla^2 \log p(\hat z)

L-BFGS climbs from several starts, Newton's steps end each climb, and H comes by central differences
of gradients, in units of the mode's own width. Of several modes that one counts which holds the
most mass by Laplace's own estimate,

.. math:: \log Z \approx \log p(\hat z) + \tfrac D2 \log 2\pi - \tfrac12 \log\det H.

A climb that comes to rest on a saddle leaves it along the direction in which the density bends
upwards most. Where the density is flat along a direction, or has no maximum, no such Gaussian
exists: such a start is dropped, and where that happens to all of them the method says so.

Source: L. Tierney, J. B. Kadane, Accurate approximations for posterior moments and marginal
densities, 1986, doi:10.1080/01621459.1986.10478240; P. S. Laplace, Mémoire sur la probabilité des
causes par les évènements, 1774.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from methods.base import Budget, Method, Target
from methods.parts.finite import point
from methods.parts.gaussians.elbo import Frame
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.gaussians.laplace import bend, curved, triangular
from methods.parts.optimisation.begin import beginnings
from methods.parts.optimisation.lbfgs import minimise
from methods.parts.validate import require

SLOW = 1e-3  # nats in five steps, at which L-BFGS hands over to Newton
NEWTONS = 30  # steps of Newton's, at most
ARRIVED = 1e-9  # nats that a parabola has left to gain
FLAT = 1e-4  # least curvature in a frame where a usual one is 1; differences err by some 1e-6
ESCAPES = 5  # saddles left on one climb
LINEAR = 0.1  # of a step's gain: Newton's next one gains less, unless the mode is flat
ROUNDING = 1e-14  # nats
REMEDY = (
    "The density may have no maximum in these coordinates: try others (a hierarchy not centred), or"
    " a method that needs no mode (gaussian-vb)."
)
HALVINGS = 30  # of a step that leads down


class Mode(NamedTuple):
    """A maximum: the Gaussian there, and the log of the mass that Laplace's rule gives it."""

    frame: Frame
    log_mass: float


@dataclass(frozen=True)
class Laplace(Method):
    """The Gaussian with the mode's place and curvature.

    Args:
        starts: how many points to climb from, uniform on (-2, 2) in each coordinate; the mode of
            the greatest mass counts.
        iterations: of L-BFGS on one climb, after which the density counts as without a maximum.

    Raises:
        ValueError: if a field lies outside its range.
        FloatingPointError: from ``run``, if no start leads to a mode with a positive definite
            curvature.
    """

    starts: int = 8
    iterations: int = 1000
    name: ClassVar[str] = "laplace"
    source: ClassVar[str] = "Tierney & Kadane, 1986, doi:10.1080/01621459.1986.10478240"

    def __post_init__(self) -> None:
        require(self, "starts", self.starts >= 1, "be at least 1")
        require(self, "iterations", self.iterations >= 1, "be at least 1")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Gaussian]:
        """Yield the mode of the greatest mass so far after each start."""
        best: Mode | None = None
        fault, failed = "", 0
        for loc in beginnings(target, self.starts, generator, "Laplace"):
            found = self._mode(target, loc)
            if isinstance(found, str):
                fault, failed = found, failed + 1
                continue
            best = max(best or found, found, key=lambda mode: mode.log_mass)
            figures = {"log_z": best.log_mass, "failed_starts": float(failed)}
            yield Gaussian(best.frame.loc, best.frame.factor, figures)
        if best is None:
            raise FloatingPointError(f"Laplace found no mode from {self.starts} starts: {fault}")

    def _mode(self, target: Target, loc: Tensor) -> Mode | str:
        """The mode above a point, or why there is none."""
        for _ in range(ESCAPES + 1):
            loc, ended = _climb(target, loc, self.iterations)
            if not ended:
                return (
                    f"after {self.iterations} steps the log density still rises, at z ="
                    f" {point(loc)}. {REMEDY}"
                )
            found = _newton(target, curved(target, loc, full=True))
            if not isinstance(found, Tensor):
                return found
            loc = found
        return (
            f"it met {ESCAPES + 1} saddles on one climb, the last near z = {point(loc)}. {REMEDY}"
        )


def _climb(target: Target, loc: Tensor, iterations: int) -> tuple[Tensor, bool]:
    """Where L-BFGS comes to from a point [D], and whether it came to rest."""

    def loss(z: Tensor) -> tuple[float, Tensor]:
        value, gradient = target.value_and_grad(z)
        return -float(value), -gradient

    taken = 0
    for _, z in itertools.islice(minimise(loss, loc, tolerance=SLOW), iterations):
        loc, taken = z, taken + 1
    return loc, taken < iterations


def _newton(target: Target, frame: Frame) -> Mode | Tensor | str:
    """The mode that Newton's steps lead to; a point beside the saddle that they start from; or why
    there is neither.
    """
    last = math.inf
    for _ in range(NEWTONS):
        values, vectors = torch.linalg.eigh(bend(target, frame))
        if values[0] < -FLAT:
            return _beside(target, frame, vectors[:, 0])
        if values[0] < FLAT:
            return (
                f"at z = {point(frame.loc)} the log density is flat along a direction: no Gaussian"
                f" has that curvature. {REMEDY}"
            )
        value, step, gain = _parabola(target, frame, values, vectors)
        frame = Frame(frame.loc, triangular(frame.factor @ (vectors * values.rsqrt())))
        if gain < ARRIVED and gain > max(LINEAR * last, ROUNDING):
            break
        if gain < ARRIVED:
            log_det = float(frame.diagonal.log().sum())
            return Mode(frame, value + log_det + 0.5 * target.dim * math.log(2 * math.pi))
        frame, last = Frame(_uphill(target, frame.loc, step, value), frame.factor), gain
    return (
        f"Newton's steps do not come to rest near z = {point(frame.loc)}: the log density may be"
        f" flat there, or have a kink. {REMEDY}"
    )


def _parabola(
    target: Target, frame: Frame, values: Tensor, vectors: Tensor
) -> tuple[float, Tensor, float]:
    """Log density at a frame's centre, the step [D] to the top of the parabola there, and what it
    gains, in nats; the curvature given by its eigenvalues and eigenvectors.
    """
    value, slope = target.value_and_grad(frame.loc)
    slope = vectors.T @ frame.pull(slope)
    step = slope / values
    return float(value), frame.move(vectors @ step), 0.5 * float(slope @ step)


def _uphill(target: Target, loc: Tensor, step: Tensor, value: float) -> Tensor:
    """The point [D] a step away, or as much of the step as does not lead down."""
    for _ in range(HALVINGS):
        if float(target.value_and_grad(loc + step)[0]) >= value:
            return loc + step
        step = step / 2
    return loc


def _beside(target: Target, frame: Frame, direction: Tensor) -> Tensor:
    """The higher of the two points one width away from a saddle along a direction, [D]."""
    step = frame.move(direction)
    points = torch.stack([frame.loc + step, frame.loc - step])
    values = target.value_and_grad(points)[0].nan_to_num(nan=-math.inf)
    return points[int(values.argmax())]
