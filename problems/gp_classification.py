r"""Gaussian-process classification with unknown amplitude and length scale: labels, and the
function behind them.

.. math:: f \sim N(0, K), \quad K_{ij} = a^2 e^{-|x_i - x_j| / \ell}, \qquad
   y_i \sim \mathrm{Bernoulli}(\pi_i), \quad \log \frac{\pi_i}{1 - \pi_i} = f_i, \qquad
   \log a \sim N(\log a_0, s^2), \quad \log \ell \sim N(\log \ell_0, s^2)

at N evenly spaced inputs from 0 to 1. The kernel is that of the Ornstein-Uhlenbeck process, of
which a share :math:`\rho = e^{-1 / ((N - 1) \ell)}` is left after one step, so its Cholesky factor
is known for every length scale:

.. math::
    f_i = a \sum_{j \le i} \rho^{i - j} v_j w_j, \qquad v_1 = 1, \quad v_j = \sqrt{1 - \rho^2},
    \qquad w_j \sim N(0, 1)

Labels are simulated from the model at a = 3 and l = 0.3, from the stated seed. They say little of
a, and the larger it is, the less normal is f.

Source: C. E. Rasmussen, C. K. I. Williams, Gaussian processes for machine learning, 2006, ISBN
026218253X, sections 3.3 and 4.2; H. Nickisch, C. E. Rasmussen, Approximations for binary Gaussian
process classification, 2008, JMLR 9:2035-2078, on how approximations fare as the amplitude grows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from problems.base import GaussianPrior, Problem, Reference, StanProgram, Trait
from problems.parts.edges import log_of
from problems.parts.ingredients import log_normal, normal, prepare, seeded, uniform
from problems.parts.scales import exponential
from problems.parts.stored import reference
from problems.parts.twins import twin
from problems.parts.validate import require_positive, require_whole

AMPLITUDE, LENGTHSCALE = 3.0, 0.3  # that the labels are simulated with


@dataclass(frozen=True)
class GPClassification(Problem):
    """Logarithms of amplitude and length scale, and the whitened function, z = (log a, log l, w), D
    = 2 + N.

    Args:
        inputs: N, one label at each.
        amplitude: a_0, prior median of the function's standard deviation, log odds.
        lengthscale: l_0, prior median, in units of the inputs.
        spread: s, standard deviation of both logarithms before the data.
        seed: of function and labels.
    """

    inputs: int = 40
    amplitude: float = 2.0
    lengthscale: float = 0.3
    spread: float = 0.7
    seed: int = 0
    name: ClassVar[str] = "gp-classification"
    traits: ClassVar[tuple[Trait, ...]] = ("bounded", "regression")

    def __post_init__(self) -> None:
        require_whole(self, inputs=2, seed=0)
        require_positive(self, "amplitude", "lengthscale", "spread")
        prepare(self, "labels")

    @functools.cached_property
    def labels(self) -> Tensor:
        """The data, simulated: 1 for yes and -1 for no, [N]."""
        generator = seeded(self.seed)
        logs = torch.tensor([AMPLITUDE, LENGTHSCALE], dtype=torch.float64).log()
        f = self._function(torch.cat((logs, normal(generator, self.inputs))))
        return (f.sigmoid() - uniform(generator, self.inputs)).sign()

    @property
    def dim(self) -> int:
        return 2 + self.inputs

    @property
    def truth(self) -> Reference:
        return reference(self)

    @property
    def gaussian_prior(self) -> GaussianPrior:
        centre = (math.log(self.amplitude), math.log(self.lengthscale), *[0.0] * self.inputs)
        return GaussianPrior.independent(centre, (self.spread, self.spread, *[1.0] * self.inputs))

    @property
    def coordinates(self) -> tuple[str, ...]:
        return ("log a", "log l", *(f"w[{i + 1}]" for i in range(self.inputs)))

    @property
    def stan_program(self) -> StanProgram:
        return twin(
            "gp_classification",
            N=self.inputs,
            x=torch.linspace(0, 1, self.inputs, dtype=torch.float64),
            y=(self.labels > 0).long(),
            amplitude_median=self.amplitude,
            lengthscale_median=self.lengthscale,
            spread=self.spread,
        )

    def log_density(self, z: Tensor) -> Tensor:
        """log p(y, z): [..., D] -> [...], nats."""
        likelihood = logsigmoid(self.labels * self._function(z)).sum(-1)
        amplitude = log_normal(z[..., 0], math.log(self.amplitude), self.spread)
        lengthscale = log_normal(z[..., 1], math.log(self.lengthscale), self.spread)
        return likelihood + amplitude + lengthscale + log_normal(z[..., 2:], 0.0, 1.0).sum(-1)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """[..., D] -> amplitude [...] and f [..., N], log odds; lengthscale [...], in units of the
        inputs.
        """
        return {
            "amplitude": z[..., 0].exp(),
            "lengthscale": z[..., 1].exp(),
            "f": self._function(z),
        }

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back, amplitude and length scale positive."""
        log_a, log_l = (
            log_of(self.name, name, values[name]).unsqueeze(-1)
            for name in ("amplitude", "lengthscale")
        )
        gap, x = self._gap(log_l), values["f"] / values["amplitude"].unsqueeze(-1)
        later = (x[..., 1:] - torch.exp(-gap) * x[..., :-1]) / self._fresh(gap)
        return torch.cat((log_a, log_l, x[..., :1], later), -1)

    def _gap(self, log_l: Tensor) -> Tensor:
        """One step of the inputs in length scales, [...] -> [...]."""
        return exponential(-log_l) / (self.inputs - 1)

    def _fresh(self, gap: Tensor) -> Tensor:
        """v, the standard deviation that one step adds: [...] -> [...]."""
        return torch.expm1(-2 * gap).neg().sqrt()

    def _function(self, z: Tensor) -> Tensor:
        """f, [..., D] -> [..., N]. The sum over all earlier inputs is doubled in reach, log2 N
        times.
        """
        gap, w = self._gap(z[..., 1:2]), z[..., 2:]
        f, reach = torch.cat((w[..., :1], self._fresh(gap) * w[..., 1:]), -1), 1
        while reach < self.inputs:
            f, reach = f + torch.exp(-reach * gap) * pad(f[..., :-reach], (reach, 0)), 2 * reach
        return exponential(z[..., :1]) * f
