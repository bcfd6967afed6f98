"""Annealed importance sampling brackets evidence that quadrature and algebra know."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from methods.parts.sampling.annealed import Annealing, Schedule, Start, temperatures
from problems.generative.parts.latent_grid import latent_grid, log_prior


class Bits:
    """A smooth decoder of 12 bits over the plane, and six x drawn from it with their z."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        first, second = nn.Linear(2, 24).double(), nn.Linear(24, 12).double()
        for parameter in (*first.parameters(), *second.parameters()):
            parameter.data = torch.randn(parameter.shape, generator=generator).double()
            parameter.requires_grad_(False)
        self.network = nn.Sequential(first, nn.Tanh(), second)
        self.z = torch.randn(6, 2, generator=generator, dtype=torch.float64)
        self.x = torch.bernoulli(self.network(self.z).sigmoid(), generator=generator)

    def pairs(self, z: Tensor) -> Tensor:
        logits: Tensor = self.network(z)
        return logits @ self.x.T - nn.functional.softplus(logits).sum(-1, keepdim=True)

    def joint(self, z: Tensor) -> Tensor:
        logits: Tensor = self.network(z)
        value = (logits * self.x).sum(-1) - nn.functional.softplus(logits).sum(-1)
        return value + log_prior(z)


@pytest.mark.parametrize("schedule", ["linear", "sigmoid"])
def test_the_bracket_holds_the_evidence_of_quadrature_and_is_narrow(schedule: Schedule) -> None:
    bits = Bits()
    truth = latent_grid(bits.pairs, 2).log_evidence
    annealing = Annealing(chains=300, steps=80, leapfrogs=3, schedule=schedule)
    start = Start.prior(6, 2)
    low = annealing.lower(bits.joint, start, torch.Generator().manual_seed(1))
    high = annealing.upper(bits.joint, start, bits.z, torch.Generator().manual_seed(2))
    assert bool(((low.value - truth).abs() < 4 * low.stderr).all())
    assert bool((truth < high.value + 4 * high.stderr).all())
    assert abs(float((high.value - low.value).mean())) < 0.02
    assert float(low.stderr.norm()) / 6 < 0.02  # of the average over the six
    assert 0.4 < low.accepted < 0.99


def test_from_the_posterior_itself_the_weights_are_all_alike() -> None:
    """A linear-Gaussian model, started at its own posterior: every weight is p(x)."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    x = torch.randn(5, 4, generator=generator, dtype=torch.float64)

    def joint(z: Tensor) -> Tensor:
        return -0.5 * (x - z @ weight.T).square().sum(-1) - 2 * math.log(2 * math.pi) + log_prior(z)

    precision = torch.eye(3).double() + weight.T @ weight
    covariance = torch.linalg.inv(precision)
    start = Start(
        torch.linalg.solve(precision, weight.T @ x.T).T,
        torch.linalg.cholesky(covariance).expand(5, 3, 3),
    )
    truth = torch.distributions.MultivariateNormal(
        torch.zeros(4).double(), weight @ weight.T + torch.eye(4).double()
    ).log_prob(x)
    found = Annealing(chains=4, steps=3).lower(joint, start, generator)
    assert (found.value - truth).abs().max() < 1e-10
    # from the prior it takes chains, and both ends hold the truth
    prior, annealing = Start.prior(5, 3), Annealing(chains=64, steps=80, leapfrogs=3)
    z = start.out(torch.randn(1, 5, 3, generator=generator, dtype=torch.float64))[0]
    low, high = (
        annealing.lower(joint, prior, generator),
        annealing.upper(joint, prior, z, generator),
    )
    assert bool(((low.value - truth).abs() < 4 * low.stderr + 1e-3).all())
    assert bool(((high.value - truth).abs() < 4 * high.stderr + 2e-2).all())


def test_hasty_chains_are_below_the_truth_forwards_and_above_it_backwards() -> None:
    """With few temperatures and one chain's worth of weights the bounds are loose, on the right
    sides.
    """
    bits = Bits()
    truth = latent_grid(bits.pairs, 2).log_evidence
    hasty, start = Annealing(chains=2, steps=2, leapfrogs=2), Start.prior(6, 2)
    generator = torch.Generator().manual_seed(4)
    low = torch.stack([hasty.lower(bits.joint, start, generator).value for _ in range(60)])
    assert float((low.mean(0) - truth).max()) < 0
    highs = []
    grid = latent_grid(bits.pairs, 2)
    exact = torch.stack([grid.sample(i, 60, generator) for i in range(6)], 1)
    for z in exact:
        highs.append(hasty.upper(bits.joint, start, z, generator).value)
    assert float((torch.stack(highs).mean(0) - truth).min()) > 0


def test_temperatures_run_from_zero_to_one_and_a_sigmoid_is_slow_at_both_ends() -> None:
    for schedule in ("linear", "sigmoid"):
        betas = temperatures(50, schedule)  # type: ignore[arg-type]
        assert betas[0] == 0
        assert betas[-1] == 1
        assert bool((betas.diff() > 0).all())
    steps = temperatures(50, "sigmoid").diff()
    assert steps[0] < 0.3 * steps[25]
    assert steps[-1] < 0.3 * steps[25]
    with pytest.raises(ValueError, match=r"Annealing\(schedule=\.\.\.\) must be"):
        Annealing(schedule="cosine")  # type: ignore[arg-type]
