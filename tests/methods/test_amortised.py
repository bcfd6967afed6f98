"""Encoders: q(z | x) of one x is what all x at once say."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from methods.amortised.base import Encoder, GaussianEncoder, NoiseEncoder

X = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)


class Linear(GaussianEncoder):
    """N(2 x, L L^T), L with the entry x_2 below its diagonal."""

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        factor = torch.eye(2, dtype=torch.float64).repeat(len(x), 1, 1)
        factor[:, 1, 0] = x[:, 1]
        return 2 * x, factor


class Fed(NoiseEncoder):
    """The same law, as a map of noise."""

    noise_dim = 2

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        return 2 * x + eps + torch.nn.functional.pad(x[:, 1:] * eps[:, :1], (1, 0))


def check_moments(encoder: Encoder) -> None:
    n = 40_000
    z = encoder.sample(X, n, torch.Generator().manual_seed(0))
    assert z.shape == (3, n, 2)
    for x, draws in zip(X, z, strict=True):
        apart = encoder.at(x).sample(n, torch.Generator().manual_seed(1))
        for rows in (draws, apart):
            spread = torch.tensor([1.0, 1 + x[1] ** 2]).sqrt() / math.sqrt(n)
            assert ((rows.mean(0) - 2 * x) / spread).abs().max() < 4
            covariance = rows.T.cov()[0, 1]
            assert abs(covariance - x[1]) < 4 * math.sqrt((1 + 2 * x[1] ** 2) / n)


def test_a_gaussian_encoder_draws_all_x_at_once_as_one_by_one() -> None:
    check_moments(Linear())


def test_an_encoder_fed_with_noise_draws_all_x_at_once_as_one_by_one() -> None:
    check_moments(Fed())
    assert Fed().log_prob(X, torch.zeros(3, 4, 2, dtype=torch.float64)) is None


def test_the_density_of_all_x_is_that_of_each() -> None:
    z = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = Linear().log_prob(X, z)
    assert together is not None
    one_by_one = torch.stack([Linear().at(x).log_prob(rows) for x, rows in zip(X, z, strict=True)])
    torch.testing.assert_close(together, one_by_one)
    inherited = Encoder.log_prob(Linear(), X, z)
    assert inherited is not None
    torch.testing.assert_close(inherited, one_by_one)
