"""The evidence of a decoder over a plane is right, and draws of its posteriors are exact."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from problems.generative.parts.latent_grid import LatentGrid, latent_grid, log_prior
from problems.parts.quadrature import law


def gaussian_pairs(x: Tensor, weight: Tensor, noise: float) -> Callable[[Tensor], Tensor]:
    """Log N(x_i; W z_j, noise^2 I): [n, d] -> [n, N]."""

    def pairs(z: Tensor) -> Tensor:
        gap = x - (z @ weight.T)[:, None]
        constant = x.shape[1] * (math.log(noise) + 0.5 * math.log(2 * math.pi))
        return -0.5 * gap.square().sum(-1) / noise**2 - constant

    return pairs


def network_pairs(dim: int, kind: type[nn.Module], count: int = 6) -> Callable[[Tensor], Tensor]:
    """Log likelihood of binary x, drawn from a network with random weights that bends sharply."""
    generator = torch.Generator().manual_seed(0)
    layers = []
    for rows, columns in ((32, dim), (32, 32), (12, 32)):
        layer = nn.Linear(columns, rows).double()
        for parameter in layer.parameters():
            parameter.data = torch.randn(
                parameter.shape, generator=generator, dtype=torch.float64
            ) * (1.6 / math.sqrt(columns))
        layers += [layer, kind()]
    network = nn.Sequential(*layers[:-1]).requires_grad_(False)
    z = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    x = torch.bernoulli(network(z).detach().sigmoid(), generator=generator)

    def pairs(z: Tensor) -> Tensor:
        logits: Tensor = network(z)
        return logits @ x.T - nn.functional.softplus(logits).sum(-1, keepdim=True)

    return pairs


@pytest.mark.parametrize("dim", [1, 2])
def test_evidence_and_moments_of_a_linear_gaussian_model_are_those_of_algebra(dim: int) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = 2 * torch.randn(4, dim, generator=generator, dtype=torch.float64)
    x, noise = 3 * torch.randn(5, 4, generator=generator, dtype=torch.float64), 0.3
    grid = latent_grid(gaussian_pairs(x, weight, noise), dim)
    marginal = torch.distributions.MultivariateNormal(
        torch.zeros(4).double(), weight @ weight.T + noise**2 * torch.eye(4).double()
    )
    precision = torch.eye(dim).double() + weight.T @ weight / noise**2
    mean = torch.linalg.solve(precision, weight.T @ x.T / noise**2).T
    assert (grid.log_evidence - marginal.log_prob(x)).abs().max() < 1e-7
    assert (grid.mean - mean).abs().max() < 1e-7
    assert (grid.covariance - torch.linalg.inv(precision)).abs().max() < 1e-6


@pytest.mark.parametrize("kind", [nn.Tanh, nn.ELU])
def test_two_grids_agree_on_the_evidence_to_a_millionth_of_a_nat(kind: type[nn.Module]) -> None:
    pairs = network_pairs(2, kind)
    first = latent_grid(pairs, 2)
    second = latent_grid(pairs, 2, tolerance=1e-7, nodes=7)
    assert float(first.error.max()) <= 1e-6
    assert (first.log_evidence - second.log_evidence).abs().max() < 1e-6
    assert not torch.equal(first.centre, second.centre)


def test_on_the_line_panels_of_another_rule_find_the_same_evidence() -> None:
    pairs = network_pairs(1, nn.Tanh)
    grid = latent_grid(pairs, 1)
    for i in range(3):
        line = law(
            lambda z, i=i: pairs(z[:, None])[:, i] + log_prior(z[:, None]),  # type: ignore[misc]
            -12.0,
            12.0,
        )
        assert abs(line.log_mass - float(grid.log_evidence[i])) < 1e-6


def folded() -> LatentGrid:
    """A posterior of four bumps: three quarters of it have z_1 > 0, and half of it z_2 > 0."""
    target = torch.tensor([1.5, 1.0], dtype=torch.float64)

    def pairs(z: Tensor) -> Tensor:
        # three times as much on the right; the step lies where there is next to nothing
        right = torch.log(0.25 + 0.5 * torch.sigmoid(20 * z[:, :1]))
        return -0.5 * (z.square() - target).square().sum(-1, keepdim=True) / 0.2**2 + right

    return latent_grid(pairs, 2)


def test_draws_of_a_posterior_of_four_bumps_have_its_shares_and_moments() -> None:
    grid = folded()
    n = 20_000
    draws = grid.sample(0, n, torch.Generator().manual_seed(2))
    again = grid.sample(0, n, torch.Generator().manual_seed(2))
    assert torch.equal(draws, again)
    for share, true in (((draws[:, 0] > 0), 0.75), ((draws[:, 1] > 0), 0.5)):
        stderr = math.sqrt(true * (1 - true) / n)
        assert abs(float(share.double().mean()) - true) < 4 * stderr
    stderr = (grid.covariance[0].diagonal() / n).sqrt()
    assert bool(((draws.mean(0) - grid.mean[0]).abs() < 4 * stderr).all())
    spread = draws.T.cov() - grid.covariance[0]
    assert float(spread.abs().max()) < 4 * 2.0 / math.sqrt(n)


def test_draws_have_the_entropy_of_the_density() -> None:
    """The mean of log p(z | x) over draws is minus the entropy, which quadrature gives too."""
    pairs = network_pairs(2, nn.ELU, count=2)
    grid = latent_grid(pairs, 2)
    axis = torch.linspace(-7, 7, 701, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    log_p = grid.log_posterior(1, z)
    cell = float(axis[1] - axis[0]) ** 2
    assert float(log_p.exp().sum() * cell) == pytest.approx(1.0, abs=1e-4)
    draws = grid.log_posterior(1, grid.sample(1, 20_000, torch.Generator().manual_seed(3)))
    entropy = float(-(log_p.exp() * log_p).sum() * cell)
    assert abs(float(draws.mean()) + entropy) < 4 * float(draws.std()) / math.sqrt(len(draws))


def test_the_box_grows_to_a_posterior_far_out_and_says_when_it_is_too_far() -> None:
    weight, noise = torch.ones(1, 1, dtype=torch.float64), 0.5
    far = torch.tensor([[14.0]], dtype=torch.float64)
    grid = latent_grid(gaussian_pairs(far, weight, noise), 1)
    assert float(grid.mean[0, 0]) == pytest.approx(14 / 1.25, abs=1e-6)
    with pytest.raises(ArithmeticError, match="at the edge of a box"):
        latent_grid(gaussian_pairs(10 * far, weight, noise), 1)
    with pytest.raises(ValueError, match=r"latent_grid\(dim=\.\.\.\) must be 1 or 2, got 3"):
        latent_grid(gaussian_pairs(far, weight, noise), 3)
