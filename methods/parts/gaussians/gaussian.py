r"""The Gaussian as an approximation: density and draws in closed form, so every metric that needs
either is exact.

.. math:: q(z) = N(z; m, L L^\top), \quad z = m + L \epsilon, \quad \epsilon \sim N(0, I)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from methods.base import Approximation


@dataclass(frozen=True, eq=False)
class Gaussian(Approximation):
    """A Gaussian on R^D, full or diagonal.

    Args:
        loc: m, the mean, [D], float64.
        scale_tril: L, float64: lower triangular [D, D] with a positive diagonal, or [D], the
            standard deviations alone.
        diagnostics: figures that tell how it was found.

    Raises:
        ValueError: if the shapes do not match, a number is not finite, or the diagonal of L is not
            positive.
    """

    loc: Tensor
    scale_tril: Tensor
    diagnostics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dim = len(self.loc)
        if self.loc.shape != (dim,) or self.scale_tril.shape not in ((dim,), (dim, dim)):
            shapes = f"loc {list(self.loc.shape)} and scale_tril {list(self.scale_tril.shape)}"
            raise ValueError(
                f"Gaussian(...) takes loc [D] and scale_tril [D] or [D, D], got {shapes}."
            )
        if not (
            self.loc.isfinite().all()
            and self.scale_tril.isfinite().all()
            and (self.scales > 0).all()
        ):
            raise ValueError(
                "Gaussian(...) takes finite numbers and a positive diagonal of scale_tril; some are"
                " not."
            )

    @property
    def scales(self) -> Tensor:
        """The diagonal of L, [D]: the standard deviation of each coordinate given those
        before it.
        """
        return self.scale_tril if self.scale_tril.dim() == 1 else self.scale_tril.diagonal()

    def sample(self, n: int, generator: Generator) -> Tensor:
        return self.forward(torch.randn(n, len(self.loc), generator=generator, dtype=torch.float64))

    def forward(self, eps: Tensor) -> Tensor:
        """Draws made of standard normal numbers: m + L eps, [n, D] -> [n, D]."""
        if self.scale_tril.dim() == 1:
            return self.loc + eps * self.scale_tril
        return self.loc + eps @ self.scale_tril.T

    def log_prob(self, z: Tensor) -> Tensor:
        r"""Normalised log density, [..., D] -> [...], nats.

        .. math::
            \log q(z) = -\tfrac12 \|L^{-1}(z - m)\|^2 - \sum_i \log L_{ii} - \tfrac D2 \log 2\pi
        """
        centred = z - self.loc
        if self.scale_tril.dim() == 1:
            eps = centred / self.scale_tril
        else:
            rows = centred.reshape(-1, len(self.loc))  # one system with all rows on its right
            eps = torch.linalg.solve_triangular(self.scale_tril, rows.T, upper=False).T.reshape(
                centred.shape
            )
        return (
            -0.5 * eps.square().sum(-1)
            - self.scales.log().sum()
            - 0.5 * len(self.loc) * math.log(2 * math.pi)
        )
