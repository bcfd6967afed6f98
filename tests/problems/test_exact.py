"""The exact problems to calibrate on: each held to the contract, and its truth to a formula or
quadrature of another kind.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from bench.checks import problem as conformance
from problems.banana import Banana
from problems.base import Problem
from problems.copula import Copula
from problems.crescents import Crescents
from problems.flow import Flow
from problems.funnel import Funnel
from problems.gaussian import Gaussian2, Gaussian100, Isotropic2, Isotropic100
from problems.gaussian_mixture import GaussianMixture2, GaussianMixture10, RandomGaussianMixture
from problems.gp_regression import GPRegression
from problems.linear_regression import LinearRegression
from problems.state_space import StateSpace
from problems.student_mixture import StudentMixture
from problems.student_t import StudentT
from problems.torus import Torus
from tests.helpers import formulas
from tests.helpers.calibration_problems import ALTERED, SHIPPED, every_problem, some
from tests.helpers.exact_problems import SIGMAS, assert_mean, exact, label, scattered, seeded

N = 20_000


@functools.cache
def draws(problem: Problem) -> Tensor:
    return exact(problem).sample(N, seeded(11))


def remade(problem: Any) -> Problem:
    return dataclasses.replace(problem)  # type: ignore[no-any-return]


@every_problem
def test_contract_holds(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bench.checks.problem_lab.SAMPLE", 5_000
    )  # a sixth, for a sixth of the time
    findings = list(conformance.check_problem(problem))
    assert [f"{f.name}: {f.why}" for f in findings if f.outcome == "fail"] == []
    passed = {f.name for f in findings if f.outcome == "pass"}
    assert passed >= {
        "gradient",
        "round trip",
        "global state",
        "truth: reproducible",
        "truth: of the density",
    }
    assert ("truth: modes" in passed) == (problem.modes is not None)


def test_each_has_a_name_and_the_dimension_it_says() -> None:
    named = {problem.name: problem.dim for problem in SHIPPED}
    assert len(named) == len(SHIPPED)
    assert all(
        int(name.rsplit("-", 1)[1]) == dim for name, dim in named.items() if name[-1].isdigit()
    )


@every_problem
def test_a_problem_is_its_fields_and_does_not_branch_on_values(problem: Problem) -> None:
    z = scattered(problem, 4)
    value, copy = problem.log_density(z), pickle.loads(pickle.dumps(problem))
    assert (copy, hash(copy), repr(copy)) == (problem, hash(problem), repr(problem))
    assert torch.equal(copy.log_density(z), value)
    assert torch.equal(remade(problem).log_density(z), value)
    torch.testing.assert_close(
        torch.func.vmap(problem.log_density)(z), value, rtol=1e-12, atol=1e-12
    )


@every_problem
def test_a_problem_made_in_inference_mode_has_gradients_later(problem: Problem) -> None:
    with torch.inference_mode():
        made = remade(problem)
        made.log_density(scattered(problem, 1))
    z = scattered(problem, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(made.log_density(z).sum(), z)
    assert bool(gradient.isfinite().all())


@every_problem
def test_draws_obey_steins_identities(problem: Problem) -> None:
    """E[g_j] = 0 and E[z_i g_j] = -[i = j], with g the gradient of log p: z_i g_j is bounded even
    in a Student-t's tails.
    """
    z = draws(problem).clone().requires_grad_()
    (g,) = torch.autograd.grad(problem.log_density(z).sum(), z)
    z = torch.cat((torch.ones(N, 1, dtype=torch.float64), z.detach()), 1)
    expected = torch.cat((torch.zeros(1, problem.dim), -torch.eye(problem.dim)))
    mean, square = z.T @ g / N, z.square().T @ g.square() / N
    stderr = ((square - mean.square()) / N).sqrt()
    assert bool(((mean - expected).abs() <= SIGMAS * stderr).all()), (
        ((mean - expected) / stderr).abs().max()
    )


@every_problem
def test_draws_are_as_spread_as_the_density_is_curved(problem: Problem) -> None:
    """E[(v'g)^2 + v'Hv] = 0, with H the Hessian, along axes or a few directions: sharper across a
    thin ridge.
    """
    z = draws(problem).clone().requires_grad_()
    (g,) = torch.autograd.grad(problem.log_density(z).sum(), z, create_graph=True)
    directions = torch.randn(4, problem.dim, generator=seeded(9), dtype=torch.float64)
    for v in torch.eye(problem.dim, dtype=torch.float64) if problem.dim <= 4 else directions:
        (Hv,) = torch.autograd.grad((g @ v).sum(), z, retain_graph=True)
        assert_mean(((g @ v).square() + Hv @ v).detach()[:, None], 0.0)


@some(Gaussian2, Isotropic2, StudentT, Banana, Funnel, RandomGaussianMixture, StudentMixture)
def test_density_equals_the_formula_of_a_library(problem: Any) -> None:
    z = scattered(problem, 100)
    torch.testing.assert_close(
        problem.log_density(z), formulas.log_density(problem, z), rtol=1e-9, atol=1e-9
    )


@some(Gaussian2, Gaussian100, Isotropic2, Isotropic100)
def test_variances_of_the_gaussians_span_the_condition(problem: Any) -> None:
    factor = problem.law.factors[0]
    expected = torch.logspace(0, -math.log10(problem.condition), problem.dim, dtype=torch.float64)
    torch.testing.assert_close(
        torch.linalg.eigvalsh(factor @ factor.T).flip(0), expected, rtol=1e-9, atol=0.0
    )


@some(Gaussian2, Gaussian100, LinearRegression, GPRegression, StateSpace)
def test_log_z_is_that_of_the_parabola(problem: Problem) -> None:
    """A quadratic log density integrates by its value and curvature at the top, one Newton step
    from anywhere.
    """
    start = scattered(problem)
    hessian = torch.func.jacrev(torch.func.grad(problem.log_density))(start)
    gradient = torch.func.grad(problem.log_density)(start)
    top = problem.log_density(start - torch.linalg.solve(hessian, gradient))
    log_z = top + 0.5 * problem.dim * math.log(2 * math.pi) - 0.5 * torch.logdet(-hessian)
    assert exact(problem).log_z == pytest.approx(float(log_z), abs=1e-8)


@some(LinearRegression, GPRegression, StateSpace)
def test_log_z_is_the_density_of_the_data_with_all_parameters_out(problem: Any) -> None:
    observed = problem.observed if isinstance(problem, StateSpace) else problem.model.observed
    covariance = formulas.signal_covariance(problem) + problem.noise**2 * np.eye(len(observed))
    expected = stats.multivariate_normal(np.zeros(len(observed)), covariance).logpdf(observed)
    assert exact(problem).log_z == pytest.approx(float(expected), abs=1e-8)


@some(Copula, Flow)
def test_density_is_the_change_of_variables_of_the_map(problem: Any) -> None:
    source = torch.randn(20, problem.dim, generator=seeded(3), dtype=torch.float64)
    correlation = formulas.toeplitz(problem) if isinstance(problem, Copula) else np.eye(problem.dim)
    jacobian = torch.func.vmap(torch.func.jacrev(problem.push))(source)
    base = formulas.double(stats.multivariate_normal(cov=correlation).logpdf(source))
    expected = base - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(
        problem.log_density(problem.push(source)), expected, rtol=1e-9, atol=1e-9
    )


# points along an axis of the plane; others 400
GRID = {
    "gaussian-2": 1200,
    "gaussian-mixture-2": 350,
    "funnel": 1200,
}
THIN_TAILS = [
    p for p in SHIPPED + ALTERED if p.dim <= 3 and not isinstance(p, StudentT | StudentMixture)
]


@pytest.mark.parametrize("problem", THIN_TAILS, ids=label)
def test_log_z_is_that_of_the_trapezoidal_rule(problem: Problem) -> None:
    """On a box wider by a quarter, each way, than the draws."""
    low, high = draws(problem).aminmax(dim=0)
    points = 110 if problem.dim == 3 else GRID.get(problem.name, 400)
    margin = (high - low) / 4
    axes = [
        a + (b - a) * torch.linspace(0, 1, points, dtype=torch.float64)
        for a, b in zip(low - margin, high + margin, strict=True)
    ]
    rest = (
        torch.cartesian_prod(*axes[1:]).reshape(-1, problem.dim - 1)
        if problem.dim > 1
        else torch.zeros(1, 0)
    )
    lines = [
        problem.log_density(torch.cat((x.expand(len(rest), 1), rest), 1)).logsumexp(0)
        for x in axes[0]
    ]
    log_z = torch.stack(lines).logsumexp(0) + sum(math.log(axis[1] - axis[0]) for axis in axes)
    assert float(log_z) == pytest.approx(exact(problem).log_z, abs=1e-5)


@some(Crescents, RandomGaussianMixture, StudentMixture)
def test_each_mode_holds_its_share_of_the_draws(problem: Any) -> None:
    weights = formulas.double(problem.modes.weights)
    assert_mean(
        torch.nn.functional.one_hot(problem.modes.label(draws(problem)), len(weights)).double(),
        weights,
    )


@some(RandomGaussianMixture)
def test_modes_of_the_gaussian_mixtures_do_not_run_into_each_other(problem: Any) -> None:
    law, noise = problem.law, torch.randn(N, problem.dim, generator=seeded(5), dtype=torch.float64)
    strays = sum(
        int((law.likeliest(law.means[k] + noise @ law.factors[k].T) != k).sum())
        for k in range(problem.components)
    )
    assert strays < 1e-4 * N * problem.components
    assert torch.pdist(law.means).min() >= 8 * problem.scale
    assert problem.modes.weights[0] == pytest.approx(
        problem.weight_ratio * problem.modes.weights[-1]
    )


def test_the_crescents_are_one_another_by_a_half_turn() -> None:
    problem, z = Crescents(), draws(Crescents())
    torch.testing.assert_close(problem.log_density(-z), problem.log_density(z))
    assert torch.equal(problem.modes.label(-z), 1 - problem.modes.label(z))
    assert problem.modes.label(formulas.double([[-1.2, 1.9], [1.2, -1.9]])).tolist() == [0, 1]


def test_skews_of_the_copula_run_from_one_sign_to_the_other() -> None:
    problem, g = Copula(), scattered(Copula(), 20)
    torch.testing.assert_close(problem.push(-g), -problem.push(g.flip(-1)).flip(-1))
    median = problem.push(torch.zeros(problem.dim, dtype=torch.float64))
    assert float(median[-1]) == pytest.approx(math.sinh(problem.skew / problem.tail))


def test_the_torus_has_its_ridge_on_the_tube() -> None:
    problem = Torus()
    outer, inner = (
        math.sqrt(problem.radius * (problem.radius + side * problem.tube)) for side in (2, -2)
    )
    ridge = formulas.double([[outer, 0, 0], [0, -inner, 0], [0, problem.radius, problem.tube]])
    off = formulas.double([0, problem.radius, problem.tube + problem.thickness])
    top = problem.log_density(ridge)
    torch.testing.assert_close(top, top.max().expand(3), rtol=0.0, atol=1e-12)
    fall = 0.5 * (1 + problem.thickness / (2 * problem.tube)) ** 2
    assert float(top[0] - problem.log_density(off)) == pytest.approx(fall)


def test_whitened_or_not_the_function_is_the_same() -> None:
    whitened, plain = GPRegression(), GPRegression(whitened=False)
    assert exact(whitened).log_z == pytest.approx(exact(plain).log_z, abs=1e-9)
    z = scattered(whitened, 3)
    moved = plain.unconstrain(whitened.constrain(z))
    jacobian = torch.linalg.slogdet(whitened.model.design).logabsdet
    torch.testing.assert_close(plain.log_density(moved) + jacobian, whitened.log_density(z))


def test_parameters_and_labels_are_those_of_the_model() -> None:
    z = scattered(StateSpace(), 3)
    assert torch.equal(StateSpace().constrain(z)["slope"], z[:, 20:])
    assert StateSpace().coordinates[19:21] == ("level[20]", "slope[1]")
    assert Funnel().coordinates[:2] == ("v", "x[1]")
    assert GPRegression(whitened=False).coordinates[0] == "f[1]"
    assert LinearRegression().coordinates[-1] == "beta[10]"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Gaussian2(condition=0.5),
            r"Gaussian2\(condition=\.\.\.\) must be 1 .* more, got 0\.5; the default is 10000\.0",
        ),
        (
            lambda: Gaussian100(dim=0),
            (
                r"Gaussian100\(dim=\.\.\.\) must be a whole number, 1 or more, got 0; the default"
                r" is 100"
            ),
        ),
        (
            lambda: StudentT(dof=2.5),
            r"StudentT\(dof=\.\.\.\) must be a whole number, 1 or more, got 2\.5",
        ),  # type: ignore[arg-type]
        (
            lambda: StudentT(correlation=1.0),
            r"StudentT\(correlation=\.\.\.\) must lie in \(-1, 1\), got 1\.0",
        ),
        (lambda: Banana(bend=math.nan), r"Banana\(bend=\.\.\.\) must be finite, got nan"),
        (lambda: Funnel(dim=1), r"Funnel\(dim=\.\.\.\) must be a whole number, 2 or more, got 1"),
        (
            lambda: Torus(radius=2.0),
            r"Torus\(radius=\.\.\.\) must be 3\.688 or more, .* axis, got 2\.0",
        ),
        (
            lambda: Crescents(spread=math.inf),
            r"Crescents\(spread=\.\.\.\) must be positive and finite, got inf",
        ),
        (
            lambda: GaussianMixture2(box=10.0),
            r"GaussianMixture2\(box=\.\.\.\) must have room for 40 means 8 apart, got 10\.0",
        ),
        (
            lambda: GaussianMixture10(weight_ratio=0.1),
            r"GaussianMixture10\(weight_ratio=\.\.\.\) must be 1 or more, got 0\.1",
        ),
        (
            lambda: StateSpace(steps=1),
            r"StateSpace\(steps=\.\.\.\) must be a whole number, 2 or more, got 1",
        ),
        (
            lambda: GPRegression(lengthscale=1e9),
            r"GPRegression: a covariance is singular .* lengthscale=1000000000\.0 \(default 0\.3\)",
        ),
        (
            lambda: Copula(tail=-1.0),
            r"Copula\(tail=\.\.\.\) must be positive and finite, got -1\.0",
        ),
    ],
)
def test_a_bad_setting_is_named_with_value_and_default(
    make: Callable[[], Problem], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()
