r"""Logistic regression of breast tumours: thirty measurements, many nearly the same, and classes
that a plane separates.

.. math:: \beta_j \sim N(0, s^2), \qquad y_i \sim \mathrm{Bernoulli}(\pi_i), \qquad
   \log \frac{\pi_i}{1 - \pi_i} = \beta_0 + x_i^\top \beta

A tumour is malignant (y = 1) or benign (y = 0); the columns of x describe the cell nuclei in a
picture and are standardised. Since a plane separates the classes, the likelihood has no maximum: it
is the prior that keeps the weights finite.

Source: W. N. Street, W. H. Wolberg, O. L. Mangasarian, Nuclear feature extraction for breast tumor
diagnosis, 1993, doi:10.1117/12.148698 (data). Prior: A. Gelman, A. Jakulin, M. G. Pittau, Y.-S. Su,
A weakly informative default prior distribution for logistic and other regression models, 2008,
doi:10.1214/08-AOAS191; its scale of 2.5 for the weights, for the intercept too, with a normal in
place of a Cauchy, as the package rstanarm has had it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from problems.base import GaussianPrior, Problem, Reference, StanProgram, Trait
from problems.parts.ingredients import log_normal, prepare
from problems.parts.stored import reference
from problems.parts.tables import table
from problems.parts.twins import twin
from problems.parts.validate import require_positive

FAR = 40.0  # log odds at which softplus is a straight line to double precision


@dataclass(frozen=True)
class LogisticRegression(Problem):
    """Intercept and weights of a logistic regression on thirty columns, z = (beta_0, beta), D = 31.

    Args:
        prior_scale: s, standard deviation of the intercept and of each weight before the data, log
            odds.
    """

    prior_scale: float = 2.5
    name: ClassVar[str] = "logistic-regression"
    traits: ClassVar[tuple[Trait, ...]] = ("correlated", "regression")

    def __post_init__(self) -> None:
        require_positive(self, "prior_scale")
        prepare(self, "_signed_rows")

    @functools.cached_property
    def _signed_rows(self) -> Tensor:
        """Rows (1, x_i) with the sign of their class: log p(y_i | z) is the log sigmoid of their
        product with z, [N, D].
        """
        data = table("breast_cancer")
        rows = torch.cat((torch.ones_like(data.inputs[:, :1]), data.inputs), 1)
        return (2 * data.outcome - 1).unsqueeze(-1) * rows

    @property
    def dim(self) -> int:
        return self._signed_rows.shape[1]

    @property
    def truth(self) -> Reference:
        return reference(self)

    @property
    def gaussian_prior(self) -> GaussianPrior:
        return GaussianPrior.independent([0.0] * self.dim, [self.prior_scale] * self.dim)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return ("intercept", *table("breast_cancer").names)

    @property
    def stan_program(self) -> StanProgram:
        data = table("breast_cancer")
        rows, columns = data.inputs.shape
        return twin(
            "logistic_regression",
            N=rows,
            K=columns,
            x=data.inputs,
            y=data.outcome.long(),
            prior_scale=self.prior_scale,
        )

    def log_density(self, z: Tensor) -> Tensor:
        """log p(y, z): [..., D] -> [...], nats."""
        # of the log sigmoid, the gradient would need the value; of this, a record leaves it out
        misfit = softplus(-z @ self._signed_rows.T, threshold=FAR).sum(-1)
        return log_normal(z, 0.0, self.prior_scale).sum(-1) - misfit

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        """Log odds, a weight's per standard deviation of its column: [..., D] -> intercept [...],
        weights [..., 30].
        """
        return {"intercept": z[..., 0], "weights": z[..., 1:]}

    def unconstrain(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.cat((values["intercept"].unsqueeze(-1), values["weights"]), -1)
