"""Laplace's Gaussian has the mode's place and curvature, and where there is no such mode it says
so.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.base import Budget
from methods.laplace import Laplace
from methods.parts.gaussians.gaussian import Gaussian
from problems.base import Problem
from problems.eight_schools import EightSchoolsCentred
from problems.mixture import Mixture
from tests.methods.test_gaussian_vb import Normal


class Gammas(Problem):
    """Logs of independent Gamma(a, b) variables, normalised: modes at log(a / b), curvature a."""

    name: ClassVar[str] = "gammas"
    truth: Any = None
    dim = 3
    a = torch.tensor([2.0, 5.0, 40.0], dtype=torch.float64)
    b = torch.tensor([1.0, 0.01, 300.0], dtype=torch.float64)

    def log_density(self, z: Tensor) -> Tensor:
        constant = self.a * self.b.log() - torch.lgamma(self.a)
        return (constant + self.a * z - self.b * z.exp()).sum(-1)


class Saddle(Problem):
    """exp(-(x^2 - 1)^2 - y^2 / 2): a saddle at the origin, modes at x = -1 and 1."""

    name: ClassVar[str] = "saddle"
    truth: Any = None
    dim = 2

    def log_density(self, z: Tensor) -> Tensor:
        return -(z[..., 0].square() - 1).square() - 0.5 * z[..., 1].square()


class Quartic(Saddle):
    """exp(-x^4 - y^2): flat at its mode along x."""

    def log_density(self, z: Tensor) -> Tensor:
        return -(z[..., 0] ** 4) - z[..., 1].square()


class Slope(Saddle):
    """Rises for ever along x."""

    def log_density(self, z: Tensor) -> Tensor:
        return z[..., 0] - 0.5 * z[..., 1].square()


def fit(problem: Problem, seed: int = 0, **fields: Any) -> Gaussian:
    run = Laplace(**fields).run(CountedTarget(problem), Budget(), Generator().manual_seed(seed))
    return list(run)[-1]


@pytest.mark.parametrize(("dim", "condition"), [(2, 1.0), (10, 1e4), (60, 1e8)])
def test_a_gaussian_is_found_exactly(dim: int, condition: float) -> None:
    problem = Normal(dim, condition)
    q = fit(problem, starts=2)
    assert problem.divergence(q) == pytest.approx(0, abs=1e-6)
    assert q.diagnostics["log_z"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_mode_and_the_curvature_are_those_of_the_closed_form(seed: int) -> None:
    q = fit(Gammas(), seed)
    torch.testing.assert_close(q.loc, (Gammas.a / Gammas.b).log(), atol=1e-5, rtol=0)
    covariance = q.scale_tril @ q.scale_tril.T
    torch.testing.assert_close(covariance, (1 / Gammas.a).diag(), atol=1e-5, rtol=1e-4)
    # Laplace's rule for the integral is Stirling's formula for the gamma function
    stirling = Gammas.a * Gammas.a.log() - Gammas.a + 0.5 * (2 * math.pi / Gammas.a).log()
    expected = float((stirling - torch.lgamma(Gammas.a)).sum())
    assert q.diagnostics["log_z"] == pytest.approx(expected, abs=1e-5)


def test_of_several_modes_the_one_with_the_greatest_mass_counts() -> None:
    q = fit(Mixture(weight=0.3))
    assert q.loc.tolist() == pytest.approx([2.0, 2.0], abs=1e-4)
    assert q.diagnostics["log_z"] == pytest.approx(math.log(0.7), abs=1e-4)


def test_a_saddle_is_left() -> None:
    """A climb from x = 0 ends on it: the gradient has no part along x there."""

    class Ridge(Saddle):
        def log_density(self, z: Tensor) -> Tensor:
            return super().log_density(z * torch.tensor([1.0, 0.5]).double())

    target = CountedTarget(Ridge())
    found = Laplace()._mode(target, torch.tensor([0.0, 1.5], dtype=torch.float64))
    assert not isinstance(found, str)
    assert found.frame.loc.abs().tolist() == pytest.approx([1.0, 0.0], abs=1e-4)
    assert found.frame.diagonal.tolist() == pytest.approx([8**-0.5, 2.0], rel=1e-3)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (Quartic(), "may be flat there"),
        (Slope(), "may have no maximum in these coordinates"),
        (EightSchoolsCentred(), "may have no maximum in these coordinates"),
    ],
)
def test_what_has_no_mode_with_a_curvature_is_refused(problem: Problem, words: str) -> None:
    with pytest.raises(FloatingPointError, match=f"Laplace found no mode from 2 starts.*{words}"):
        fit(problem, starts=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"starts": 0}, r"Laplace\(starts=...\) must be at least 1, got 0"),
        ({"iterations": 0}, r"Laplace\(iterations=...\) must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Laplace(**fields)
