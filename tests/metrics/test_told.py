"""What draws of codes tell of the x they belong to, where it is known."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from bench.calibration.learned import pair_of
from bench.metrics.amortised.aggregate_upper import AggregateKlUpper
from bench.metrics.amortised.base import Pair
from bench.metrics.amortised.told import told
from bench.metrics.base import Estimate, Skipped
from methods.amortised.base import NoiseEncoder
from problems.generative.linear_gaussian import LinearGaussian


class Apart(NoiseEncoder):
    """Codes N(i * step * e, I) of the i-th of the x, e the first axis."""

    def __init__(self, x: Tensor, step: float, dim: int) -> None:
        self.x, self.step, self.noise_dim = x, step, dim

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        which = (x.unsqueeze(-2) - self.x).abs().sum(-1).argmin(-1)
        moved = eps.clone()
        moved[..., 0] += self.step * which
        return moved


def pair(step: float, count: int = 3, dim: int = 2) -> Pair:
    model = LinearGaussian(latent=dim, held=count)
    one = pair_of(model)
    return dataclasses.replace(one, encoder=Apart(one.x, step, dim))


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_codes_that_are_alike_tell_nothing_and_codes_far_apart_tell_all(dim: int) -> None:
    nothing = told(pair(0.0, dim=dim))
    assert -0.01 < nothing.value < 3 * nothing.stderr + 1e-9
    everything = told(pair(20.0, dim=dim))
    assert math.log(3) - 0.001 < everything.value < math.log(3) + 1e-9
    assert everything.kind == "lower bound"


@pytest.mark.parametrize("dim", [2, 5])
def test_of_two_gaussians_it_is_the_information_of_a_binary_channel(dim: int) -> None:
    found = told(pair(2.0, 2, dim))
    t = torch.linspace(-10, 12, 20_001, dtype=torch.float64)
    density = torch.exp(-0.5 * t**2) / math.sqrt(2 * math.pi)
    true = math.log(2) - float(torch.trapezoid(density * torch.log1p(torch.exp(2 * t - 2)), t))
    assert true - 0.01 < found.value < true + 3 * found.stderr
    assert found.stderr < 0.005


class Quarters(NoiseEncoder):
    """Codes of the i-th of four x fill the i-th quarter of the plane, and the four the prior."""

    noise_dim = 2

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def forward(self, x: Tensor, eps: Tensor) -> Tensor:
        which = (x.unsqueeze(-2) - self.x).abs().sum(-1).argmin(-1)
        sides = torch.tensor([[1.0, 1], [-1, 1], [-1, -1], [1, -1]], dtype=eps.dtype)
        return eps.abs() * sides[which]


def test_codes_that_share_the_plane_without_overlap_tell_nearly_all() -> None:
    one = pair(0.0, 4)
    apart = dataclasses.replace(one, encoder=Quarters(one.x))
    found = told(apart)
    assert math.log(4) - 0.01 < found.value < math.log(4)
    assert found.note == "From below, by a network."
    above = AggregateKlUpper(count=4).measure(apart)
    assert isinstance(above, Estimate)
    assert -3 * above.stderr < above.value < 0.05


def test_far_codes_in_many_dimensions_are_read_by_their_moments() -> None:
    found = told(pair(2.0, 2, 12))
    assert found.note == "From below, by a Gaussian for each x."


def test_beyond_the_plane_there_is_no_bound_from_above() -> None:
    found = AggregateKlUpper().measure(pair(1.0, dim=3))
    assert isinstance(found, Skipped)
    assert "it has 3" in found.reason
