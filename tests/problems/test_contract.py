"""The first five problems held to the contract: density, gradient, batches, coordinates and
settings.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    HalfCauchy,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from problems.base import Problem
from problems.eight_schools import EightSchools, EightSchoolsCentred
from problems.mixture import Mixture
from problems.ring import Ring
from problems.signed_eight_schools import SignedEightSchools
from tests.helpers.exact_problems import Schools, every_problem, every_school, label, scattered


def double(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def bumps_by_hand(means: Tensor, scale: float, weights: Tensor, z: Tensor) -> Tensor:
    bumps = MultivariateNormal(means, scale**2 * torch.eye(2, dtype=torch.float64))
    return MixtureSameFamily(Categorical(weights), bumps).log_prob(z)


def mixture_by_hand(p: Mixture, z: Tensor) -> Tensor:
    return bumps_by_hand(
        p.separation * double([-1, -1], [1, 1]), p.scale, double(p.weight, 1 - p.weight), z
    )


def ring_by_hand(p: Ring, z: Tensor) -> Tensor:
    angles = [2 * math.pi * k / p.bumps for k in range(p.bumps)]
    means = p.radius * double(*[[math.cos(angle), math.sin(angle)] for angle in angles])
    return bumps_by_hand(means, p.scale, torch.ones(p.bumps, dtype=torch.float64), z)


def schools_by_hand(p: Schools, z: Tensor) -> Tensor:
    centred, signed = isinstance(p, EightSchoolsCentred), isinstance(p, SignedEightSchools)
    mu, tau, rest = z[..., 0], z[..., 1] if signed else z[..., 1].exp(), z[..., 2:]
    theta = rest if centred else mu[..., None] + tau[..., None] * rest
    prior = Normal(0.0, double(p.mu_scale)).log_prob(mu[..., None]).squeeze(-1)
    prior += (
        Normal(0.0, double(p.tau_scale)).log_prob(tau)
        if signed
        else HalfCauchy(double(p.tau_scale)).log_prob(tau) + z[..., 1]
    )
    groups = Normal(mu[..., None], tau[..., None]) if centred else Normal(double(0), double(1))
    return (
        prior
        + groups.log_prob(rest).sum(-1)
        + Normal(theta, double(*p.sigma)).log_prob(double(*p.y)).sum(-1)
    )


@every_problem
def test_density_equals_the_model_written_with_torch_distributions(problem: Problem) -> None:
    z = scattered(problem, 200)
    by_hand: dict[type, Callable[[Any, Tensor], Tensor]] = {
        Mixture: mixture_by_hand,
        Ring: ring_by_hand,
    }
    expected = by_hand.get(type(problem), schools_by_hand)(problem, z)
    torch.testing.assert_close(problem.log_density(z), expected, rtol=1e-12, atol=1e-12)


@every_problem
def test_gradient_equals_finite_differences(problem: Problem) -> None:
    z = scattered(problem, 5).requires_grad_()
    assert torch.autograd.gradcheck(problem.log_density, (z,), atol=1e-5, rtol=1e-5)


@every_problem
@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3)], ids=str)
def test_density_takes_any_batch(problem: Problem, shape: tuple[int, ...]) -> None:
    z = scattered(problem, *shape)
    value = problem.log_density(z)
    assert (value.shape, value.dtype) == (shape, torch.float64)
    rows = [problem.log_density(row) for row in z.reshape(-1, problem.dim)]
    torch.testing.assert_close(
        value.flatten(), torch.stack(rows) if rows else value.flatten(), rtol=1e-13, atol=1e-12
    )


@every_problem
@pytest.mark.parametrize("size", [0.0, 50.0])
def test_density_and_gradient_stay_finite_far_out(problem: Problem, size: float) -> None:
    corners = torch.cartesian_prod(
        *[torch.tensor([-size, size], dtype=torch.float64)] * problem.dim
    ).requires_grad_()
    value = problem.log_density(corners)
    (gradient,) = torch.autograd.grad(value.sum(), corners)
    assert bool(value.isfinite().all())
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("problem", [EightSchools(), EightSchoolsCentred()], ids=label)
@pytest.mark.parametrize("log_tau", [-2000.0, 2000.0])
@pytest.mark.parametrize("rest", [0.0, 3.0])
def test_a_spread_beyond_all_numbers_gives_no_nan(
    problem: Schools, log_tau: float, rest: float
) -> None:
    z = torch.full((problem.dim,), rest, dtype=torch.float64)
    z[1] = log_tau
    z.requires_grad_()
    value = problem.log_density(z)
    (gradient,) = torch.autograd.grad(value, z)
    assert bool(value.isfinite())
    assert bool(gradient.isfinite().all())


@every_problem
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)], ids=str)
def test_constrain_and_back_is_the_identity(problem: Problem, shape: tuple[int, ...]) -> None:
    z = scattered(problem, *shape)
    values = problem.constrain(z)
    assert all(value.shape[: len(shape)] == shape for value in values.values())
    torch.testing.assert_close(problem.unconstrain(values), z, rtol=1e-12, atol=1e-12)


@every_school
def test_parameters_are_in_the_units_of_the_model(problem: Schools) -> None:
    z = scattered(problem, 6)
    values = problem.constrain(z)
    tau = z[:, 1] if isinstance(problem, SignedEightSchools) else z[:, 1].exp()
    theta = (
        z[:, 2:] if isinstance(problem, EightSchoolsCentred) else z[:, :1] + tau[:, None] * z[:, 2:]
    )
    assert list(values) == ["mu", "tau", "theta"]
    for name, expected in (("mu", z[:, 0]), ("tau", tau), ("theta", theta)):
        torch.testing.assert_close(values[name], expected)


@every_problem
def test_every_coordinate_has_a_label_of_its_own(problem: Problem) -> None:
    assert len(set(problem.coordinates)) == problem.dim


def test_labels_name_the_parameters() -> None:
    assert EightSchools().coordinates[:3] == ("mu", "log tau", "eta[1]")
    assert EightSchoolsCentred().coordinates[-1] == "theta[8]"
    assert SignedEightSchools().coordinates[1] == "tau"


@every_problem
def test_a_problem_is_its_fields(problem: Problem) -> None:
    copy = pickle.loads(pickle.dumps(problem))
    assert (copy, hash(copy), repr(copy)) == (problem, hash(problem), repr(problem))
    assert torch.equal(
        copy.log_density(scattered(problem, 3)), problem.log_density(scattered(problem, 3))
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture(weight=1.0), r"Mixture\(weight=\.\.\.\) must lie in \(0, 1\), got 1\.0"),
        (
            lambda: Mixture(separation=-1.0),
            r"Mixture\(separation=\.\.\.\) must be positive and finite, got -1\.0",
        ),
        (
            lambda: Mixture(scale=math.nan),
            r"Mixture\(scale=\.\.\.\) must be positive and finite, got nan",
        ),
        (lambda: Ring(bumps=1), r"Ring\(bumps=\.\.\.\) must be a whole number, 2 or more, got 1"),
        (lambda: Ring(radius=0.0), r"Ring\(radius=\.\.\.\) must be positive and finite, got 0\.0"),
        (
            lambda: EightSchools(mu_scale=math.inf),
            r"EightSchools\(mu_scale=\.\.\.\) must be positive and finite, got inf",
        ),
        (lambda: EightSchools(y=()), r"EightSchools\(y=\.\.\.\) must be a tuple .* got \(\)"),
        (
            lambda: EightSchoolsCentred(y=(1.0,)),
            r"EightSchoolsCentred\(sigma=\.\.\.\) must have one entry for each of the 1",
        ),
        (
            lambda: SignedEightSchools(tau_scale=0.0),
            r"SignedEightSchools\(tau_scale=\.\.\.\) must be positive and finite",
        ),
        (
            lambda: SignedEightSchools(y=(1.0,), sigma=(0.0,)),
            r"SignedEightSchools\(sigma=\.\.\.\) must hold positive",
        ),
        (
            lambda: EightSchools(y=[1.0], sigma=(1.0,)),
            r"EightSchools\(y=\.\.\.\) must be a tuple .* got \[1\.0\]",
        ),  # type: ignore[arg-type]
    ],
)
def test_a_bad_setting_is_named_with_its_value(make: Callable[[], Problem], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [lambda: Ring(bumps=13), lambda: EightSchools(mu_scale=5.25, sigma=(9.0,) * 8)],
    ids=["ring", "schools"],
)
def test_a_problem_made_in_inference_mode_has_gradients_later(make: Callable[[], Problem]) -> None:
    with torch.inference_mode():
        problem = make()
    z = scattered(problem, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(problem.log_density(z).sum(), z)
    assert bool(gradient.isfinite().all())
