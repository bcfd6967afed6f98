r"""The isokinetic dynamics of microcanonical sampling, for many chains in one tensor.

With :math:`c = e \cdot u` and :math:`\zeta = e^{-\delta}`, the turn is computed as

.. math::
    u' \propto 2 \zeta u + (1 - \zeta) (1 + \zeta + c (1 - \zeta))\, e, \qquad
    \Delta K = (D - 1) (\delta + \log\tfrac12 (1 + c + (1 - c) \zeta^2))

which overflows for no gradient. ``methods/mclmc.py`` has the equations and the sources.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from methods.base import Target
from methods.parts.sampling.hmc import DIVERGENT, Frame

# of a step of the minimal norm scheme: outer and inner turn, in units of the step size
OUTER = 0.1931833275037836
INNER = 1 - 2 * OUTER
ORDER = 6  # the energy's squared error grows as this power of the step size
FORGET = 0.9  # of what is known of the step size, left after one step of all chains
TRUST = 1.5  # factors of e in step size, within which an error tells what the right one is
MANY = 0.1  # share of chains that may run away before the step size is cut
FIRST = 0.25  # step size at the start, times the root of D
SETTLED = 0.05  # autocorrelation that counts as none


@dataclass(eq=False)
class Flow:
    """All chains at their present points, with direction, step size and length.

    Args:
        target: the density, counted.
        z: [C, D]; value, gradient: of the log density there, [C] and [C, D].
        frame: the affine map to coordinates in which steps are taken.
        generator: the only source of randomness.
    """

    target: Target
    z: Tensor
    value: Tensor
    gradient: Tensor
    frame: Frame
    generator: Generator
    u: Tensor = field(init=False)  # unit vectors, [C, D]
    step: float = field(init=False)
    length: float = field(init=False)  # L

    def __post_init__(self) -> None:
        self.refit(self.frame)
        self.length = 1.0
        self.reset()

    def reset(self) -> None:
        """Begin to count: steps of all chains, those that ran away, errors, acceptances."""
        self.hops = self.lost = 0
        self.squares = self.accepted = 0.0
        self.trajectories = 0

    def refit(self, frame: Frame) -> None:
        """Go on in another frame, in fresh directions."""
        self.frame, self.u = frame, self._directions()
        self.step = FIRST * math.sqrt(self.z.shape[1])
        self._known, self._weight, self._cap = 0.0, 0.0, math.inf

    def hop(self) -> Tensor:
        """One step of every chain; the energy's error, [C], inf where the chain ran away and was
        put back, in a fresh direction.
        """
        z, u, value, gradient, error = self._ahead(self.z, self.u, self.gradient, self.value)
        bad = ~(error < DIVERGENT)
        error, keep = error.masked_fill(bad, math.inf), (~bad).unsqueeze(-1)
        self.z = torch.where(keep, z, self.z)
        self.value = torch.where(bad, self.value, value)
        self.gradient = torch.where(keep, gradient, self.gradient)
        self.u = torch.where(keep, u, self._directions()) if bool(bad.any()) else u
        self.hops += len(bad)
        self.lost += int(bad.sum())
        self.squares += float(error[~bad].square().sum())
        return error

    def mix(self) -> None:
        """Forget a little of the directions: all of it over the length L."""
        dim = self.z.shape[1]
        size = math.sqrt(math.expm1(min(2 * self.step / self.length, 50.0)) / dim)
        self.u = _unit(self.u + size * self._noise())

    def walk(self, count: int) -> None:
        """Take so many steps without a Metropolis correction."""
        for _ in range(count):
            self.hop()
            self.mix()

    def trajectory(self) -> float:
        """A trajectory of random length, L in the mean, from fresh directions, its ends accepted or
        refused; the mean acceptance probability.
        """
        count = 1 + int(torch.randint(2 * self.count - 1, (), generator=self.generator))
        z, u, value, gradient = self.z, self._directions(), self.value, self.gradient
        total = torch.zeros_like(value)
        for _ in range(count):
            z, u, value, gradient, error = self._ahead(z, u, gradient, value)
            total = total + error
        accept = total.nan_to_num(nan=math.inf).neg().exp().clamp(max=1.0)
        draws = torch.rand(len(accept), generator=self.generator, dtype=torch.float64)
        taken = draws < accept
        self.z = torch.where(taken.unsqueeze(-1), z, self.z)
        self.value = torch.where(taken, value, self.value)
        self.gradient = torch.where(taken.unsqueeze(-1), gradient, self.gradient)
        self.hops, self.trajectories = self.hops + count * len(accept), self.trajectories + 1
        self.lost += int((~(total < DIVERGENT)).sum())
        mean = float(accept.mean())
        self.accepted += mean
        return mean

    @property
    def count(self) -> int:
        """Steps that a length L takes."""
        return max(1, round(self.length / self.step))

    def adapt(self, variance: float) -> None:
        """One unadjusted step, after which the step size is nearer to where the mean square of the
        error is ``variance`` per coordinate.
        """
        error = self.hop()
        self.mix()
        fine = error.isfinite()
        ratio = error[fine].square() / (variance * self.z.shape[1]) + 1e-8
        trust = (-0.5 * (ratio.log() / (ORDER * TRUST)).square()).exp()
        self._known = FORGET * self._known + float((trust * ratio).sum()) / self.step**ORDER
        self._weight = FORGET * self._weight + float(trust.sum())
        crowded = float(fine.double().mean()) < 1 - MANY
        self._cap = 0.8 * self.step if crowded else 1.02 * self._cap
        if self._known > 0 and self._weight > 0:
            self.step = (self._weight / self._known) ** (1 / ORDER)
        self.step = min(self.step, self._cap, 10 * math.sqrt(self.z.shape[1]))

    def _ahead(
        self, z: Tensor, u: Tensor, gradient: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """A step of the minimal norm scheme: z, u, log density, gradient, error of the energy."""
        u, kinetic = _turn(u, self.frame.pull(gradient), OUTER * self.step)
        z = z + 0.5 * self.step * self.frame.move(u)
        _, between = self._look(z)
        u, more = _turn(u, self.frame.pull(between), INNER * self.step)
        z = z + 0.5 * self.step * self.frame.move(u)
        end, gradient = self._look(z)
        u, last = _turn(u, self.frame.pull(gradient), OUTER * self.step)
        return z, u, end, gradient, kinetic + more + last - (end - value)

    def _look(self, z: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = self.target.value_and_grad(z)
        bad = ~(value.isfinite() & gradient.isfinite().all(-1))
        return value.masked_fill(bad, -math.inf), gradient.masked_fill(bad.unsqueeze(-1), 0.0)

    def _noise(self) -> Tensor:
        return torch.randn(self.z.shape, generator=self.generator, dtype=torch.float64)

    def _directions(self) -> Tensor:
        return _unit(self._noise())


def forgetting(path: Tensor) -> float:
    """Steps in which a chain forgets, the mean over the coordinates: [steps, chains, D]."""
    centred = path - path.mean((0, 1))
    variance = centred.square().mean((0, 1)).clamp(min=1e-300)
    times = torch.ones_like(variance)
    going = torch.ones_like(variance, dtype=torch.bool)
    for lag in range(1, len(path) // 2):
        correlation = (centred[lag:] * centred[:-lag]).mean((0, 1)) / variance
        going &= correlation > SETTLED
        if not bool(going.any()):
            break
        times += 2 * correlation.where(going, 0.0)
    return float(times.mean())


def _unit(x: Tensor) -> Tensor:
    unit: Tensor = x / x.norm(dim=-1, keepdim=True)
    return unit


def _turn(u: Tensor, gradient: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Directions [C, D] after a turn by the gradient, and the kinetic energy gained, [C]."""
    size = gradient.norm(dim=-1, keepdim=True)
    e = gradient / size.clamp(min=1e-300)
    delta, c = step * size / (u.shape[-1] - 1), (e * u).sum(-1, keepdim=True)
    zeta = (-delta).exp()
    turned = 2 * zeta * u + (1 - zeta) * (1 + zeta + c * (1 - zeta)) * e
    gained = delta + (0.5 * (1 + c + (1 - c) * zeta.square())).log()
    return _unit(turned), (u.shape[-1] - 1) * gained.squeeze(-1)
