r"""Eight schools with a signed spread: ten dimensions and two mirror-image modes, the AVB paper's
own experiment.

.. math::
    \mu, \tau, \eta_j \sim N(0, 1), \quad \theta_j = \mu + \tau \eta_j, \quad y_j \sim N(\theta_j,
    \sigma_j)

tau is real, and (tau, eta) and (-tau, -eta) give the same theta: the posterior is symmetric, and
the two halves meet only near tau = 0. A Gaussian sits on one half or blurs both.

Source: L. Mescheder, S. Nowozin, A. Geiger, Adversarial Variational Bayes, 2017, arXiv:1701.04722.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from problems.base import Exact, GaussianPrior, Modes, Problem, StanProgram, Trait
from problems.parts.edges import refuse
from problems.parts.hierarchy import NormalMeans, check, data, log_normalisers
from problems.parts.quadrature import Law, law
from problems.parts.twins import twin


@functools.lru_cache(maxsize=64)
def _law_of_tau(model: NormalMeans, tau_scale: float) -> Law:
    """Posterior of tau. The evidence falls beyond |y|, so ten prior scales further less than e^-50
    is left.
    """
    constant = -0.5 * math.log(2 * math.pi) - math.log(tau_scale)

    def log_density(tau: Tensor) -> Tensor:
        return model.log_evidence(tau) + constant - 0.5 * (tau / tau_scale).square()

    reach = math.hypot(*model.y) + 10 * tau_scale
    return law(log_density, -reach, reach)


@dataclass(frozen=True)
class SignedEightSchools(Problem):
    """Eight schools in (mu, tau, eta) with Gaussian priors, tau of either sign.

    Args:
        y: effect measured in each school; more or fewer schools change D = 2 + J.
        sigma: standard error of each effect.
        mu_scale: prior standard deviation of mu.
        tau_scale: prior standard deviation of tau.

    Raises:
        ValueError: if a field lies outside its range.
    """

    y: tuple[float, ...] = (2.8, 0.8, -0.3, 0.7, -0.1, 0.1, 1.8, 1.2)
    sigma: tuple[float, ...] = (0.8, 0.5, 0.8, 0.6, 0.5, 0.6, 0.5, 0.4)
    mu_scale: float = 1.0
    tau_scale: float = 1.0
    name: ClassVar[str] = "eight-schools-signed"
    traits: ClassVar[tuple[Trait, ...]] = ("multimodal", "hierarchical")

    def __post_init__(self) -> None:
        check(self)

    @property
    def dim(self) -> int:
        return 2 + len(self.y)

    @property
    def gaussian_prior(self) -> GaussianPrior:
        scales = (self.mu_scale, self.tau_scale, *[1.0] * len(self.y))
        return GaussianPrior.independent([0.0] * self.dim, scales)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return ("mu", "tau", *(f"eta[{j + 1}]" for j in range(len(self.y))))

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, _law_of_tau(self._model, self.tau_scale).log_mass)

    @property
    def modes(self) -> Modes:
        """The sign of tau: 0 negative, 1 positive; by symmetry half each."""
        return Modes(self._sign, (0.5, 0.5))

    @property
    def stan_program(self) -> StanProgram:
        return twin(
            "eight_schools_signed",
            J=len(self.y),
            y=self.y,
            sigma=self.sigma,
            mu_scale=self.mu_scale,
            tau_scale=self.tau_scale,
        )

    def log_density(self, z: Tensor) -> Tensor:
        """log p(y, mu, tau, eta): [..., D] -> [...], nats."""
        known = data(self.y, self.sigma)
        mu, tau, eta = z[..., :1], z[..., 1:2], z[..., 2:]
        residual = torch.addcmul(mu, tau, eta) * known.one_over_sigma - known.y_over_sigma
        squares = torch.addcmul(residual.square(), eta, eta).sum(-1)
        squares = (
            squares + (z[..., 0] / self.mu_scale).square() + (z[..., 1] / self.tau_scale).square()
        )
        return (
            log_normalisers(self)
            - 0.5 * math.log(2 * math.pi)
            - math.log(self.tau_scale)
            - 0.5 * squares
        )

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """The model's parameters, in the unit of y: [..., D] -> mu [...], tau [...], theta [...,
        J].
        """
        return {
            "mu": z[..., 0],
            "tau": z[..., 1],
            "theta": torch.addcmul(z[..., :1], z[..., 1:2], z[..., 2:]),
        }

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back, tau not 0: mu [...], tau [...], theta [..., J] -> [..., D]."""
        mu, tau = values["mu"].unsqueeze(-1), values["tau"].unsqueeze(-1)
        refuse(self.name, "tau", (tau != 0) & tau.isfinite(), "is finite and not 0")
        return torch.cat([mu, tau, (values["theta"] - mu) / tau], -1)

    @property
    def _model(self) -> NormalMeans:
        return NormalMeans(self.y, self.sigma, self.mu_scale)

    def _sign(self, z: Tensor) -> Tensor:
        return (z[..., 1] > 0).long()

    def _sample(self, n: int, generator: Generator) -> Tensor:
        tau = _law_of_tau(self._model, self.tau_scale).sample(n, generator)
        mu, eta = self._model.complete(tau, generator)
        return torch.cat([mu, tau.unsqueeze(-1), eta], -1)
