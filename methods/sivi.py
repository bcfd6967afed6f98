r"""Semi-implicit variational inference: a mixture of infinitely many Gaussians, by a bound on its
ELBO that tightens with the number of noises.

.. math::
    \max_\phi\ E_{\psi_0, \dots, \psi_J} E_{z \sim q(z | \psi_0)}
    \log \frac{p(z)}{\frac{1}{J + 1} \sum_{j=0}^J q_\phi(z | \psi_j)}

The noise psi goes through a network, which makes the mean of a Gaussian of z. The average of the
denominator holds the noise behind z itself, so it is too large on average, and the objective is
below the ELBO: what is gained is gained. It rises to the ELBO as J grows.

Source: M. Yin, M. Zhou, Semi-implicit variational inference, ICML 2018, arXiv:1805.11183. The
standard deviations are learnt here; in the paper's experiments in two dimensions they are fixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.parts.networks.semi_implicit import Batch, Fit, SemiImplicitVI
from methods.parts.record import Recorded
from methods.parts.validate import require


@dataclass(frozen=True)
class SIVI(SemiImplicitVI):
    """A mixture over noise, by the bound that a sum over other noises gives.

    Args:
        components: J, noises beside that behind a draw; one network evaluation each per step.
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

    lr: float = 5e-3
    components: int = 200
    name: ClassVar[str] = "sivi"
    source: ClassVar[str] = "Yin, Zhou, 2018, arXiv:1805.11183"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "components", self.components >= 1, "be at least 1")

    @property
    def others(self) -> int:
        return self.components

    def directions(self, fit: Fit, batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        _, slope = fit.target.value_and_grad(batch.z, progress)
        gradient = fit.kept.setdefault("bound", Recorded(_gradient))
        found = gradient(batch.loc, batch.log_scale, batch.eta, slope)
        return found[:-1], found[-1]


def _gradient(loc: Tensor, log_scale: Tensor, eta: Tensor, slope: Tensor) -> Tensor:
    """Of the mean of log q_J(z) - log p(z) by the means, [n + J, D], and by log s: [n + J + 1,
    D].
    """
    with torch.enable_grad():
        loc, log_scale = loc.detach().requires_grad_(), log_scale.detach().requires_grad_()
        z = loc[: len(eta)] + log_scale.exp() * eta
        loss = (log_mixture(z, loc, log_scale) - (slope * z).sum(-1)).mean()
        by_loc, by_log_scale = torch.autograd.grad(loss, (loc, log_scale))
    return torch.cat([by_loc, by_log_scale.unsqueeze(0)])


def log_mixture(z: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """Log of the average of q(z_i | psi_i) and of q(z_i | psi_j) for the J rows of ``loc`` beyond
    those behind draws, nats: [n, D], [n + J, D], [D] -> [n].
    """
    n, dim = z.shape
    inverse = (-log_scale).exp()
    own = -0.5 * ((z - loc[:n]) * inverse).square().sum(-1)
    white, others = z * inverse, loc[n:] * inverse
    square = torch.addmm(
        white.square().sum(-1, keepdim=True) + others.square().sum(-1), white, others.T, alpha=-2
    )
    terms = torch.column_stack([own, -0.5 * square])
    constant = log_scale.sum() + 0.5 * dim * math.log(2 * math.pi)
    return terms.logsumexp(-1) - math.log(terms.shape[1]) - constant
