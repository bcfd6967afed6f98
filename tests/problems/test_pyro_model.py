"""A Pyro model as a problem: its density, coordinates and truth, against ours and against Pyro's
own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.mcmc.util import initialize_model
from torch import Generator, Tensor
from torch.distributions import constraints

from bench.fitting.target import WARM_UP, CountedTarget
from problems.eight_schools import EightSchools
from problems.models.pyro_model import PyroModel
from problems.parts import stored
from problems.parts.stored import UncertifiedError

Y = torch.tensor([28.0, 8, -3, 7, -1, 1, 18, 12])
SIGMA = torch.tensor([15.0, 10, 16, 11, 9, 11, 10, 18])


def schools(sigma: Tensor, y: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(y)):
        eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * eta)
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def mixed(counts: Tensor) -> None:
    """Every kind of support, a plate in a plate, a mask, a scale and a factor."""
    share = pyro.sample("share", dist.Dirichlet(torch.ones(3)))
    rate = pyro.sample("rate", dist.Gamma(2.0, 0.1).expand([2]).to_event(1))
    level = pyro.sample("level", dist.Uniform(-1.0, 3.0))
    root = pyro.sample("root", dist.LKJCholesky(3, 1.5))
    with pyro.plate("rows", 2, dim=-2), pyro.plate("columns", 3, dim=-1), poutine.scale(scale=0.7):
        cells = pyro.sample("cells", dist.Normal(level, 0.1))
    with poutine.mask(mask=torch.tensor([True, False])):
        pyro.sample("kept", dist.Normal(cells, 1.0).to_event(1), obs=torch.zeros(2, 3))
    pyro.factor("tied", -(rate.sum() * root[2, 2]))
    pyro.sample("counts", dist.Poisson(10 * share).to_event(1), obs=counts)


def nested() -> None:
    """A support that depends on the site before it."""
    top = pyro.sample("top", dist.Exponential(0.5))
    pyro.sample("below", dist.Uniform(0.0, top))


def branching(y: Tensor) -> None:
    """Python looks at a value, which no batch can do."""
    x = pyro.sample("x", dist.Normal(0.0, 2.0))
    scale = 1.0 if x > 0 else 3.0
    pyro.sample("y", dist.Normal(x, scale), obs=y)


def rows(problem: PyroModel, n: int = 6) -> Tensor:
    return torch.randn(n, problem.dim, generator=Generator().manual_seed(3), dtype=torch.float64)


MODELS = [
    PyroModel(schools, (SIGMA, Y), name="schools"),
    PyroModel(mixed, kwargs={"counts": torch.tensor([3.0, 0, 5])}, name="mixed"),
    PyroModel(nested, name="nested"),
    PyroModel(branching, (torch.tensor(0.3),), name="branching"),
]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says once that it cannot be run at once
    assert not MODELS[3].batched
every_model = pytest.mark.parametrize("problem", MODELS, ids=lambda problem: problem.name)


def test_eight_schools_is_our_eight_schools() -> None:
    theirs, ours = MODELS[0], EightSchools()
    assert theirs.coordinates == ours.coordinates
    z = 2 * rows(theirs, 100)
    torch.testing.assert_close(theirs.log_density(z), ours.log_density(z), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        CountedTarget(theirs).value_and_grad(z)[1],
        CountedTarget(ours).value_and_grad(z)[1],
        rtol=0,
        atol=1e-9,
    )
    for name, value in ours.constrain(z).items():
        torch.testing.assert_close(theirs.constrain(z)[name], value, rtol=1e-12, atol=1e-12)


def test_every_kind_of_site_counts_as_in_pyro() -> None:
    problem = MODELS[1]
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(devices=[]):  # Pyro draws its starting point
            _, potential, transforms, _ = initialize_model(
                mixed, model_kwargs={"counts": torch.tensor([3.0, 0, 5])}
            )
        for z in rows(problem):
            free, at = {}, 0
            for site in problem.sites:
                free[site.name] = z[at : at + site.size].reshape(site.free)
                at += site.size
            assert float(problem.log_density(z)) == pytest.approx(-float(potential(free)), abs=1e-9)
            for name, value in problem.constrain(z).items():
                torch.testing.assert_close(
                    transforms[name].inv(free[name]), value, rtol=1e-12, atol=1e-12
                )
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_support_may_depend_on_the_site_before() -> None:
    problem = MODELS[2]
    top, below = problem.constrain(rows(problem, 50)).values()
    assert bool((below < top).all())
    grid = torch.cartesian_prod(*[torch.linspace(-25, 25, 1001, dtype=torch.float64)] * 2)
    mass = problem.log_density(grid).exp().sum() * 0.05**2
    assert float(mass) == pytest.approx(1.0, abs=1e-6)


@every_model
@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 3)], ids=str)
def test_any_batch_row_by_row(problem: PyroModel, shape: tuple[int, ...]) -> None:
    z = rows(problem, math.prod(shape)).reshape(*shape, problem.dim)
    value = problem.log_density(z)
    assert (value.shape, value.dtype) == (shape, torch.float64)
    alone = [problem.log_density(row) for row in z.reshape(-1, problem.dim)]
    torch.testing.assert_close(
        value.flatten(), torch.stack(alone) if alone else value.flatten(), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(problem.unconstrain(problem.constrain(z)), z, rtol=1e-9, atol=1e-9)


@every_model
def test_the_gradient_is_that_of_the_density(problem: PyroModel) -> None:
    assert torch.autograd.gradcheck(
        problem.log_density, (rows(problem, 2).requires_grad_(),), atol=1e-5, rtol=1e-5
    )


@every_model
def test_every_coordinate_has_a_label_of_its_own(problem: PyroModel) -> None:
    assert len(set(problem.coordinates)) == problem.dim


def test_labels_say_how_the_site_was_freed() -> None:
    labels = MODELS[1].coordinates
    assert labels[:5] == (
        "free share[1]",
        "free share[2]",
        "log rate[1]",
        "log rate[2]",
        "free level",
    )
    assert labels[-1] == "cells[2,3]"


def lkj(law: Any) -> PyroModel:
    """A scale, a correlation of that law, and a discrete site."""

    def model() -> None:
        pyro.sample("s", dist.HalfNormal(torch.ones(2)).to_event(1))
        pyro.sample("u", dist.Uniform(-1.0, 2.0))
        pyro.sample("x", law(3, 1.5))
        pyro.sample("k", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.3))

    return PyroModel(model)


def test_every_site_says_its_transform_and_whether_a_factor_or_a_matrix_has_the_density() -> None:
    pytest.importorskip("zuko")  # it gives torch's class of inverses another name
    said = lkj(dist.LKJCholesky).transforms
    assert list(said) == ["s", "u", "x", "k"]
    assert said["s"] == "HalfNormal, support GreaterThanEq; from its coordinates by ExpTransform"
    assert "SigmoidTransform, then AffineTransform" in said["u"]
    assert "CorrCholeskyTransform; the density is of the Cholesky factor L, not" in said["x"]
    assert "summed out" in said["k"]
    whole = lkj(dist.LKJ).transforms["x"]
    assert "the inverse of CorrMatrixCholeskyTransform" in whole
    assert "the density is of the correlation matrix, not of its Cholesky factor" in whole
    assert MODELS[0].transforms["mu"] == "Normal, support Real; its own coordinates"


@pytest.mark.filterwarnings("ignore:.* is run row by row")
def test_a_correlation_and_its_factor_are_one_law_in_coordinates() -> None:
    """The density of the matrix and that of the factor differ by a Jacobian, and so do the
    transforms that lead to them.
    """
    factor, matrix = lkj(dist.LKJCholesky), lkj(dist.LKJ)
    z = rows(factor)
    apart = factor.log_density(z) - matrix.log_density(z)
    torch.testing.assert_close(apart, apart[0].expand(6), rtol=0, atol=1e-9)
    root, whole = factor.constrain(z)["x"], matrix.constrain(z)["x"]
    torch.testing.assert_close(root @ root.mT, whole)
    assert factor.coordinates == matrix.coordinates


def test_a_model_that_is_run_with_fillings_by_name_is_float64() -> None:
    def model() -> None:
        pyro.sample("x", dist.Normal(torch.full(size=(2,), fill_value=0.1), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(torch.full((), 0.1), 1.0), obs=torch.tensor(0.3))

    z = torch.zeros(1, 2, dtype=torch.float64)
    exact = -3 * 0.5 * math.log(2 * math.pi) - 0.5 * (0.01 + 0.01 + 0.04)
    assert float(PyroModel(model).log_density(z)) == pytest.approx(exact, rel=1e-14)


def test_a_model_that_branches_is_run_row_by_row_and_the_others_at_once() -> None:
    with pytest.warns(UserWarning, match="torch.vmap stops at the site 'y' or what leads up to it"):
        fresh = [PyroModel(branching, (torch.tensor(0.3),)).batched]
    assert [problem.batched for problem in MODELS[:3]] + fresh == [True, True, True, False]


@pytest.mark.parametrize("problem", MODELS[:3], ids=lambda problem: problem.name)
def test_the_gradient_is_recorded(problem: PyroModel) -> None:
    target, z = CountedTarget(problem), rows(problem)
    for _ in range(WARM_UP + 1):
        target.value_and_grad(z)
    assert target.recorded == 1
    again = CountedTarget(problem, compiled=False).value_and_grad(2 * z)
    for seen, expected in zip(target.value_and_grad(2 * z), again, strict=True):
        torch.testing.assert_close(seen, expected, rtol=1e-12, atol=1e-12)


def test_constants_and_arguments_are_float64() -> None:
    def tenth(data: dict[str, Any]) -> None:
        x = pyro.sample("x", dist.Normal(torch.zeros(2), 0.1).to_event(1))
        pyro.sample("y", dist.Normal(x.sum() * torch.full((), 0.3), 0.7), obs=data["y"][0])

    problem = PyroModel(tenth, ({"y": [torch.tensor(0.5)]},))
    z = rows(problem, 1)[0]
    normal = torch.distributions.Normal(
        torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    )
    residual = (0.5 - 0.3 * z.sum()) / 0.7
    expected = (
        normal.log_prob(z / 0.1).sum()
        - 2 * math.log(0.1)
        + normal.log_prob(residual)
        - math.log(0.7)
    )
    assert float(problem.log_density(z)) == pytest.approx(float(expected), abs=1e-11)


def test_nothing_global_is_touched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    problem = PyroModel(schools, (SIGMA, Y))
    problem.log_density(rows(problem))
    problem.constrain(rows(problem))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32
    assert not list(pyro.get_param_store())


def _discrete() -> None:
    pyro.sample("k", dist.Poisson(0.5))


def _parameter() -> None:
    pyro.sample("x", dist.Normal(pyro.param("loc", torch.zeros(())), 1.0))


def _subsampled() -> None:
    with pyro.plate("rows", 10, subsample_size=2):
        pyro.sample("x", dist.Normal(0.0, 1.0))


def _nothing() -> None:
    pyro.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))


class _Odd(dist.Normal):
    support = constraints.Constraint()


def _odd() -> None:
    pyro.sample("x", _Odd(0.0, 1.0, validate_args=False))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            _discrete,
            r"model=_discrete\): the site 'k' is discrete, and a Poisson has no finite list",
        ),
        (_parameter, r"model=_parameter\) has the parameter 'loc'; a posterior has none"),
        (_subsampled, r"model=_subsampled\): the plate 'rows' is subsampled"),
        (_nothing, r"model=_nothing\) has no unobserved continuous sample"),
        (_odd, r"model=_odd\): the site 'x' has a support that Pyro has no transform for"),
    ],
)
def test_a_model_that_is_no_posterior_is_named_with_the_reason(
    model: Callable[[], None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PyroModel(model)


def test_a_bad_argument_of_a_distribution_is_found_at_once() -> None:
    with pytest.raises(ValueError, match="scale"):
        PyroModel(schools, (-SIGMA, Y))


def test_without_a_reference_the_truth_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv(stored.VARIABLE, str(tmp_path))
    with pytest.raises(
        UncertifiedError, match=r"no certified reference for 'schools'.*postbench reference build"
    ):
        _ = MODELS[0].truth
