r"""Normal means around a common mean: everything but the spread tau integrates out by hand.

.. math::
    \mu \sim N(0, s), \quad \eta_j \sim N(0, 1), \quad \theta_j = \mu + \tau \eta_j, \quad y_j \sim
    N(\theta_j, \sigma_j)

With :math:`v_j = \tau^2 + \sigma_j^2`, eta out leaves :math:`y_j \sim N(\mu, \sqrt{v_j})`, and mu
out leaves a function of tau alone. N(m, s) has standard deviation s. ``docs/truths.md`` has the
steps.

Source: A. Gelman et al., Bayesian Data Analysis, 3rd edition, 2013, section 5.4.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from problems.parts.validate import bad_setting, require_positive


class Schools(Protocol):
    """The fields that every eight-schools problem has."""

    @property
    def y(self) -> tuple[float, ...]: ...
    @property
    def sigma(self) -> tuple[float, ...]: ...
    @property
    def mu_scale(self) -> float: ...
    @property
    def tau_scale(self) -> float: ...


@dataclass(frozen=True)
class NormalMeans:
    """The model given tau, of any sign.

    Args:
        y: the effect measured in each of J groups.
        sigma: its standard error, same unit.
        mu_scale: s, prior standard deviation of mu, same unit.
    """

    y: tuple[float, ...]
    sigma: tuple[float, ...]
    mu_scale: float

    def log_evidence(self, tau: Tensor) -> Tensor:
        """log p(y | tau), mu and eta integrated out: [...] -> [...], nats."""
        mean, precision, variance = self._mu(tau)
        y = data(self.y, self.sigma).y
        misfit = (
            (y - mean.unsqueeze(-1)).square() / variance + (2 * math.pi * variance).log()
        ).sum(-1)
        return -0.5 * (misfit + (mean / self.mu_scale).square() + precision.log()) - math.log(
            self.mu_scale
        )

    def complete(self, tau: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draws of mu and eta given the data and a tau each: [n] -> [n, 1], [n, J]."""
        noise = torch.randn(len(tau), 1 + len(self.y), generator=generator, dtype=torch.float64)
        mean, precision, variance = self._mu(tau)
        mu = (mean + noise[:, 0] * precision.rsqrt()).unsqueeze(-1)
        known = data(self.y, self.sigma)
        eta = (
            tau.unsqueeze(-1) * (known.y - mu) / variance
            + noise[:, 1:] * known.sigma * variance.rsqrt()
        )
        return mu, eta

    def _mu(self, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and precision of mu given tau and the data, and v: [...] -> [...], [...],
        [..., J].
        """
        known = data(self.y, self.sigma)
        variance = tau.square().unsqueeze(-1) + known.sigma.square()
        precision = self.mu_scale**-2 + variance.reciprocal().sum(-1)
        return (known.y / variance).sum(-1) / precision, precision, variance


@dataclass(frozen=True, eq=False)
class Data:
    """The data as tensors: y and sigma, [J]; their quotient and the reciprocal, which the densities
    want, [J].
    """

    y: Tensor
    sigma: Tensor
    y_over_sigma: Tensor
    one_over_sigma: Tensor


@functools.lru_cache(maxsize=64)
def data(y: tuple[float, ...], sigma: tuple[float, ...]) -> Data:
    """The data as tensors, made once: outside the problem, which is thereby hashed and sent as its
    fields alone.
    """
    with torch.inference_mode(
        False
    ):  # they are kept, and tensors born in inference mode have no gradients later
        a, b = torch.tensor(y, dtype=torch.float64), torch.tensor(sigma, dtype=torch.float64)
        return Data(a, b, a / b, b.reciprocal())


def check(problem: Schools) -> None:
    """Hold the fields of an eight-schools problem to their ranges.

    Raises:
        ValueError: naming the field, its value and what was expected.
    """
    for field in ("y", "sigma"):
        value = getattr(problem, field)
        if (
            not isinstance(value, tuple)
            or not value
            or not all(math.isfinite(entry) for entry in value)
        ):
            raise bad_setting(problem, field, "be a tuple of one or more finite numbers")
    if min(problem.sigma) <= 0:
        raise bad_setting(problem, "sigma", "hold positive standard errors")
    if len(problem.y) != len(problem.sigma):
        raise bad_setting(problem, "sigma", f"have one entry for each of the {len(problem.y)} of y")
    require_positive(problem, "mu_scale", "tau_scale")
    data(problem.y, problem.sigma)  # made here, where no tracer or transform of torch is watching


def log_normalisers(problem: Schools) -> float:
    """Constants of the J likelihoods, the J densities N(0, 1) of eta and that of mu, nats."""
    logs = sum(math.log(s) for s in problem.sigma) + math.log(problem.mu_scale)
    return -(len(problem.y) + 0.5) * math.log(2 * math.pi) - logs
