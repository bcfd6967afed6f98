r"""Unbiased implicit variational inference: a mixture over noise that climbs the ELBO itself, its
entropy's slope an average over the noise that may lie behind a draw.

.. math::
    \nabla_\phi\, \mathrm{ELBO} = E_{\psi, \eta}\!\left[\big(\nabla_z \log p(z)
    - E_{q(\psi' | z)} \nabla_z \log q_\phi(z | \psi')\big)\, \nabla_\phi z\right], \qquad
    z = m_\phi(\psi) + s_\phi \eta

Since :math:`\nabla_z \log q(z)` is the mean of :math:`\nabla_z \log q(z | \psi')` over the
posterior of the noise, draws of that posterior give it without bias. They come from Hamiltonian
Monte Carlo, which starts at psi itself: an exact draw already, so that a few steps, which make psi'
forget it, are enough. That chain sees the network alone and costs no gradient of the target.

Source: M. K. Titsias, F. J. R. Ruiz, Unbiased implicit variational inference, AISTATS 2019,
arXiv:1808.02078.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.parts.networks.semi_implicit import Batch, Conditional, Fit, SemiImplicitVI
from methods.parts.record import Recorded
from methods.parts.validate import require

ACCEPTED = 0.9  # share of the proposals that the step size is led to
LEAD = 0.02  # by how much a step moves the logarithm of the step size
FIRST = 0.1  # step size to begin with


@dataclass(frozen=True)
class UIVI(SemiImplicitVI):
    """A mixture over noise, by draws of the noise behind each draw.

    Args:
        burn_in: transitions of the chain before its noises count; samples: those that do.
        leapfrogs: steps of a transition; each takes a slope of the network.
        iterations: length of the run; cut to what ``budget.gradients`` allows.
        batch: draws, and so gradient evaluations, per step.
        noise_dim: length of psi; None for that of z, and at least 10.
        hidden: widths of the network's layers.
        lr: Adam's step size; final_lr: share of it left at the end of its cosine decay.
        clip: largest norm of a gradient in the weights.
        scale: standard deviation of the approximation at the start.
        anneal: share of the run in which log p gains its full weight, starting from N(0, scale^2
            I); 0 for none.
        average: memory of the averaged weights that are yielded, per iteration; 0 for the newest.
        every: iterations between two approximations.

    Raises:
        ValueError: if a field lies outside its range.
        FloatingPointError: from ``run``, if the training diverges.
    """

    iterations: int = 3000
    burn_in: int = 5
    samples: int = 5
    leapfrogs: int = 5
    name: ClassVar[str] = "uivi"
    source: ClassVar[str] = "Titsias, Ruiz, 2019, arXiv:1808.02078"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "burn_in", self.burn_in >= 0, "not be negative")
        for field in ("samples", "leapfrogs"):
            require(self, field, getattr(self, field) >= 1, "be at least 1")

    def directions(self, fit: Fit, batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        _, slope = fit.target.value_and_grad(batch.z, progress)
        walk = fit.kept.setdefault("walk", NoiseWalk(fit.conditional, self.leapfrogs))
        entropy = torch.zeros_like(batch.z)
        weights, psi = fit.weights.detach(), batch.psi
        for i in range(self.burn_in + self.samples):
            momentum, chance = fit.normal(*psi.shape), fit.uniform(len(psi))
            psi, at = walk.move(weights, psi, batch.z, momentum, chance)
            if i >= self.burn_in:
                entropy += at / self.samples
        away = (entropy - slope) / len(slope)
        return away, (away * batch.eta).sum(0) * batch.log_scale.exp()


class NoiseWalk:
    """Hamiltonian Monte Carlo on the noise behind given draws, all of them at once; the step size
    follows the share that is accepted.

    Args:
        conditional: q(z | psi); leapfrogs: steps of a transition.
    """

    def __init__(self, conditional: Conditional, leapfrogs: int) -> None:
        self.conditional, self.leapfrogs, self.step = conditional, leapfrogs, FIRST
        self._slopes = Recorded(self._slopes_of)

    def move(
        self, weights: Tensor, psi: Tensor, z: Tensor, momentum: Tensor, chance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A transition of each chain at psi, [n, K], and the slope of log q(z | psi') by z where
        they come to, [n, D].
        """
        value, slope, at = self._at(weights, psi, z)
        new_psi, half = psi, momentum
        new_value, new_slope, new_at = value, slope, at
        for _ in range(self.leapfrogs):
            half = half + 0.5 * self.step * new_slope
            new_psi = new_psi + self.step * half
            new_value, new_slope, new_at = self._at(weights, new_psi, z)
            half = half + 0.5 * self.step * new_slope
        energy = new_value - value - 0.5 * (half.square() - momentum.square()).sum(-1)
        taken = (chance.log() < energy).unsqueeze(-1)
        accepted = float(energy.clamp(max=0.0).exp().nan_to_num(nan=0.0).mean())
        self.step *= math.exp(LEAD * math.copysign(1.0, accepted - ACCEPTED))
        return torch.where(taken, new_psi, psi), torch.where(taken, new_at, at)

    def _at(self, weights: Tensor, psi: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log q(z | psi) N(psi) up to a constant, its slope by psi, and by z."""
        found = self._slopes(weights, psi, z)
        mixing = psi.shape[1]
        return found[:, 0], found[:, 1 : 1 + mixing], found[:, 1 + mixing :]

    def _slopes_of(self, weights: Tensor, psi: Tensor, z: Tensor) -> Tensor:
        with torch.enable_grad():
            at = psi.float().detach().requires_grad_()
            loc, log_scale = self.conditional(weights, at)
            white = (z - loc.double()) * (-log_scale.double()).exp()
            (by_psi,) = torch.autograd.grad(-0.5 * white.square().sum(), at)
        value = -0.5 * (white.square().sum(-1) + psi.square().sum(-1))
        by_z = -white * (-log_scale.double()).exp()
        return torch.column_stack([value, by_psi.double() - psi, by_z]).detach()
