"""Pyro models with discrete sites: their density is that of a marginal written by hand."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Generator, Tensor

from problems.models.pyro_model import PyroModel
from problems.models.pyro_walk import NoPosteriorError

RANDOM = Generator().manual_seed(0)
DATA = torch.cat([torch.randn(60, generator=RANDOM) - 2, torch.randn(40, generator=RANDOM) + 1.5])
SERIES = torch.randn(25, generator=RANDOM).double()
COUNTS = torch.cat([torch.full((12,), 3.0), torch.full((8,), 7.0)]).double()


def mixture(y: Tensor) -> None:
    weight = pyro.sample("weight", dist.Beta(2.0, 2.0))
    with pyro.plate("parts", 2):
        mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    with pyro.plate("rows", len(y)):
        part = pyro.sample("part", dist.Bernoulli(weight))
        pyro.sample("y", dist.Normal(mean[part.long()], 1.0), obs=y)


def mixture_by_hand(values: dict[str, Tensor]) -> Tensor:
    weight, mean = values["weight"], values["mean"]
    prior = dist.Beta(2.0, 2.0).log_prob(weight) + dist.Normal(0.0, 3.0).log_prob(mean).sum()
    parts = dist.Normal(mean, 1.0).log_prob(DATA.double().unsqueeze(-1))
    shares = torch.stack([(1 - weight).log(), weight.log()])
    jacobian = (weight * (1 - weight)).log()
    return prior + (shares + parts).logsumexp(-1).sum() + jacobian


def hidden_markov(y: Tensor) -> None:
    with pyro.plate("states", 3):
        mean = pyro.sample("mean", dist.Normal(0.0, 2.0))
    stay = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]])
    state: int | Tensor = 0
    for t in pyro.markov(range(len(y))):
        state = pyro.sample(f"state_{t}", dist.Categorical(stay[state]))
        pyro.sample(f"y_{t}", dist.Normal(mean[state], 0.7), obs=y[t])


def hidden_markov_by_hand(values: dict[str, Tensor]) -> Tensor:
    stay = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]]).double()
    mean = values["mean"]
    ahead = torch.tensor([0.0, -math.inf, -math.inf]).double()
    for y in SERIES:
        ahead = (ahead.unsqueeze(-1) + stay.log()).logsumexp(0)
        ahead = ahead + dist.Normal(mean, 0.7).log_prob(y)
    return dist.Normal(0.0, 2.0).log_prob(mean).sum() + ahead.logsumexp(0)


def change_point(counts: Tensor) -> None:
    with pyro.plate("sides", 2):
        rate = pyro.sample("rate", dist.Gamma(2.0, 0.5))
    where = pyro.sample("where", dist.Categorical(torch.ones(len(counts))))
    later = (torch.arange(len(counts)) >= where.unsqueeze(-1)).long()
    pyro.sample("y", dist.Poisson(rate[later]).to_event(1), obs=counts)


def change_point_by_hand(values: dict[str, Tensor]) -> Tensor:
    rate, n = values["rate"], len(COUNTS)
    sides = dist.Poisson(rate).log_prob(COUNTS.unsqueeze(-1))
    each = torch.stack([sides[:k, 0].sum() + sides[k:, 1].sum() for k in range(n)])
    prior = dist.Gamma(2.0, 0.5).log_prob(rate).sum()
    return prior + each.logsumexp(0) - math.log(n) + rate.log().sum()


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Constants as exact as the problem takes them."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


CASES = {
    "mixture": (mixture, DATA, mixture_by_hand, ("part",)),
    "hidden Markov": (
        hidden_markov,
        SERIES,
        hidden_markov_by_hand,
        tuple(f"state_{t}" for t in range(len(SERIES))),
    ),
    "change point": (change_point, COUNTS, change_point_by_hand, ("where",)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_density_is_that_of_the_marginal_by_hand(case: str) -> None:
    model, data, by_hand, discrete = CASES[case]
    problem = PyroModel(model, (data,))
    assert problem.summed_out == discrete
    z = torch.randn(20, problem.dim, generator=Generator().manual_seed(1), dtype=torch.float64)
    values = problem.constrain(z)
    with float64():
        rows = [{name: value[i] for name, value in values.items()} for i in range(len(z))]
        expected = torch.stack([by_hand(row) for row in rows])
    torch.testing.assert_close(problem.log_density(z), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(problem.unconstrain(values), z)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_goes_through_the_sum(case: str) -> None:
    model, data, *_ = CASES[case]
    problem = PyroModel(model, (data,))
    z = torch.randn(2, problem.dim, generator=Generator().manual_seed(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(problem.log_density, z.requires_grad_())


def test_all_rows_are_run_at_once() -> None:
    assert PyroModel(mixture, (DATA,)).batched
    assert PyroModel(change_point, (COUNTS,)).batched


def test_what_depends_on_a_discrete_site_is_not_shown() -> None:
    def model() -> None:
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.deterministic("before", 2 * x)
        k = pyro.sample("k", dist.Bernoulli(0.3))
        pyro.deterministic("after", x + k)

    assert set(PyroModel(model).constrain(torch.zeros(1, 1))) == {"x", "before"}


def test_a_site_of_infinitely_many_values_is_named() -> None:
    def model() -> None:
        pyro.sample("rate", dist.Gamma(2.0, 1.0))
        pyro.sample("count", dist.Poisson(3.0))

    with pytest.raises(NoPosteriorError, match=r"'count' is discrete, and a Poisson has no finite"):
        PyroModel(model)
