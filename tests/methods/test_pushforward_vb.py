"""Pushforward VB descends the KL that it says, and finds posteriors of a shape of their own."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from methods.base import Budget
from methods.parts.networks.sampler import Sampler, SamplerNetwork
from methods.parts.networks.volume import gradient
from methods.pushforward_vb import Descent, PushforwardVB
from problems.base import Exact, Problem
from problems.mixture import Mixture

SMALL: dict[str, Any] = {"iterations": 30, "batch": 32, "hidden": (16, 16)}
SIGMAS = 4.5  # every statistical tolerance, in standard errors


class Tilted(Problem):
    """A Gaussian in the plane, correlated, off the origin and not normalised."""

    name: ClassVar[str] = "tilted"
    dim: ClassVar[int] = 2
    factor = torch.tensor([[1.5, 0.0], [0.8, 0.5]], dtype=torch.float64)

    @property
    def truth(self) -> Exact:
        log_z = math.log(2 * math.pi) + float(self.factor.diagonal().log().sum())
        return Exact(lambda n, generator: torch.empty(0), log_z)

    def log_density(self, z: Tensor) -> Tensor:
        centred = z - torch.tensor([1.0, -0.5], dtype=torch.float64)
        u: Tensor = torch.linalg.solve_triangular(self.factor, centred.T, upper=False)
        return -0.5 * u.square().sum(0)


class Broken(Tilted):
    """No density anywhere."""

    def log_density(self, z: Tensor) -> Tensor:
        return z.sum(-1) * math.nan


def last(
    method: PushforwardVB, problem: Problem, seed: int = 0, budget: Budget | None = None
) -> SamplerNetwork:
    *_, approximation = method.run(
        CountedTarget(problem), budget or Budget(), Generator().manual_seed(seed)
    )
    assert isinstance(approximation, SamplerNetwork)
    return approximation


def _log_z(problem: Problem) -> float:
    assert isinstance(problem.truth, Exact)
    return problem.truth.log_z


def divergence(approximation: SamplerNetwork, problem: Problem) -> tuple[float, float]:
    """KL(q||p) by the Jacobian, and its standard error."""
    n = 20_000
    eps = torch.randn(n, problem.dim, generator=Generator().manual_seed(9), dtype=torch.float64)
    sign, log_det = torch.linalg.slogdet(approximation.jacobian(eps))
    assert bool((sign > 0).all())
    log_q = -0.5 * eps.square().sum(-1) - 0.5 * problem.dim * math.log(2 * math.pi) - log_det
    gap = log_q - problem.log_density(approximation.forward(eps)) + _log_z(problem)
    return float(gap.mean()), float(gap.std()) / math.sqrt(n)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("hidden", [(7,), (6, 5), (5, 8, 4), (128, 128)])
def test_the_gradient_by_hand_is_that_of_autograd(hidden: tuple[int, ...], skip: bool) -> None:
    sampler, generator = Sampler(3, 3, hidden, skip), Generator().manual_seed(0)
    weights = sampler.init(generator, 1.5)
    eps, direction = (torch.randn(90, 3, generator=generator) for _ in range(2))
    found, log_det = gradient(sampler, weights, eps, sampler.forward(weights, eps)[1], direction)
    leaf = weights.double().requires_grad_()
    volume = torch.linalg.slogdet(sampler.jacobian(leaf, eps.double())).logabsdet
    loss = (sampler(leaf, eps.double()) * direction).sum() - volume.mean()
    (expected,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(log_det, volume.detach(), rtol=1e-4, atol=1e-4)
    assert float((found - expected).norm() / expected.norm()) < 1e-4


def test_the_direction_is_that_of_the_kl() -> None:
    """Half of the annealing gone: log p counts as much as its share, the start by the rest."""
    method, problem = PushforwardVB(**SMALL, scale=1.3), Tilted()
    descent = Descent(method, CountedTarget(problem), Generator().manual_seed(0))
    eps = torch.randn(32, 2, generator=Generator().manual_seed(1))
    z, *hidden = descent.forward(descent.weights, eps)
    pull = 0.5 * descent.target.value_and_grad(z)[1] - 0.5**3 * z / 1.3**2
    found, norm = descent.gradient(descent.weights, eps, pull, *hidden)
    leaf = descent.weights.double().requires_grad_()
    draws = descent.sampler(leaf, eps.double())
    path = 0.5 * problem.log_density(draws) - 0.5**3 * draws.square().sum(-1) / (2 * 1.3**2)
    volume = torch.linalg.slogdet(descent.sampler.jacobian(leaf, eps.double())).logabsdet
    (expected,) = torch.autograd.grad(-(path + volume).mean(), leaf)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(norm, found.norm())


def test_a_mixture_is_covered_and_nearer_than_any_gaussian() -> None:
    method = PushforwardVB(iterations=800, batch=128, hidden=(32, 32), lr=5e-3, average=0.98)
    approximation = last(method, Mixture())
    kl, stderr = divergence(approximation, Mixture())
    assert -SIGMAS * stderr < kl < 0.5  # the best Gaussian has 0.693
    draws = approximation.sample(4000, Generator().manual_seed(0))
    assert 0.3 < float((draws.sum(-1) > 0).double().mean()) < 0.7


def test_a_gaussian_is_found() -> None:
    kl, stderr = divergence(
        last(PushforwardVB(iterations=400, hidden=(16,), lr=3e-3, average=0.98), Tilted()),
        Tilted(),
    )
    assert -SIGMAS * stderr < kl < 0.03


def test_equal_generators_give_equal_weights() -> None:
    runs = [last(PushforwardVB(**SMALL), Mixture(), seed) for seed in (3, 3, 4)]
    assert torch.equal(runs[0].weights, runs[1].weights)
    assert not torch.equal(runs[0].weights, runs[2].weights)


@pytest.mark.parametrize("gradients", [1, 330, 10_000])
def test_the_run_is_planned_within_the_gradients(gradients: int) -> None:
    method, target = PushforwardVB(**SMALL), CountedTarget(Mixture())
    for _ in method.run(target, Budget(gradients=gradients), Generator().manual_seed(0)):
        pass
    assert target.gradients == 32 * max(1, min(30, gradients // 32))


def test_divergence_says_where_and_what_to_try() -> None:
    with pytest.raises(FloatingPointError, match=r"not finite at 32 of 32 points.*smaller lr"):
        last(PushforwardVB(**SMALL), Broken())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 0),
        ("batch", 0),
        ("hidden", ()),
        ("hidden", (8, 0)),
        ("lr", 0.0),
        ("beta1", 1.0),
        ("final_lr", 1.5),
        ("clip", math.nan),
        ("scale", -1.0),
        ("anneal", 2.0),
        ("average", 1.0),
        ("every", 0),
    ],
)
def test_a_bad_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"PushforwardVB\({field}=") as caught:
        PushforwardVB(**{field: value})
    assert repr(value) in str(caught.value)
