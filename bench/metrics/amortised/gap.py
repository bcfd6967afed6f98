"""What an encoder loses because it must serve every x: the best q of its family for each x would
reach more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from bench.metrics.amortised.base import Pair, PairMetric, mean_over
from bench.metrics.base import Estimate, Skipped, Worse
from methods.amortised.base import GaussianEncoder
from problems.generative.parts.latent_grid import log_prior

# fixed draws by which each q is fitted: half of them the others' mirror images, their covariance I
NOISE = 256
RATE = 0.05  # of Adam, which falls to nothing along a cosine


@dataclass(frozen=True)
class AmortisationGap(PairMetric):
    r"""The ELBO of the best Gaussian for each x less that of the encoder's, mean over x, nats.

    .. math::
        \frac1N \sum_i \max_{q \in Q} \mathrm{ELBO}(q, x_i) - \mathrm{ELBO}(q(\cdot \mid x_i), x_i)

    Q: Gaussians, with independent coordinates where those of the encoder are. The best is sought by
    Adam from the encoder's own, on fixed noise whose first two moments are right, and both are then
    compared on the same fresh noise: what the search misses makes the figure a ``lower bound``.
    Standard error: of the draws.

    Source: C. Cremer, X. Li, D. Duvenaud, 2018, arXiv:1801.03558.

    Args:
        steps: of the search.

    Raises:
        ValueError: if there are none.
    """

    steps: int = 300
    name: ClassVar[str] = "amortisation_gap"
    unit: ClassVar[str] = "nats"
    heading: ClassVar[str] = "amortisation gap, nats"
    meaning: ClassVar[str] = "What the encoder loses to the best Gaussian for each x."
    worse: ClassVar[Worse] = "above"
    costly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"AmortisationGap(steps=...) must be at least 1, got {self.steps}.")

    def measure(self, pair: Pair) -> Estimate | Skipped:
        if not isinstance(pair.encoder, GaussianEncoder):
            return Skipped("The encoder is no Gaussian: the best of its family is not sought.")
        with torch.no_grad():
            loc, factor = pair.encoder.moments(pair.x)
        generator = pair.generator()
        best_loc, best_factor = self._best(pair, loc, factor, generator)
        eps = torch.randn(pair.draws, *loc.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            gain = _terms(pair, best_loc, best_factor, eps) - _terms(pair, loc, factor, eps)
        return mean_over(gain.T, "lower bound")

    def _best(
        self, pair: Pair, loc: Tensor, factor: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Mean and factor of the best Gaussian of each x, in steps that its own factor scales."""
        half = torch.randn(NOISE // 2, *loc.shape, generator=generator, dtype=torch.float64)
        root = torch.linalg.cholesky(torch.einsum("snd,sne->nde", half, half) * 2 / NOISE)
        half = torch.linalg.solve_triangular(root, half.unsqueeze(-1), upper=False).squeeze(-1)
        eps = torch.cat([half, -half])
        mask = torch.ones_like(factor[0]).tril()
        if not bool(factor.tril(-1).any()):
            mask = mask.diag().diag()
        move, change = torch.zeros_like(loc), torch.zeros_like(factor)
        with torch.enable_grad():
            weights = [move.requires_grad_(), change.requires_grad_()]
            adam = torch.optim.Adam(weights, lr=RATE)
            for step in range(self.steps):
                for group in adam.param_groups:
                    group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / self.steps))
                adam.zero_grad()
                new = _moved(loc, factor, move, change * mask)
                loss = -_terms(pair, *new, eps).mean(0).sum()
                loss.backward()  # type: ignore[no-untyped-call]
                adam.step()
        with torch.no_grad():
            return _moved(loc, factor, move, change * mask)


def _moved(loc: Tensor, factor: Tensor, move: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """A Gaussian beside another, in that one's own scale: the diagonal by its logarithm."""
    diagonal = change.diagonal(dim1=-2, dim2=-1).exp().diag_embed()
    return (
        loc + (factor @ move.unsqueeze(-1)).squeeze(-1),
        factor @ (change.tril(-1) + diagonal),
    )


def _terms(pair: Pair, loc: Tensor, factor: Tensor, eps: Tensor) -> Tensor:
    """What the ELBO is the mean of at given noise, nats: [N, L], [N, L, L], [S, N, L] -> [S, N]."""
    z = loc + torch.einsum("nde,sne->snd", factor, eps)
    entropy = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    entropy = entropy + 0.5 * loc.shape[1] * (1 + math.log(2 * math.pi))
    value: Tensor = pair.decoder.log_likelihood(pair.x, z) + log_prior(z) + entropy
    return value
