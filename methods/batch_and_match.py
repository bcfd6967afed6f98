r"""A full Gaussian without a step size to tune or a gradient to descend: each update matches the
scores of a batch in closed form.

.. math::
    q_{t+1} = \arg\min_q\ \hat D(q; p) + \tfrac{2}{\lambda_t} \mathrm{KL}(q_t \| q), \quad
    \hat D = \frac1B \sum_b \|\nabla \log q(z_b) - \nabla \log p(z_b)\|^2_{\Sigma_q}, \quad z_b
    \sim q_t

With :math:`\bar z, C` the mean and covariance of the batch and :math:`\bar g, \Gamma` those of its
scores, the new covariance solves :math:`\Sigma U \Sigma + \Sigma = V`, where

.. math::
    U = \lambda \Gamma + \tfrac{\lambda}{1 + \lambda} \bar g \bar g^\top, \qquad
    V = \Sigma_t + \lambda C + \tfrac{\lambda}{1 + \lambda} (m_t - \bar z)(m_t - \bar z)^\top,

so that :math:`\Sigma = 2 L (I + (I + 4 L^\top U L)^{1/2})^{-1} L^\top` with :math:`V = L L^\top`,
and :math:`m_{t+1} = (m_t + \lambda (\Sigma \bar g + \bar z)) / (1 + \lambda)`. Gaussian score
matching (Modi and others, 2023, arXiv:2307.07849) is its limit of ``batch=1`` and no end of
``rate``.

Source: D. Cai, C. Modi, L. Pillaud-Vivien, C. C. Margossian, R. M. Gower, D. M. Blei, L. K. Saul,
Batch and match: black-box variational inference with a score-based divergence, 2024,
arXiv:2402.14758.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from methods.base import Budget, Method, Target
from methods.parts.finite import sound, whereabouts
from methods.parts.gaussians.gaussian import Gaussian
from methods.parts.optimisation.begin import beginnings, planned
from methods.parts.validate import require

LOST = 10.0  # nats below where it began, at which it has gone astray
LOOK = 50  # updates between two looks


@dataclass(frozen=True)
class BatchAndMatch(Method):
    """A full Gaussian whose scores match those of the target, batch by batch.

    Args:
        batch: B, draws, and so gradient evaluations, per update; None for 32, or 2 D where that is
            more: of fewer than D the covariance of a long thin posterior is not learned.
        iterations: updates; fewer where ``budget.gradients`` allows no more.
        rate: lambda of the first update; None for the paper's B D.
        decay: whether lambda falls as one over the number of the update, as in the paper on
            posteriors that are not Gaussian; False keeps it, which is best on those that are.
        scale: standard deviation of the first Gaussian in each coordinate; its mean is uniform on
            (-2, 2).

    Raises:
        ValueError: if a field lies outside its range.
        FloatingPointError: from ``run``, if an update is not finite, or leads far below where it
            began.
    """

    batch: int | None = None
    iterations: int = 2000
    rate: float | None = None
    decay: bool = True
    scale: float = 1.0
    name: ClassVar[str] = "batch-and-match"
    source: ClassVar[str] = "Cai et al., 2024, arXiv:2402.14758"

    def __post_init__(self) -> None:
        require(self, "batch", self.batch is None or self.batch >= 1, "be at least 1, or None")
        require(self, "iterations", self.iterations >= 1, "be at least 1")
        rate = self.rate is None or 0 < self.rate < math.inf
        require(self, "rate", rate, "be positive and finite, or None")
        require(self, "scale", 0 < self.scale < math.inf, "be positive and finite")

    def run(self, target: Target, budget: Budget, generator: Generator) -> Iterator[Gaussian]:
        """Yield the Gaussian after every update."""
        batch = self.batch or max(32, 2 * target.dim)
        allowed = planned(budget, self.iterations, batch)
        rate = self.rate or float(batch * target.dim)
        q = Gaussian(
            beginnings(target, 1, generator, "BatchAndMatch")[0],
            self.scale * torch.eye(target.dim, dtype=torch.float64),
        )
        begun = -math.inf
        for i in range(allowed):
            z = q.sample(batch, generator)
            value, scores = target.value_and_grad(z)
            kept = sound(value, scores)
            if not kept.any():
                raise FloatingPointError(
                    f"BatchAndMatch stopped after {i} updates: the density is not finite"
                    f" {whereabouts(target, z, value, scores)}. Try a smaller scale."
                )
            level = float((value[kept] - q.log_prob(z[kept])).median())
            begun = level if i == 0 else begun
            if level < begun - LOST and (i % LOOK == LOOK - 1 or i + 1 == allowed):
                raise FloatingPointError(
                    f"BatchAndMatch diverged by update {i + 1} of {allowed}: the median of log p -"
                    f" log q is {level:.4g} nats, and was {begun:.4g} where it began. Try a smaller"
                    " rate or scale, or a larger batch."
                )
            moved = matched(q, z[kept], scores[kept], rate / (i + 1 if self.decay else 1))
            if moved is None:
                raise FloatingPointError(
                    f"BatchAndMatch diverged in update {i + 1} of {allowed}: no finite Gaussian"
                    " matches the scores. Try a smaller rate or scale, or a larger batch."
                )
            q = moved
            yield q


def matched(q: Gaussian, z: Tensor, scores: Tensor, rate: float) -> Gaussian | None:
    """The update from a Gaussian with draws [B, D] and the scores of p there; None where rounding
    leaves no Gaussian.
    """
    mean, score = z.mean(0), scores.mean(0)
    away, turned = z - mean, scores - score
    share = rate / (1 + rate)
    u = rate * turned.T @ turned / len(z) + share * score.outer(score)
    lag = q.loc - mean
    v = q.scale_tril @ q.scale_tril.T + rate * away.T @ away / len(z) + share * lag.outer(lag)
    root, info = torch.linalg.cholesky_ex(v)
    if int(info) or not bool(root.isfinite().all() and u.isfinite().all()):
        return None
    values, vectors = torch.linalg.eigh(root.T @ u @ root)
    shrink = 2 / (1 + (1 + 4 * values.clamp(min=0)).sqrt())
    half = root @ (vectors * shrink.sqrt())
    factor, info = torch.linalg.cholesky_ex(half @ half.T)
    loc = (q.loc + rate * (half @ (half.T @ score) + mean)) / (1 + rate)
    if int(info) or not bool(factor.isfinite().all() and loc.isfinite().all()):
        return None
    return Gaussian(loc, factor)
