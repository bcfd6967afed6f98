"""Pyro models at their edges: supports that depend on the data, data that are no numbers, sites
that cannot be run at once, values on the edge of a support.
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
from torch import Generator, Tensor

from bench.fitting.target import WARM_UP, CountedTarget
from methods.base import Budget
from methods.gaussian_vb import GaussianVB
from methods.pyro_mcmc import PyroNUTS
from problems.models.pyro_model import PyroModel

COUNTS = torch.tensor([3.0, 0, 5])


def ceiling(y: Tensor) -> None:
    """y ~ Uniform(0, theta): theta lies above the data, and so does not at the origin."""
    theta = pyro.sample("theta", dist.Gamma(2.0, 0.5))
    pyro.sample("y", dist.Uniform(torch.zeros(()), theta), obs=y)


def shifted(y: Tensor) -> None:
    """A lognormal that starts at a place to be inferred."""
    place = pyro.sample("place", dist.Normal(2.0, 1.0))
    law = dist.LogNormal(0.0, 1.0).expand(y.shape)
    shift = dist.transforms.AffineTransform(place, 1.0)
    pyro.sample("y", dist.TransformedDistribution(law, [shift]).to_event(1), obs=y)


def rooted(y: Tensor) -> None:
    """A scale that the origin makes zero."""
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(0.0, x.abs()), obs=y)


def count(counts: Tensor) -> None:
    share = pyro.sample("share", dist.Dirichlet(torch.tensor([5.0, 5.0, 0.5])))
    pyro.sample("counts", dist.Multinomial(8, share), obs=counts)


def graded(y: Tensor) -> None:
    x = pyro.sample("x", dist.Normal(0.0, 2.0))
    pyro.sample("y", dist.OrderedLogistic(x, torch.tensor([-1.0, 1.0])), obs=y)


def test_a_support_that_the_data_bound_has_the_right_density() -> None:
    """p(theta) theta^-1 above 2.2, nothing below, and the log of theta as coordinate."""
    problem = PyroModel(ceiling, (torch.tensor(2.2),))
    assert problem.coordinates == ("log theta",)
    z = torch.tensor([[0.0], [0.7], [0.9], [2.0]], dtype=torch.float64)
    theta = z.squeeze(-1).exp()
    prior = theta.log() - 0.5 * theta + 2 * math.log(0.5)  # of Gamma(2, 0.5)
    expected = torch.where(theta > 2.2, prior - theta.log() + z.squeeze(-1), -math.inf)
    torch.testing.assert_close(problem.log_density(z), expected, rtol=1e-12, atol=1e-12)
    grid = torch.linspace(math.log(2.2), 5, 200_001, dtype=torch.float64).unsqueeze(-1)
    mass = torch.trapezoid(problem.log_density(grid[1:]).exp(), grid[1:, 0])
    # the integral over theta > 2.2 of 0.25 exp(-theta / 2)
    assert float(mass) == pytest.approx(0.5 * math.exp(-1.1), rel=1e-4)


def test_a_place_beyond_the_data_has_no_density_instead_of_nan() -> None:
    y = torch.tensor([1.5, 2.5, 4.0])
    problem = PyroModel(shifted, (y,))
    z = torch.tensor([[1.0], [1.6], [5.0]], dtype=torch.float64)
    gap = (y.double() - 1.0).log()
    normal = -0.5 * math.log(2 * math.pi)
    expected = (-0.5 * gap.square() - gap + normal).sum() - 0.5 + normal
    value = problem.log_density(z)
    assert value.tolist() == pytest.approx([float(expected), -math.inf, -math.inf])


@pytest.mark.parametrize(
    ("model", "data", "low"),
    [(ceiling, torch.tensor(2.2), math.log(2.2)), (shifted, torch.tensor([1.5, 2.5]), -math.inf)],
    ids=["ceiling", "shifted"],
)
def test_they_can_be_sampled(model: Callable[..., None], data: Tensor, low: float) -> None:
    target = CountedTarget(PyroModel(model, (data,)))
    method = PyroNUTS(chains=1, warmup=30, draws=30)
    draws = list(method.run(target, Budget(), Generator().manual_seed(0)))[-1].chains
    assert bool(draws.isfinite().all())
    assert float(draws.min()) > low
    assert float(draws.std()) > 0.05


def test_a_point_where_the_arguments_are_unsound_is_not_the_model() -> None:
    problem = PyroModel(rooted, (torch.tensor(0.3),))
    z = torch.tensor([1.0], dtype=torch.float64)
    assert float(problem.log_density(z)) == pytest.approx(
        -math.log(2 * math.pi) - 0.5 - 0.045, abs=1e-7
    )


def _negative(y: Tensor) -> None:
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Exponential(x.exp()).expand(y.shape).to_event(1), obs=y)


def _scale(y: Tensor) -> None:
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(x, y - 10).to_event(1), obs=y)


def _plain(y: Tensor) -> None:
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(x, 1.0), obs=y)


THREE = torch.tensor([1.0, -2.0, 3.0])
HOLE = torch.tensor([1.0, math.nan, 3.0])
# what each model is given, what must be said, and why it used to be hard to find
REFUSED: dict[str, tuple[Callable[..., None], Tensor, str]] = {
    "NaN in the data": (_plain, HOLE, r"the site 'y': 1 of 3 of its data are NaN; leave them out"),
    "data outside every support": (
        _negative,
        THREE,
        r"the site 'y': 1 of \d of its data lie outside the support",
    ),
    "an argument that is never sound": (
        _scale,
        THREE,
        r"the site 'y': Normal takes a scale in .*, and 3 of 3 of them are not, such as -9",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named_with_its_site(case: str) -> None:
    model, data, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        PyroModel(model, (data,))


def test_where_a_density_is_not_finite_the_site_is_named() -> None:
    problem = PyroModel(ceiling, (torch.tensor([2.2, 0.3]),))
    said = problem.explain(torch.zeros(1, dtype=torch.float64))
    assert said.startswith("the site 'y': 1 of 2 of its values lie outside the support, Interval")
    assert problem.explain(torch.ones(1, dtype=torch.float64)) == ""


def test_a_method_that_finds_no_density_names_the_site() -> None:
    target = CountedTarget(PyroModel(ceiling, (torch.tensor(2e6),)))
    with pytest.raises(ValueError, match=r"log density is -inf: the site 'y': 1 of 1 .* support"):
        list(GaussianVB().run(target, Budget(), Generator().manual_seed(0)))


def test_a_multinomial_is_run_at_once_and_counts_as_in_torch() -> None:
    problem = PyroModel(count, (COUNTS,))
    assert problem.batched
    z = torch.randn(50, 2, generator=Generator().manual_seed(0), dtype=torch.float64)
    shares = problem.constrain(z)["share"]
    prior = torch.distributions.Dirichlet(torch.tensor([5.0, 5.0, 0.5], dtype=torch.float64))
    jacobian = torch.distributions.StickBreakingTransform().log_abs_det_jacobian(z, shares)
    law = torch.distributions.Multinomial(8, shares)
    expected = prior.log_prob(shares) + law.log_prob(COUNTS.double()) + jacobian
    torch.testing.assert_close(problem.log_density(z), expected, rtol=1e-10, atol=1e-10)
    target = CountedTarget(problem)
    for _ in range(WARM_UP + 1):
        target.value_and_grad(z)
    assert target.recorded == 1


def test_a_site_that_cannot_be_run_at_once_is_named_and_its_loop_not_recorded() -> None:
    problem = PyroModel(graded, (torch.tensor(2),), name="graded")
    with pytest.warns(UserWarning, match="row by row") as caught:
        target = CountedTarget(problem)
    (said,) = [str(warning.message) for warning in caught]
    assert "model=graded) is run row by row" in said
    assert "the site 'y'" in said
    assert "pyro.factor" in said
    z = torch.randn(40, 1, generator=Generator().manual_seed(0), dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        for _ in range(WARM_UP + 1):
            _, gradient = target.value_and_grad(z)
    assert target.recorded == 0
    slope = -z + 0.0  # of the prior, of sd 2
    torch.testing.assert_close(gradient, slope / 4 + torch.sigmoid(1 - z), rtol=1e-9, atol=1e-9)


def edges() -> None:
    pyro.sample("rate", dist.Gamma(2.0, 1.0))
    pyro.sample("level", dist.Uniform(-1.0, 3.0))
    pyro.sample("share", dist.Dirichlet(torch.tensor([5.0, 5.0, 0.5])))
    pyro.sample("root", dist.LKJCholesky(2, 1.5))


# values that rounding makes of draws, and how many of four rows have no coordinates
EDGES: dict[str, tuple[str, Callable[[Tensor], Any]]] = {
    "zero rate": ("rate", lambda x: x.__setitem__(1, 0.0)),
    "negative rate": ("rate", lambda x: x.__setitem__(1, -1e-9)),
    "infinite rate": ("rate", lambda x: x.__setitem__(1, math.inf)),
    "NaN": ("level", lambda x: x.__setitem__(1, math.nan)),
    "lower end": ("level", lambda x: x.__setitem__(1, -1.0)),
    "upper end": ("level", lambda x: x.__setitem__(1, 3.0)),
    "empty share": ("share", lambda x: x.__setitem__(1, torch.tensor([0.4, 0.6, 0.0]))),
    "shares of 3": ("share", lambda x: x.__setitem__(1, torch.tensor([1.0, 1.0, 1.0]))),
    "perfect correlation": (
        "root",
        lambda x: x.__setitem__(1, torch.tensor([[1.0, 0.0], [1.0, 0.0]])),
    ),
}


@pytest.mark.parametrize("case", EDGES)
def test_a_value_on_the_edge_is_refused_and_counted(case: str) -> None:
    name, harm = EDGES[case]
    problem = PyroModel(edges)
    z = torch.randn(4, problem.dim, generator=Generator().manual_seed(0), dtype=torch.float64)
    values = problem.constrain(z)
    torch.testing.assert_close(problem.unconstrain(values), z, rtol=1e-9, atol=1e-9)
    harm(values[name])
    with pytest.raises(ValueError, match=rf"unconstrain: 1 of 4 values of '{name}' have no"):
        problem.unconstrain(values)


def test_rounded_shares_keep_their_spread_or_are_counted() -> None:
    """10,000 draws of a Dirichlet(5, 5, 0.5) to four digits: sd 2.25 once became 107.6."""
    problem = PyroModel(count, (COUNTS,))
    law = torch.distributions.Dirichlet(torch.tensor([5.0, 5.0, 0.5], dtype=torch.float64))
    torch.manual_seed(0)
    exact = law.sample((10_000,))
    rounded = (exact * 1e4).round() / 1e4
    empty = int((rounded == 0).any(-1).sum())
    assert empty > 100
    with pytest.raises(ValueError, match=rf": {empty:,} of 10,000 values of 'share'"):
        problem.unconstrain({"share": rounded})
    kept = (rounded > 0).all(-1)
    spread = problem.unconstrain({"share": rounded[kept]}).std(0)
    expected = problem.unconstrain({"share": exact[kept]}).std(0)
    torch.testing.assert_close(spread, expected, rtol=0.02, atol=0)


def test_float32_in_gives_float32_out() -> None:
    problem = PyroModel(edges)
    z = torch.randn(5, problem.dim, generator=Generator().manual_seed(0))
    values = problem.constrain(z)
    assert {value.dtype for value in values.values()} == {torch.float32}
    assert problem.log_density(z).dtype == torch.float32
    assert problem.unconstrain(values).dtype == torch.float32
    torch.testing.assert_close(problem.unconstrain(values), z, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        problem.log_density(z).double(), problem.log_density(z.double()), rtol=1e-6, atol=1e-5
    )
