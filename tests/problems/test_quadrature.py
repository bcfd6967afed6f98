"""Laws on the line: their mass and quantiles against closed forms, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from problems.parts.quadrature import law


@pytest.mark.parametrize(("centre", "scale"), [(0.0, 1.0), (0.3, 1e-3), (-7.0, 2.5)])
def test_a_law_has_the_mass_and_the_quantiles_of_a_normal(centre: float, scale: float) -> None:
    found = law(lambda x: -0.5 * ((x - centre) / scale).square(), -40.0, 40.0)
    assert found.log_mass == pytest.approx(math.log(scale) + 0.5 * math.log(2 * math.pi), abs=1e-12)
    share = torch.cat(
        [
            torch.logspace(-14, -1, 40, dtype=torch.float64),
            torch.linspace(0.1, 0.999, 997, dtype=torch.float64),
        ]
    )
    expected = torch.from_numpy(stats.norm.ppf(share.numpy(), centre, scale))
    torch.testing.assert_close(found.quantile(share), expected, rtol=0.0, atol=1e-10 * scale)


@pytest.mark.parametrize(
    "jump", [lambda x: (x > 0.1).double(), lambda x: x.sqrt()], ids=["jump", "not a number"]
)
def test_a_law_that_is_not_smooth_is_refused(jump: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ArithmeticError, match="not finite and smooth"):
        law(jump, -1.0, 1.0)
