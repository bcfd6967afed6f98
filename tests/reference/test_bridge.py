"""Log Z by bridge sampling, and the mixture it bridges to, against densities whose integral is
known.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.reference.bridge import log_z
from methods.parts.gaussians.mixtures import Gaussians, fitted
from tests.helpers.exact_problems import SIGMAS, assert_mean, seeded
from tests.helpers.reference_parts import ZEROS, normal


def bumpy(z: Tensor) -> Tensor:
    """Three bumps of different shape and weight; log Z = 1.5."""
    means = torch.tensor([[0.0, 0], [6, 0], [0, 8]], dtype=torch.float64)
    scales = torch.tensor([[1.0, 1], [0.5, 2], [2, 0.3]], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    u = (z.unsqueeze(-2) - means) / scales
    parts = weights.log() - scales.log().sum(-1) - math.log(2 * math.pi) - 0.5 * u.square().sum(-1)
    return parts.logsumexp(-1) + 1.5


def bumpy_draws(n: int, seed: int) -> Tensor:
    which = torch.multinomial(
        torch.tensor([0.5, 0.3, 0.2]), n, replacement=True, generator=seeded(seed)
    )
    means = torch.tensor([[0.0, 0], [6, 0], [0, 8]], dtype=torch.float64)
    scales = torch.tensor([[1.0, 1], [0.5, 2], [2, 0.3]], dtype=torch.float64)
    return means[which] + scales[which] * normal(n, 2, seed=seed + 1)


def test_the_bridge_finds_log_z_and_its_error() -> None:
    errors = []
    for seed in range(8):
        found = log_z(bumpy_draws(2_000, seed).reshape(4, 500, 2), bumpy, seeded(seed))
        assert 0 < found.stderr < 0.02
        errors.append((found.value - 1.5) / found.stderr)
    assert max(map(abs, errors)) < SIGMAS
    assert (
        0.4 < float(np.sqrt(np.mean(np.square(errors)))) < 1.9
    )  # a chi-square of eight degrees between 1.3 and 29


def test_the_bridge_counts_draws_that_repeat_once() -> None:
    draws = bumpy_draws(2_000, 1)
    alone = log_z(draws.reshape(4, 500, 2), bumpy, seeded(1))
    often = log_z(draws.reshape(4, 500, 2).repeat_interleave(5, 1), bumpy, seeded(1))
    assert often.stderr > 0.6 * alone.stderr


def test_a_density_elsewhere_has_no_bridge() -> None:
    with pytest.raises(ArithmeticError, match="too little in common"):
        log_z(
            normal(4, 500, 2),
            lambda z: torch.where((z - 1e3).square().sum(-1) < 1, 0.0, -math.inf),
            seeded(1),
        )


def test_the_mixture_is_a_density_and_draws_follow_it() -> None:
    mixture = fitted(bumpy_draws(3_000, 1), (1, 2, 4), seeded(1))
    assert len(mixture.log_weights) == 4
    z = mixture.sample(50_000, seeded(2))
    assert_mean((bumpy(z) - 1.5 - mixture.log_prob(z)).exp().unsqueeze(-1), 1.0)
    axis = torch.linspace(-15, 25, 801, dtype=torch.float64)
    assert float(
        mixture.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.05**2
    ) == pytest.approx(1.0, abs=1e-4)


def test_draws_in_a_subspace_are_refused() -> None:
    with pytest.raises(ArithmeticError, match="subspace"):
        fitted(normal(100, 1).expand(100, 2), (1, 2), seeded(1))


def test_a_mixture_of_one_is_the_gaussian_of_the_draws() -> None:
    draws = normal(3_000, 2)
    one = fitted(draws, (1,), seeded(1))
    assert isinstance(one, Gaussians)
    torch.testing.assert_close(one.means[0], ZEROS, rtol=0, atol=0.1)
