r"""Poisson regression with random effects: small counts in groups that differ by an unknown amount.

.. math::
    u_j \sim N(0, 1), \quad \tau \sim |N(0, s_\tau^2)|, \quad a \sim N(0, s_a^2), \quad b \sim N(0,
    s_b^2), \qquad y_{ji} \sim \mathrm{Poisson}(e^{\eta_{ji}}), \quad \eta_{ji} = a + b\, x_{ji} +
    \tau u_j

for J groups of N counts each, simulated at a = 0, b = 0.5 and tau = 0.8, x standard normal, from
the stated seed. The counts are small, so the data bound an effect sharply from above and weakly
from below, and tau moves with all of them.

Source: A. Gelman, J. Hill, Data analysis using regression and multilevel/hierarchical models, 2006,
ISBN 052168689X, section 15.1 (model); A. Gelman, Prior distributions for variance parameters in
hierarchical models, 2006, doi:10.1214/06-BA117A (half-t priors of tau, of which the half-normal is
the one with the lightest tail).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from problems.base import Problem, Reference, StanProgram, Trait
from problems.parts.edges import log_of
from problems.parts.ingredients import log_normal, normal, prepare, seeded
from problems.parts.scales import exponential, log_half_normal
from problems.parts.stored import reference
from problems.parts.twins import twin
from problems.parts.validate import require_positive, require_whole

# log rate from which e^eta goes on as its tangent: no such rate is ever likely, and exp must not
# overflow
LARGEST = 50.0
INTERCEPT, SLOPE, SPREAD = 0.0, 0.5, 0.8  # a, b and tau that the counts are simulated with


@dataclass(frozen=True, eq=False)
class Counts:
    """The simulated data of the Poisson regression: the column, the counts, their constant.

    Args:
        x: the column, [J, N].
        y: counts, [J, N].
        log_factorials: sum of log y!, nats.
    """

    x: Tensor
    y: Tensor
    log_factorials: float


@dataclass(frozen=True)
class PoissonEffects(Problem):
    """Intercept, slope, spread of the groups and their standardised effects, z = (a, b, log tau,
    u), D = 3 + J.

    Args:
        groups: J.
        rows: N, counts in each group.
        intercept_scale: s_a.
        slope_scale: s_b.
        spread_scale: s_tau.
        seed: of columns, effects and counts.
    """

    groups: int = 20
    rows: int = 5
    intercept_scale: float = 2.0
    slope_scale: float = 1.0
    spread_scale: float = 1.0
    seed: int = 0
    name: ClassVar[str] = "poisson-effects"
    traits: ClassVar[tuple[Trait, ...]] = ("hierarchical", "bounded", "regression")

    def __post_init__(self) -> None:
        require_whole(self, groups=1, rows=1, seed=0)
        require_positive(self, "intercept_scale", "slope_scale", "spread_scale")
        prepare(self, "counts")

    @functools.cached_property
    def counts(self) -> Counts:
        """The data of the regression, simulated from a fixed seed."""
        generator = seeded(self.seed)
        x, u = normal(generator, self.groups, self.rows), normal(generator, self.groups, 1)
        y = torch.poisson((INTERCEPT + SLOPE * x + SPREAD * u).exp(), generator=generator)
        return Counts(x, y, torch.lgamma(y + 1).sum().item())

    @property
    def dim(self) -> int:
        return 3 + self.groups

    @property
    def truth(self) -> Reference:
        return reference(self)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return ("a", "b", "log tau", *(f"u[{j + 1}]" for j in range(self.groups)))

    @property
    def stan_program(self) -> StanProgram:
        return twin(
            "poisson_effects",
            J=self.groups,
            N=self.rows,
            x=self.counts.x,
            y=self.counts.y.long(),
            intercept_scale=self.intercept_scale,
            slope_scale=self.slope_scale,
            spread_scale=self.spread_scale,
        )

    def log_density(self, z: Tensor) -> Tensor:
        """log p(y, z): [..., D] -> [...], nats."""
        a, b, log_tau, u = z[..., 0], z[..., 1], z[..., 2], z[..., 3:]
        known, slope = self.counts, b[..., None, None]
        effects = a.unsqueeze(-1) + exponential(log_tau).unsqueeze(-1) * u
        eta = effects.unsqueeze(-1) + slope * known.x
        rate = eta.clamp(max=LARGEST).exp() * (1 + (eta - LARGEST).clamp(min=0.0))
        likelihood = (known.y * eta - rate).sum((-2, -1)) - known.log_factorials
        prior = log_normal(a, 0.0, self.intercept_scale) + log_normal(b, 0.0, self.slope_scale)
        return (
            likelihood
            + prior
            + log_half_normal(log_tau, self.spread_scale)
            + log_normal(u, 0.0, 1.0).sum(-1)
        )

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """[..., D] -> intercept a, slope b, spread tau [...], effects tau u [..., J], on the scale
        of the log rate.
        """
        tau = z[..., 2].exp()
        return {
            "intercept": z[..., 0],
            "slope": z[..., 1],
            "spread": tau,
            "effects": tau.unsqueeze(-1) * z[..., 3:],
        }

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        """The way back, spread > 0."""
        a, b, tau = (values[name].unsqueeze(-1) for name in ("intercept", "slope", "spread"))
        return torch.cat((a, b, log_of(self.name, "spread", tau), values["effects"] / tau), -1)
