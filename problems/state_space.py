r"""A local linear trend: the hidden path of a time series, long chains of dependence with an exact
filter.

.. math::
    \ell_1, b_1 \sim N(0, s^2), \quad \ell_{t+1} \sim N(\ell_t + b_t, q_\ell^2), \quad b_{t+1} \sim
    N(b_t, q_b^2), \quad y_t \sim N(\ell_t, r^2)

The posterior of level and slope at every step, as they stand, given a series simulated from the
model. The evidence is the product of the Kalman filter's one-step predictions, and draws run back
through its filtered laws. Sources: Kalman, A new approach to linear filtering and prediction
problems, 1960, doi 10.1115/1.3662552; Frühwirth-Schnatter, Data augmentation and dynamic linear
models, 1994, doi 10.1111/j.1467-9892.1994.tb00184.x.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from problems.base import Exact, GaussianPrior, Problem, StanProgram, Trait
from problems.parts.ingredients import log_normal, normal, prepare, seeded
from problems.parts.twins import twin
from problems.parts.validate import require_positive, require_whole

# of the state x = (level, slope)
TRANSITION = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)


class Filtered(NamedTuple):
    """The state's law given the series so far, at every step, and the evidence of the whole series.

    Args:
        means: T of [2]; covariances: T of [2, 2].
        log_evidence: log p(y), nats.
    """

    means: list[Tensor]
    covariances: list[Tensor]
    log_evidence: float


@dataclass(frozen=True)
class StateSpace(Problem):
    """The path of a local linear trend, z = (levels, slopes).

    Args:
        steps: T, length of the series.
        initial: s, standard deviation of level and slope at the first step.
        level_noise: q_l, standard deviation of the level's step.
        slope_noise: q_b, standard deviation of the slope's step.
        noise: r, standard deviation of an observation.
        seed: of path and series.
    """

    steps: int = 20
    initial: float = 1.0
    level_noise: float = 0.3
    slope_noise: float = 0.1
    noise: float = 0.5
    seed: int = 0
    name: ClassVar[str] = "state-space"
    traits: ClassVar[tuple[Trait, ...]] = ("gaussian", "correlated", "time-series")

    def __post_init__(self) -> None:
        require_whole(self, steps=2, seed=0)
        require_positive(self, "initial", "level_noise", "slope_noise", "noise")
        prepare(self, "observed", "_path_prior")

    @property
    def dim(self) -> int:
        return 2 * self.steps

    @property
    def gaussian_prior(self) -> GaussianPrior:
        """Of the path, which is a linear function of the noise of its steps."""
        return self._path_prior

    @property
    def coordinates(self) -> tuple[str, ...]:
        return tuple(f"{name}[{t + 1}]" for name in ("level", "slope") for t in range(self.steps))

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return {"level": z[..., : self.steps], "slope": z[..., self.steps :]}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.cat((values["level"], values["slope"]), -1)

    @functools.cached_property
    def observed(self) -> Tensor:
        """The observed series y, [T], float64, simulated from a fixed seed."""
        generator = seeded(self.seed)
        state = self.initial * normal(generator, 2)
        series = []
        for _ in range(self.steps):
            series.append(state[0] + self.noise * normal(generator))
            state = TRANSITION @ state + self._step_scales * normal(generator, 2)
        return torch.stack(series)

    @property
    def truth(self) -> Exact:
        return Exact(self._sample, self._filtered.log_evidence)

    @property
    def stan_program(self) -> StanProgram:
        return twin(
            "state_space",
            T=self.steps,
            y=self.observed,
            initial=self.initial,
            level_noise=self.level_noise,
            slope_noise=self.slope_noise,
            noise=self.noise,
        )

    def log_density(self, z: Tensor) -> Tensor:
        level, slope = z[..., : self.steps], z[..., self.steps :]
        start = log_normal(level[..., 0], 0.0, self.initial) + log_normal(
            slope[..., 0], 0.0, self.initial
        )
        levels = log_normal(
            level[..., 1:], level[..., :-1] + slope[..., :-1], self.level_noise
        ).sum(-1)
        slopes = log_normal(slope[..., 1:], slope[..., :-1], self.slope_noise).sum(-1)
        return start + levels + slopes + log_normal(self.observed, level, self.noise).sum(-1)

    @functools.cached_property
    def _path_prior(self) -> GaussianPrior:
        T = self.steps
        noise = torch.eye(2 * T, dtype=torch.float64).reshape(2 * T, T, 2)  # one path for each unit
        noise = noise * self._step_scales
        state = self.initial / self._step_scales * noise[:, 0]
        path = [state]
        for t in range(1, T):
            state = state @ TRANSITION.T + noise[:, t]
            path.append(state)
        root = torch.stack(path, -1).flatten(-2)  # [2 T, D]: covariance root^T root
        factor: Tensor = torch.linalg.cholesky(root.T @ root)
        return GaussianPrior(torch.zeros(2 * T, dtype=torch.float64), factor)

    @property
    def _step_scales(self) -> Tensor:
        return torch.tensor([self.level_noise, self.slope_noise], dtype=torch.float64)

    @functools.cached_property
    def _filtered(self) -> Filtered:
        mean, covariance = (
            torch.zeros(2, dtype=torch.float64),
            self.initial**2 * torch.eye(2, dtype=torch.float64),
        )
        means, covariances, log_evidence = [], [], 0.0
        for y in self.observed:
            error, variance = y - mean[0], covariance[0, 0] + self.noise**2
            log_evidence += log_normal(error, 0.0, variance.sqrt().item()).item()
            gain = covariance[:, 0] / variance
            mean, covariance = mean + gain * error, covariance - gain[:, None] * covariance[0]
            means.append(mean)
            covariances.append(covariance)
            mean, covariance = TRANSITION @ mean, self._predict(covariance)
        return Filtered(means, covariances, log_evidence)

    def _predict(self, covariance: Tensor) -> Tensor:
        return TRANSITION @ covariance @ TRANSITION.T + self._step_scales.square().diag()

    def _sample(self, n: int, generator: Generator) -> Tensor:
        """Paths drawn from the last step to the first, each state given the one after it:
        [n, D].
        """
        means, covariances, _ = self._filtered
        state = means[-1] + normal(generator, n, 2) @ torch.linalg.cholesky(covariances[-1]).T
        path = [state]
        for mean, covariance in zip(means[-2::-1], covariances[-2::-1], strict=True):
            gain = torch.linalg.solve(self._predict(covariance), TRANSITION @ covariance).T
            root = torch.linalg.cholesky(covariance - gain @ TRANSITION @ covariance)
            state = mean + (state - TRANSITION @ mean) @ gain.T + normal(generator, n, 2) @ root.T
            path.append(state)
        return torch.stack(path[::-1], -1).flatten(-2)
