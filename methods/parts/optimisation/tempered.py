r"""A target that is approached from a wide Gaussian, so that modes far apart are found before any
is left.

.. math:: \log p_t = h \log p + (1 - h)^3 \log N(0, s^2 I), \qquad h = \min(1, t / \mathrm{share})

The pull to the start vanishes faster than log p gains its weight: one that lasted would hold back
wide posteriors to the very end.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from methods.base import Target
from methods.parts.adversarial.contrast import log_normal
from methods.parts.finite import sound, whereabouts


@dataclass(frozen=True)
class Tempered:
    """The target on the way to its full weight.

    Args:
        target: log p.
        share: of the run in which it gains its weight; 0 for none.
        scale: s.
        name, remedy: what to say where the density is not finite.
    """

    target: Target
    share: float
    scale: float
    name: str
    remedy: str

    def value_and_grad(self, z: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """At a share of the run: [n, D] -> [n], [n, D].

        Raises:
            FloatingPointError: if the density is not finite at one of the points.
        """
        value, slope = self.target.value_and_grad(z)
        if not bool(sound(value, slope).all()):
            raise FloatingPointError(self._fault(z, value, slope))
        heat = min(1.0, progress / self.share) if self.share else 1.0
        if heat == 1.0:
            return value, slope
        cold = (1 - heat) ** 3
        start = cold * log_normal(z / self.scale)
        return heat * value + start, heat * slope - cold * z / self.scale**2

    def _fault(self, z: Tensor, value: Tensor, slope: Tensor) -> str:
        if not bool(z.isfinite().all()):
            return f"{self.name} diverged: its draws are not finite; {self.remedy}."
        where = whereabouts(self.target, z, value, slope)
        return f"{self.name} came to where the density is not finite {where}; {self.remedy}."
