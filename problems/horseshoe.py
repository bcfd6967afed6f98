r"""Sparse linear regression with a horseshoe prior: few weights matter, and the prior has to find
out which.

.. math::
    \beta_j \sim N(0, \tau^2 \lambda_j^2), \quad \lambda_j \sim \mathrm{HalfCauchy}(1), \quad
    \tau = \frac{p}{K - p}\, \frac{\sigma}{\sqrt N}\, t, \quad t \sim \mathrm{HalfCauchy}(1), \quad
    \sigma \sim |N(0, 1)|, \quad y_i \sim N(x_i^\top \beta, \sigma^2)

The data are the progress of diabetes in N = 442 patients and K = 10 measurements of each; both
standardised, so no intercept is needed, and p is a guess at how many weights matter. The
coordinates are between the centred and the non-centred ones: with the shrinkage factor kappa, in
whose prior the horseshoe shows,

.. math:: \kappa_j = \frac{1}{1 + N \tau^2 \lambda_j^2 / \sigma^2}, \qquad
   \beta_j = \sigma \sqrt{(1 - \kappa_j) / N}\; u_j, \qquad u_j \sim N(0, 1 / \kappa_j),

u is the weight in standard errors where the data decide (kappa near 0) and in prior standard
deviations where they do not (kappa near 1). Were the columns orthogonal, u given the scales would
have variance 1 a posteriori, whatever they are; either pure choice leaves funnels, on which
samplers diverge.

Source: C. M. Carvalho, N. G. Polson, J. G. Scott, The horseshoe estimator for sparse signals, 2010,
doi:10.1093/biomet/asq017; J. Piironen, A. Vehtari, On the hyperprior choice for the global
shrinkage parameter in the horseshoe prior, 2017, arXiv:1610.05559 (tau); O. Papaspiliopoulos, G. O.
Roberts, M. Sköld, A general framework for the parametrization of hierarchical models, 2007,
doi:10.1214/088342307000000014; B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, Least angle
regression, 2004, doi:10.1214/009053604000000067 (data).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from problems.base import Problem, Reference, StanProgram, Trait
from problems.parts.edges import log_of
from problems.parts.ingredients import log_normal, prepare
from problems.parts.scales import exponential, log_half_cauchy, log_half_normal
from problems.parts.stored import reference
from problems.parts.tables import standardised, table
from problems.parts.twins import twin
from problems.parts.validate import bad_setting, require_positive


@dataclass(frozen=True, eq=False)
class _Squares:
    """The data as far as the likelihood sees them, by QR: ||y - X beta||^2 = ||root beta -
    target||^2 + rest.

    Args:
        root: [K, K].
        target: [K].
        rest: what no beta explains.
        rows: N.
    """

    root: Tensor
    target: Tensor
    rest: float
    rows: int


@dataclass(frozen=True)
class Horseshoe(Problem):
    """Weights between two scales, and the logarithms of the scales, z = (u, log lambda, log t, log
    sigma), D = 22.

    Args:
        relevant: p, how many of the ten weights are expected to matter.
    """

    relevant: float = 3.0
    name: ClassVar[str] = "horseshoe"
    traits: ClassVar[tuple[Trait, ...]] = (
        *("hierarchical", "bounded", "regression"),
        *("correlated", "skewed"),
    )

    def __post_init__(self) -> None:
        require_positive(self, "relevant")
        prepare(self, "_data")
        if self.relevant >= self._count:
            raise bad_setting(
                self, "relevant", f"be less than the number of weights, {self._count}"
            )

    @functools.cached_property
    def _data(self) -> _Squares:
        data = table("diabetes")
        y = standardised(data.outcome)
        q, root = torch.linalg.qr(data.inputs)
        target = q.T @ y
        return _Squares(root, target, (y - q @ target).square().sum().item(), len(y))

    @property
    def _count(self) -> int:
        """K, the number of coefficients."""
        return len(self._data.target)

    @property
    def _log_guess(self) -> float:
        """Log of tau / (sigma t)."""
        return math.log(self.relevant / (self._count - self.relevant)) - 0.5 * math.log(
            self._data.rows
        )

    @property
    def dim(self) -> int:
        return 2 * self._count + 2

    @property
    def truth(self) -> Reference:
        return reference(self)

    @property
    def coordinates(self) -> tuple[str, ...]:
        names = table("diabetes").names
        return (
            *(f"u {name}" for name in names),
            *(f"log lambda {name}" for name in names),
            "log t",
            "log sigma",
        )

    @property
    def stan_program(self) -> StanProgram:
        data = table("diabetes")
        return twin(
            "horseshoe",
            N=self._data.rows,
            K=self._count,
            x=data.inputs,
            y=standardised(data.outcome),
            relevant=self.relevant,
        )

    def log_density(self, z: Tensor) -> Tensor:
        """log p(y, z): [..., D] -> [...], nats."""
        u, log_lambda, log_t, log_sigma = self._split(z)
        free = self._log_odds(log_lambda, log_t)
        log_root_kappa = 0.5 * logsigmoid(-free)
        weights = (
            log_normal(u * log_root_kappa.exp(), 0.0, 1.0)
            + log_root_kappa
            + log_half_cauchy(log_lambda, 1.0)
        )
        scales = log_half_cauchy(log_t, 1.0) + log_half_normal(log_sigma, 1.0)
        return (
            weights.sum(-1)
            + scales.squeeze(-1)
            + self._log_likelihood(self._standard(u, free), log_sigma)
        )

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """In standard deviations of the columns: [..., D] -> weights and lambda [..., 10], tau and
        sigma [...].
        """
        u, log_lambda, log_t, log_sigma = self._split(z)
        return {
            "weights": log_sigma.exp() * self._standard(u, self._log_odds(log_lambda, log_t)),
            "lambda": log_lambda.exp(),
            "tau": (log_sigma + log_t + self._log_guess).squeeze(-1).exp(),
            "sigma": log_sigma.squeeze(-1).exp(),
        }

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back; all but the weights are positive."""
        log_lambda, log_sigma, log_tau = (
            log_of(self.name, name, values[name]) for name in ("lambda", "sigma", "tau")
        )
        log_sigma = log_sigma.unsqueeze(-1)
        log_t = log_tau.unsqueeze(-1) - log_sigma - self._log_guess
        one = self._standard(torch.ones_like(log_lambda), self._log_odds(log_lambda, log_t))
        return torch.cat(
            (values["weights"] / (log_sigma.exp() * one), log_lambda, log_t, log_sigma), -1
        )

    def _split(self, z: Tensor) -> tuple[Tensor, ...]:
        """[..., D] -> u and log lambda [..., 10], log t and log sigma [..., 1]."""
        k = self._count
        return z[..., :k], z[..., k : 2 * k], z[..., 2 * k : 2 * k + 1], z[..., 2 * k + 1 :]

    def _log_odds(self, log_lambda: Tensor, log_t: Tensor) -> Tensor:
        """Of 1 - kappa, log(N tau^2 lambda^2 / sigma^2): [..., 10], [..., 1] -> [..., 10]."""
        return 2 * (self._log_guess + log_t + log_lambda) + math.log(self._data.rows)

    def _standard(self, u: Tensor, free: Tensor) -> Tensor:
        """beta / sigma: [..., 10], [..., 10] -> [..., 10]."""
        return u * (0.5 * logsigmoid(free)).exp() / math.sqrt(self._data.rows)

    def _log_likelihood(self, standard: Tensor, log_sigma: Tensor) -> Tensor:
        """log p(y | beta, sigma) by beta / sigma [..., 10] and log sigma [..., 1]: [...], nats."""
        known, inverse = self._data, exponential(-log_sigma)
        misfit = (standard @ known.root.T - known.target * inverse).square().sum(
            -1
        ) + known.rest * inverse.squeeze(-1).square()
        return -known.rows * (log_sigma.squeeze(-1) + 0.5 * math.log(2 * math.pi)) - 0.5 * misfit
