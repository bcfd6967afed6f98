r"""The evidence lower bound of a mixture of Gaussians on fixed draws, stratified: every component
draws for itself.

.. math::
    \mathrm{ELBO} = \sum_k w_k\, \frac1n \sum_i \big[\log p(z_{ki}) - \log q(z_{ki})\big],
    \qquad z_{ki} = m_k + L_k \epsilon_i

Its parameters are counted from a mixture that is near, in units in which each component is round
and its curvature near one: :math:`m_k = m_k^0 + B_k u_k / \sqrt{w_k^0}`, :math:`L_k = B_k
\Lambda_k`.

Source: W. R. Morningstar, S. M. Vikram, C. Ham, A. Gallagher, J. V. Dillon, Automatic
differentiation variational inference with mixtures, 2021, arXiv:2003.01687.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.base import Target
from methods.parts.gaussians.gaussian_mixture import GaussianMixture, component_log_probs

LIGHT = 1e-3  # weight below which the units of a component grow no further
NEGLIGIBLE = 1e-5  # weight of a component that is left out: it has nothing left to hold it in place


@dataclass(frozen=True, eq=False)
class Chart:
    """Coordinates around a mixture: at 0 it is that mixture.

    Args:
        base: the mixture.
    """

    base: GaussianMixture

    @property
    def origin(self) -> Tensor:
        """The parameters of the mixture itself: zeros, [K (1 + 2 D + D (D - 1) / 2)]."""
        count, dim = self.base.locs.shape
        return torch.zeros(count * (1 + 2 * dim + dim * (dim - 1) // 2), dtype=torch.float64)

    def at(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights [K], means [K, D] and factors [K, D, D] at parameters, differentiable."""
        count, dim = self.base.locs.shape
        rows = x.reshape(count, -1)
        gain = self.base.weights.clamp(min=LIGHT).rsqrt()[:, None]
        logits, u, log_diagonal, below = (rows * gain).tensor_split([1, 1 + dim, 1 + 2 * dim], 1)
        lower = torch.diag_embed(log_diagonal.exp())
        i, j = torch.tril_indices(dim, dim, -1)
        lower = lower.index_put((torch.arange(count)[:, None], i, j), below)
        factors = self.base.scale_trils @ lower
        locs = self.base.locs + (self.base.scale_trils @ u.unsqueeze(-1)).squeeze(-1)
        log_weights = (self.base.weights.log() + logits.squeeze(1)).log_softmax(0)
        return log_weights, locs, factors

    def mixture(self, x: Tensor) -> GaussianMixture:
        """The mixture at parameters, detached, without components of negligible weight."""
        log_weights, locs, factors = self.at(x.detach())
        kept = log_weights > math.log(NEGLIGIBLE)
        return GaussianMixture(log_weights[kept].softmax(0), locs[kept], factors[kept])


@dataclass(frozen=True, eq=False)
class MixtureLoss:
    """Minus the ELBO of a mixture on fixed noise.

    Args:
        target: the density.
        eps: standard normal draws, [n, D], the same for every component.
    """

    target: Target
    eps: Tensor

    def __call__(self, chart: Chart, x: Tensor) -> tuple[float, Tensor]:
        """The loss at parameters, inf where the density is not finite at every draw, and its
        gradient: nats, [P].
        """
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            log_weights, locs, factors = chart.at(x)
            weights = log_weights.exp()
            z = locs.unsqueeze(1) + self.eps @ factors.mT  # [K, n, D]
            log_p, slope = self.target.value_and_grad(z.flatten(0, 1))
            log_q = (component_log_probs(z.flatten(0, 1), locs, factors) + log_weights).logsumexp(1)
            excess = (log_q - log_p).reshape(z.shape[:2]).mean(1)
            pull = (slope.reshape(z.shape) * z).sum(-1).mean(1)
            surrogate = weights @ excess - weights.detach() @ pull
            (gradient,) = torch.autograd.grad(surrogate, x)
        value = float((weights @ excess).detach())
        sound = math.isfinite(value) and bool(gradient.isfinite().all())
        return value if sound else math.inf, gradient

    def here(self, mixture: GaussianMixture) -> float:
        """The loss of a mixture, nats."""
        chart = Chart(mixture)
        return self(chart, chart.origin)[0]
