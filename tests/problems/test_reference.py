"""The problems without an exact truth: their densities against models written out in
torch.distributions, and the contract.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.fitting.target import WARM_UP, CountedTarget
from problems.base import Problem
from problems.gp_classification import GPClassification
from problems.horseshoe import Horseshoe
from problems.logistic_regression import LogisticRegression
from problems.parts import stored
from problems.parts.tables import table
from problems.poisson_effects import PoissonEffects
from tests.helpers.exact_problems import SIGMAS, assert_mean, scattered, seeded
from tests.helpers.reference_problems import (
    ALTERED,
    SHIPPED,
    every_problem,
    log_joint,
    shipped_problem,
    unit,
)
from tests.helpers.third_routes import horseshoe_means, poisson_quadrature


def flat(values: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.reshape(-1) for value in values.values()])


@pytest.fixture(autouse=True)
def _shipped_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "folders", lambda: [stored.SHIPPED])


@every_problem
def test_density_is_the_model_in_its_own_units_times_the_jacobian(problem: Problem) -> None:
    for z in scattered(problem, 4):
        jacobian = torch.func.jacrev(lambda point: flat(problem.constrain(point)))(z)
        expected = (
            log_joint(problem, problem.constrain(z)) + torch.linalg.slogdet(jacobian).logabsdet
        )
        torch.testing.assert_close(problem.log_density(z), expected, rtol=1e-9, atol=1e-9)


@every_problem
def test_gradient_is_that_of_finite_differences(problem: Problem) -> None:
    z = 0.5 * scattered(problem, 2)
    assert torch.autograd.gradcheck(problem.log_density, z.requires_grad_(), rtol=1e-5, atol=1e-5)


@every_problem
def test_rows_do_not_see_each_other(problem: Problem) -> None:
    z = scattered(problem, 6)
    alone = torch.stack([problem.log_density(row) for row in z])
    assert (alone.dtype, alone.shape) == (torch.float64, (6,))
    torch.testing.assert_close(
        problem.log_density(z.reshape(2, 3, -1)), alone.reshape(2, 3), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        torch.func.vmap(problem.log_density)(z), alone, rtol=1e-12, atol=1e-12
    )


@every_problem
@pytest.mark.parametrize("far", [10.0, 50.0, 1000.0])
def test_density_and_gradient_are_finite_far_out(problem: Problem, far: float) -> None:
    corners = (
        2.0 * torch.randint(2, (200, problem.dim), generator=seeded(3), dtype=torch.float64) - 1
    )
    ends = torch.ones(2, problem.dim, dtype=torch.float64) * torch.tensor([[1.0], [-1.0]])
    z = (far * torch.cat((corners, ends))).requires_grad_()
    value = problem.log_density(z)
    (gradient,) = torch.autograd.grad(value.sum(), z)
    assert bool(value.isfinite().all())
    assert bool(gradient.isfinite().all())
    assert bool((value < problem.log_density(torch.zeros(problem.dim, dtype=torch.float64))).all())


def test_rates_too_large_to_be_likely_still_push_back() -> None:
    z = torch.zeros(2, 23, dtype=torch.float64)
    z[:, 0] = torch.tensor([60.0, 1000.0])
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(PoissonEffects().log_density(z).sum(), z)
    assert bool((gradient[:, 0] < -math.exp(50)).all())


@every_problem
def test_constrain_and_back(problem: Problem) -> None:
    z = scattered(problem, 2, 3)
    values = problem.constrain(z)
    assert all(value.shape[:2] == (2, 3) for value in values.values())
    torch.testing.assert_close(problem.unconstrain(values), z, rtol=1e-9, atol=1e-9)


@every_problem
def test_gradients_are_recorded_and_replayed(problem: Problem) -> None:
    fast, plain = CountedTarget(problem), CountedTarget(problem, compiled=False)
    for _ in range(WARM_UP + 1):
        fast.value_and_grad(scattered(problem, 3))
    z = -scattered(problem, 3)
    for seen, expected in zip(fast.value_and_grad(z), plain.value_and_grad(z), strict=True):
        torch.testing.assert_close(seen, expected, rtol=1e-12, atol=1e-12)
    assert fast.recorded == 1


@every_problem
def test_a_problem_is_its_fields(problem: Any) -> None:
    z, copy, remade = (
        scattered(problem, 3),
        pickle.loads(pickle.dumps(problem)),
        dataclasses.replace(problem),
    )
    assert copy == remade == problem
    assert len({copy, remade, problem}) == 1
    assert repr(copy) == repr(problem)
    for other in (copy, remade):
        assert torch.equal(other.log_density(z), problem.log_density(z))


@every_problem
def test_a_problem_made_in_inference_mode_has_gradients_later(problem: Any) -> None:
    with torch.inference_mode():
        made = dataclasses.replace(problem)
        made.log_density(scattered(problem, 1))
    z = scattered(problem, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(made.log_density(z).sum(), z)
    assert bool(gradient.isfinite().all())


@shipped_problem
def test_without_a_reference_the_truth_says_how_to_make_one(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "folders", lambda: [tmp_path])
    with pytest.raises(
        stored.UncertifiedError, match=rf"{problem.name}.*postbench reference build"
    ):
        _ = problem.truth


@shipped_problem
def test_the_shipped_reference_is_certified_for_this_density(problem: Problem) -> None:
    truth = stored.reference(problem)
    assert truth.draws.shape == (10_000, problem.dim)
    assert truth.log_z_stderr is not None
    assert 0 < truth.log_z_stderr < 0.05


def test_the_horseshoe_agrees_with_its_gibbs_sampler() -> None:
    values = Horseshoe().constrain(stored.reference(Horseshoe()).draws)
    scales = (values["lambda"], values["tau"].unsqueeze(-1), values["sigma"].unsqueeze(-1))
    seen = torch.cat((values["weights"], *(scale.log() for scale in scales)), -1)
    seen = torch.cat((seen, (seen - seen.mean(0)).square()), -1)
    means = horseshoe_means(Horseshoe(), seen.mean(0)[: seen.shape[1] // 2], 200, 300, seeded(1))
    stderr = (means.var(0) / len(means) + seen.var(0) / len(seen)).sqrt()
    assert bool(((means.mean(0) - seen.mean(0)).abs() < SIGMAS * stderr).all()), (
        means.mean(0) - seen.mean(0)
    ) / stderr


def test_the_random_effects_agree_with_quadrature() -> None:
    truth = stored.reference(PoissonEffects())
    draws = truth.draws[:, :3]
    reach = 5.5 * draws.std(0)
    log_z, mean, sd = poisson_quadrature(
        PoissonEffects(), draws.mean(0) - reach, draws.mean(0) + reach, 24
    )
    assert truth.log_z is not None
    assert truth.log_z_stderr is not None
    assert truth.log_z == pytest.approx(
        log_z, abs=SIGMAS * truth.log_z_stderr + 1e-3
    )  # the rule is off by 1e-4
    assert_mean(draws, mean)
    assert_mean((draws - mean).square(), sd.square())


def test_dimensions_and_labels() -> None:
    assert [problem.dim for problem in SHIPPED] == [31, 22, 23, 42]
    for problem in SHIPPED + ALTERED:
        assert len(set(problem.coordinates)) == problem.dim
    assert SHIPPED[0].coordinates[:2] == ("intercept", "mean radius")
    assert SHIPPED[1].coordinates[2::10] == ("u bmi", "log lambda bmi")
    assert SHIPPED[2].coordinates[2:4] == ("log tau", "u[1]")
    assert SHIPPED[3].coordinates[1:3] == ("log l", "w[1]")


def test_the_tables_are_those_that_everybody_uses() -> None:
    cancer, diabetes = table("breast_cancer"), table("diabetes")
    assert (*cancer.inputs.shape, *diabetes.inputs.shape) == (569, 30, 442, 10)
    assert (int(cancer.outcome.sum()), set(cancer.outcome.tolist())) == (
        212,
        {0.0, 1.0},
    )  # malignant
    for data in (cancer, diabetes):
        torch.testing.assert_close(data.inputs.square().mean(0), torch.ones_like(data.inputs[0]))
        torch.testing.assert_close(
            data.inputs.mean(0), torch.zeros_like(data.inputs[0]), rtol=0.0, atol=1e-12
        )
    y = unit(diabetes.outcome)
    weights = torch.linalg.lstsq(diabetes.inputs, y.unsqueeze(-1)).solution
    explained = 1 - (y - (diabetes.inputs @ weights).squeeze(-1)).square().mean()
    assert float(explained) == pytest.approx(
        0.5177, abs=5e-5
    )  # R^2 of least squares, as in every textbook that uses them


def test_counts_are_drawn_from_the_model() -> None:
    """Moments at a = 0, b = 0.5, tau = 0.8, of a rate that is log-normal."""
    counts = PoissonEffects(groups=40_000, rows=2, seed=5).counts
    rate = math.exp((0.5**2 + 0.8**2) / 2)
    assert_mean(counts.x.square(), 1.0)
    assert_mean(counts.y, rate)
    assert_mean(counts.x * counts.y, 0.5 * rate)
    assert_mean(counts.y * (counts.y - 1), rate**2 * math.exp(0.5**2 + 0.8**2))
    # two of one group share its effect
    assert_mean(counts.y.prod(-1, keepdim=True), rate**2 * math.exp(0.8**2))


def test_labels_are_drawn_from_the_model() -> None:
    """How often labels a distance apart agree, at a = 3, l = 0.3: E[y y'] = E[tanh(f / 2) tanh(f' /
    2)].
    """
    labels = torch.stack([GPClassification(inputs=21, seed=seed).labels for seed in range(1000)])
    assert set(labels.flatten().tolist()) == {-1.0, 1.0}
    assert_mean(labels, 0.0)
    grid = torch.linspace(-8, 8, 401, dtype=torch.float64)
    weight = torch.exp(-0.5 * (grid.square() + grid.square().unsqueeze(-1)))
    for steps in (1, 5):
        kept = math.exp(-steps / 20 / 0.3)
        later = kept * grid.unsqueeze(-1) + math.sqrt(1 - kept**2) * grid
        agreement = (
            (1.5 * grid).tanh().unsqueeze(-1) * (1.5 * later).tanh() * weight
        ).sum() / weight.sum()
        assert_mean((labels[:, steps:] * labels[:, :-steps]).mean(-1, keepdim=True), agreement)


@pytest.mark.parametrize("kind", [PoissonEffects, GPClassification])
def test_the_seed_decides_the_data(kind: Any) -> None:
    z = scattered(kind(), 1)
    values = [kind(seed=seed).log_density(z).item() for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: LogisticRegression(prior_scale=0.0),
            r"LogisticRegression\(prior_scale=\.\.\.\) must be positive and finite, got 0",
        ),
        (
            lambda: Horseshoe(relevant=10.0),
            r"Horseshoe\(relevant=\.\.\.\) must be less than the number of weights, 10, got 10\.0",
        ),
        (
            lambda: Horseshoe(relevant=-1.0),
            (
                r"Horseshoe\(relevant=\.\.\.\) must be positive and finite, got -1\.0; the default"
                r" is 3\.0"
            ),
        ),
        (
            lambda: PoissonEffects(groups=0),
            r"PoissonEffects\(groups=\.\.\.\) must be a whole number, 1 or more, got 0",
        ),
        (
            lambda: PoissonEffects(spread_scale=math.nan),
            r"PoissonEffects\(spread_scale=\.\.\.\) must be positive and finite, got nan",
        ),
        (
            lambda: GPClassification(inputs=1),
            r"GPClassification\(inputs=\.\.\.\) must be a whole number, 2 or more, got 1",
        ),
        (
            lambda: GPClassification(seed=0.5),
            r"GPClassification\(seed=\.\.\.\) must be a whole number, 0 or more, got 0\.5",
        ),  # type: ignore[arg-type]
    ],
)
def test_a_bad_setting_is_named_with_value_and_default(
    make: Callable[[], Problem], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()
