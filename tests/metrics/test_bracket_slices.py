"""Maps of much noise into the plane: what a search of their slices finds, and the bounds that
follow, against densities that are known.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from bench.calibration.fold import Fold
from bench.calibration.learned import TurnedMap
from bench.metrics.amortised.posterior import (
    AmortisedElbo,
    AmortisedElboUpper,
    PosteriorKl,
    PosteriorKlUpper,
)
from bench.metrics.brackets import auxiliary, planar, slices
from bench.metrics.brackets.slices import Slice, search
from methods.base import Pushforward
from tests.helpers.bracket_maps import Breathing, FoldedBreathing, average_within
from tests.helpers.metric_cases import SIGMAS, normal, rng
from tests.metrics.test_amortised import MODEL, figure, pair


@dataclass(frozen=True, eq=False)
class Beside(Pushforward):
    """The cubic fold of two coordinates, moved by the third that it is fed with."""

    noise_dim: int = 3

    def forward(self, eps: Tensor) -> Tensor:
        return Fold(2).forward(eps[..., :2]) + eps[..., 2:]


def test_a_search_of_slices_finds_every_preimage_of_a_fold() -> None:
    held = torch.tensor([[0.0, 0.0, 0.4], [0.0, 0.0, -1.0]]).double()
    cut = Slice(Beside(), torch.eye(3, 2, dtype=torch.float64), held)
    own = normal(rng(0), 2, 2)
    points = Fold(2).forward(normal(rng(1), 40, 2))
    found = search(cut, points, cut.forward(own))
    for k in range(2):
        under = found.slices == k
        total = torch.zeros(41, dtype=torch.float64)
        total = total.index_add_(0, found.points[under], found.log_q[under].exp())
        sought = torch.cat([points, cut.forward(own)[[k]]]) - held[k, 2]
        torch.testing.assert_close(total.log(), Fold(2).log_density(sought))
    again = cut.forward(own)[found.slices[found.points == 40]]
    assert len(again) >= 2


@pytest.mark.parametrize("map_", [Breathing(2), FoldedBreathing(2)], ids=["one", "folded"])
def test_slices_bracket_the_known_density(map_: Breathing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planar, "SLICES", 200)
    result = planar.bounds(map_, (1000, 40), rng(6))
    assert result is not None
    truth = map_.log_density(result.points[1000:]) - result.log_q[1000:]
    assert average_within(truth - result.lower, 0.0)
    assert average_within(result.upper - truth, 0.0)
    assert float((result.upper - result.lower).mean()) < 0.2
    assert result.missed < 0.01


def test_draws_that_the_search_misses_are_paid_for_and_the_bound_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "NODES", 5)
    monkeypatch.setattr(planar, "SLICES", 150)
    map_ = FoldedBreathing(2)
    result = planar.bounds(map_, (1000, 30), rng(6))
    assert result is not None
    assert result.missed > 0.05
    truth = map_.log_density(result.points[1000:]) - result.log_q[1000:]
    assert average_within(truth - result.lower, 0.0)
    assert average_within(result.upper - truth, 0.2)


def test_a_lower_bound_holds_where_no_weight_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = torch.full((60, auxiliary.PROPOSALS), -torch.inf, dtype=torch.float64)
    monkeypatch.setattr(auxiliary, "_weights", lambda *_: nothing)
    map_ = Breathing(3)
    result = auxiliary.bounds(map_, 3, (500, 500, 60), rng(6))
    assert result is not None
    truth = map_.log_density(result.points[500:]) - result.log_q[500:]
    assert average_within(truth - result.lower, 1.0, math.log(auxiliary.PROPOSALS + 1) + 1)


def test_posteriors_of_an_encoder_of_much_noise_are_bracketed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planar, "SLICES", 160)
    moved, n = 0.6, 3
    one = dataclasses.replace(
        pair(moved), encoder=TurnedMap(MODEL, moved), x=MODEL.test[:n].double()
    )
    gap, evidence = 0.5 * moved**2, float(MODEL.log_likelihood_of_truth[:n].mean())
    for low, high, truth in (
        (PosteriorKl(count=n), PosteriorKlUpper(count=n), gap),
        (AmortisedElbo(count=n), AmortisedElboUpper(count=n), evidence - gap),
    ):
        below, above = figure(low.measure(one)), figure(high.measure(one))
        assert (below.kind, above.kind) == ("lower bound", "upper bound")
        assert below.value - SIGMAS * below.stderr < truth < above.value + SIGMAS * above.stderr
        assert 0 < above.value - below.value < 0.1
