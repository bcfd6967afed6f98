r"""Rubin's eight schools, the hierarchical model that every sampler is first tried on, in both of
its coordinates.

.. math::
    \mu \sim N(0, 5), \quad \tau \sim \mathrm{HalfCauchy}(5), \quad \theta_j = \mu + \tau \eta_j,
    \quad \eta_j \sim N(0, 1), \quad y_j \sim N(\theta_j, \sigma_j)

N(m, s) has standard deviation s. Effects are in points of the test that the schools coached for.
Where tau is small, the data say little about eta, so (mu, log tau, eta) is mild; theta is then tied
to mu, so (mu, log tau, theta) is a funnel.

Source: D. B. Rubin, Estimation in parallel randomized experiments, 1981,
doi:10.3102/10769986006004377; priors as in posteriordb, https://github.com/stan-dev/posteriordb,
``eight_schools``.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from problems.base import Exact, Problem, StanProgram, Trait
from problems.parts.edges import log_of
from problems.parts.hierarchy import NormalMeans, check, data, log_normalisers
from problems.parts.quadrature import Law, law
from problems.parts.twins import twin

# |log tau| is clipped there inside exp, so that no square overflows and no 0 * inf arises
EXTREME = 300.0


@functools.lru_cache(maxsize=64)
def _law_of_log_tau(model: NormalMeans, tau_scale: float) -> Law:
    """Posterior of log tau. Outside the bounds lie less than e^-45 of it.

    Towards -inf it falls as tau does, once tau is below all sigma and the scale of the prior.
    Towards inf the evidence p(y | tau) falls beyond |y|, and prior times Jacobian fall as 1 / tau
    beyond the scale.
    """

    def log_density(t: Tensor) -> Tensor:
        return model.log_evidence(t.exp()) + _log_prior(t, tau_scale)

    low = math.log(min(*model.sigma, tau_scale)) - 50
    high = math.log(max(math.hypot(*model.y), tau_scale)) + 50
    return law(log_density, low, high)


def _log_prior(log_tau: Tensor, scale: float) -> Tensor:
    """Log density of log tau where tau ~ HalfCauchy(scale), Jacobian included: [...] -> [...],
    nats.
    """
    tail = softplus(2 * (log_tau - math.log(scale)), threshold=50.0)  # log(1 + (tau / scale)^2)
    return math.log(2 / (math.pi * scale)) + log_tau - tail


@dataclass(frozen=True)
class _HalfCauchySchools(Problem):
    """What the two share: the data, the priors and the law of (mu, log tau, eta)."""

    y: tuple[float, ...] = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
    sigma: tuple[float, ...] = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
    mu_scale: float = 5.0
    tau_scale: float = 5.0
    program: ClassVar[str]  # the Stan twin

    def __post_init__(self) -> None:
        check(self)

    @property
    def dim(self) -> int:
        return 2 + len(self.y)

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, _law_of_log_tau(self._model, self.tau_scale).log_mass)

    @property
    def stan_program(self) -> StanProgram:
        return twin(
            self.program,
            J=len(self.y),
            y=self.y,
            sigma=self.sigma,
            mu_scale=self.mu_scale,
            tau_scale=self.tau_scale,
        )

    @property
    def _model(self) -> NormalMeans:
        return NormalMeans(self.y, self.sigma, self.mu_scale)

    def _sample(self, n: int, generator: Generator) -> Tensor:
        log_tau = _law_of_log_tau(self._model, self.tau_scale).sample(n, generator)
        mu, eta = self._model.complete(log_tau.exp(), generator)
        return self._join(mu, log_tau.unsqueeze(-1), eta)

    @abstractmethod
    def _join(self, mu: Tensor, log_tau: Tensor, eta: Tensor) -> Tensor:
        """Coordinates from mu [n, 1], log tau [n, 1] and eta [n, J]: [n, D]."""


@dataclass(frozen=True)
class EightSchools(_HalfCauchySchools):
    """Eight schools in (mu, log tau, eta), the non-centred coordinates.

    Args:
        y: effect measured in each school, points; more or fewer schools change D = 2 + J.
        sigma: standard error of each effect, points.
        mu_scale: prior standard deviation of mu, points.
        tau_scale: scale of the half-Cauchy prior of tau, points.

    Raises:
        ValueError: if a field lies outside its range.
    """

    name: ClassVar[str] = "eight-schools"
    traits: ClassVar[tuple[Trait, ...]] = ("hierarchical", "bounded", "skewed")
    program: ClassVar[str] = "eight_schools"

    @property
    def coordinates(self) -> tuple[str, ...]:
        return ("mu", "log tau", *(f"eta[{j + 1}]" for j in range(len(self.y))))

    def log_density(self, z: Tensor) -> Tensor:
        """log p(y, mu, log tau, eta): [..., D] -> [...], nats."""
        known = data(self.y, self.sigma)
        mu, log_tau, eta = z[..., 0], z[..., 1], z[..., 2:]
        tau = z[..., 1:2].clamp(max=EXTREME).exp()
        residual = torch.addcmul(z[..., :1], tau, eta) * known.one_over_sigma - known.y_over_sigma
        squares = torch.addcmul(residual.square(), eta, eta).sum(-1) + (mu / self.mu_scale).square()
        return log_normalisers(self) + _log_prior(log_tau, self.tau_scale) - 0.5 * squares

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """The model's parameters, points: [..., D] -> mu [...], tau [...], theta [..., J]."""
        tau = z[..., 1].exp()
        return {
            "mu": z[..., 0],
            "tau": tau,
            "theta": torch.addcmul(z[..., :1], tau.unsqueeze(-1), z[..., 2:]),
        }

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back, tau > 0: mu [...], tau [...], theta [..., J] -> [..., D]."""
        mu, tau = values["mu"].unsqueeze(-1), values["tau"].unsqueeze(-1)
        return torch.cat([mu, log_of(self.name, "tau", tau), (values["theta"] - mu) / tau], -1)

    def _join(self, mu: Tensor, log_tau: Tensor, eta: Tensor) -> Tensor:
        return torch.cat([mu, log_tau, eta], -1)


@dataclass(frozen=True)
class EightSchoolsCentred(_HalfCauchySchools):
    """The same posterior in (mu, log tau, theta), the centred coordinates: a funnel.

    Args:
        y: effect measured in each school, points; more or fewer schools change D = 2 + J.
        sigma: standard error of each effect, points.
        mu_scale: prior standard deviation of mu, points.
        tau_scale: scale of the half-Cauchy prior of tau, points.

    Raises:
        ValueError: if a field lies outside its range.
    """

    name: ClassVar[str] = "eight-schools-centred"
    traits: ClassVar[tuple[Trait, ...]] = (
        *("funnel", "hierarchical", "bounded"),
        *("correlated", "skewed"),
    )
    program: ClassVar[str] = "eight_schools_centred"

    @property
    def coordinates(self) -> tuple[str, ...]:
        return ("mu", "log tau", *(f"theta[{j + 1}]" for j in range(len(self.y))))

    def log_density(self, z: Tensor) -> Tensor:
        """log p(y, mu, log tau, theta): [..., D] -> [...], nats."""
        known = data(self.y, self.sigma)
        mu, log_tau, theta = z[..., 0], z[..., 1], z[..., 2:]
        eta = (theta - z[..., :1]) * z[..., 1:2].clamp(min=-EXTREME).neg().exp()
        residual = theta * known.one_over_sigma - known.y_over_sigma
        squares = torch.addcmul(residual.square(), eta, eta).sum(-1) + (mu / self.mu_scale).square()
        # theta is eta stretched tau-fold, J times
        prior = _log_prior(log_tau, self.tau_scale) - len(self.y) * log_tau
        return log_normalisers(self) + prior - 0.5 * squares

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """The model's parameters, points: [..., D] -> mu [...], tau [...], theta [..., J]."""
        return {"mu": z[..., 0], "tau": z[..., 1].exp(), "theta": z[..., 2:]}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back, tau > 0: mu [...], tau [...], theta [..., J] -> [..., D]."""
        log_tau = log_of(self.name, "tau", values["tau"])
        return torch.cat([values["mu"].unsqueeze(-1), log_tau.unsqueeze(-1), values["theta"]], -1)

    def _join(self, mu: Tensor, log_tau: Tensor, eta: Tensor) -> Tensor:
        return torch.cat([mu, log_tau, torch.addcmul(mu, log_tau.exp(), eta)], -1)
