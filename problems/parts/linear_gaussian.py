r"""Linear models with Gaussian prior and noise: posterior and evidence in closed form, whatever the
design.

.. math:: z \sim N(0, S S^\top), \qquad y = A z + \sigma \epsilon, \quad \epsilon \sim N(0, I)

With B = A S / sigma and M = I + B'B, the posterior is N(S M^{-1} B'y / sigma, S M^{-1} S') and the
evidence N(y; 0, sigma^2 (I + B B')). Source: Lindley and Smith, Bayes estimates for the linear
model, 1972, doi 10.1111/j.2517-6161.1972.tb00885.x.
"""

from __future__ import annotations

import functools
from abc import abstractmethod

import torch
from torch import Generator, Tensor

from problems.base import Exact, GaussianPrior, Problem
from problems.parts.elliptical import Elliptical
from problems.parts.ingredients import log_normal, normal


class LinearModel:
    """One linear model and the data it is given, which are drawn from it at parameters drawn from
    its prior.

    Args:
        design: A, [N, D].
        factor: S, [D, D], of the prior covariance.
        noise: sigma, standard deviation of an observation.
        generator: what parameters and data are drawn from.
    """

    def __init__(self, design: Tensor, factor: Tensor, noise: float, generator: Generator) -> None:
        self.design, self.factor, self.noise = design, factor, noise
        count, dim = design.shape
        self.prior = Elliptical.single(torch.zeros(dim, dtype=torch.float64), factor)
        # y, [N]
        self.observed = design @ (factor @ normal(generator, dim)) + noise * normal(
            generator, count
        )

    def log_joint(self, z: Tensor) -> Tensor:
        """log p(y, z), [..., D] -> [...], nats."""
        return log_normal(self.observed, z @ self.design.T, self.noise).sum(
            -1
        ) + self.prior.log_prob(z)

    @functools.cached_property
    def posterior(self) -> Elliptical:
        """p(z | y), worked out in units of the prior, which is the well-conditioned way."""
        B = self.design @ self.factor / self.noise
        M = torch.eye(B.shape[1], dtype=torch.float64) + B.T @ B
        mean = torch.linalg.solve(M, B.T @ self.observed / self.noise)
        root = torch.linalg.inv(torch.linalg.cholesky(M)).T  # root root' = M^{-1}
        return Elliptical.single(self.factor @ mean, self.factor @ root)

    @functools.cached_property
    def log_evidence(self) -> float:
        """Log evidence of the linear Gaussian model, log p(y), in nats."""
        B = self.design @ self.factor
        covariance = B @ B.T + self.noise**2 * torch.eye(len(B), dtype=torch.float64)
        marginal = Elliptical.single(
            torch.zeros_like(self.observed), torch.linalg.cholesky(covariance)
        )
        return marginal.log_prob(self.observed).item()


class LinearGaussian(Problem):
    """The posterior of a linear Gaussian model; its subclasses say which model."""

    @property
    @abstractmethod
    def model(self) -> LinearModel:
        """The model and its data, cached, and made when the problem is made."""

    @property
    def truth(self) -> Exact:
        law = self.model.posterior
        return Exact(law.sample, self.model.log_evidence, law.mean, law.variance)

    @property
    def gaussian_prior(self) -> GaussianPrior:
        return GaussianPrior(self.model.prior.means[0], self.model.factor)

    def log_density(self, z: Tensor) -> Tensor:
        return self.model.log_joint(z)
