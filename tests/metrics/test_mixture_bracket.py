"""What the brackets make of a sampler of several maps: held against mixtures whose density is
known.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bench.calibration.fold import Fold
from bench.metrics.base import Comparison, Skipped, kept
from bench.metrics.brackets import looked, mixture
from bench.metrics.brackets.density import Known, at_draws
from bench.metrics.brackets.map_draws import known_draws
from bench.metrics.brackets.preimages import Atlas, Preimages, search
from bench.metrics.kl import KlQP
from bench.metrics.kl_bounds import KlLower, KlUpper
from methods.base import Pushforward
from methods.parts.networks.pushforward_mixture import PushforwardMixture
from tests.helpers.bracket_maps import Capped, average_within
from tests.helpers.metric_cases import (
    Affine,
    StandardNormal,
    compare,
    correlated,
    found,
    rng,
    scaled,
    shifted,
    within,
)

SHARES = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
PARTS = (shifted(2, -1.5), scaled(2, 0.8), correlated(2))


def mixed(*heads: Pushforward) -> PushforwardMixture:
    shares = SHARES[: len(heads)]
    return PushforwardMixture(heads, (shares / shares.sum()).log())


def three_gaussians() -> PushforwardMixture:
    return mixed(*(Affine(part) for part in PARTS))


def log_q(z: torch.Tensor) -> torch.Tensor:
    parts = [part.log_prob(z) + share.log() for part, share in zip(PARTS, SHARES, strict=True)]
    return torch.stack(parts).logsumexp(0)


def test_the_divergence_of_a_mixture_of_one_to_one_maps_is_exact() -> None:
    q, problem = three_gaussians(), StandardNormal()
    z = q.sample(200_000, rng(7))
    gap = log_q(z) - problem.log_density(z) + problem.log_z
    slack = 4 * float(gap.std()) / math.sqrt(len(gap))
    comparison = compare(q, problem)
    for metric in (KlQP(), KlLower()):
        figure = metric.measure(comparison)
        assert found(figure).kind == "exact"
        assert within(figure, float(gap.mean()), slack)
    upper = found(KlUpper().measure(comparison))
    assert upper.kind == "upper bound"
    assert 0 < upper.value - found(KlQP().measure(comparison)).value < 0.01


def test_where_there_are_many_coordinates_fewer_draws_are_searched() -> None:
    """A step of the search inverts matrices of as many rows."""
    for dim, searched in ((2, 80), (30, 80), (60, 20)):
        q = mixed(Affine(shifted(dim, -0.5)), Affine(shifted(dim, 0.5)))
        drawn = known_draws(compare(q, StandardNormal(dim)), 20)
        assert not isinstance(drawn, Skipped)
        assert len(drawn.lower) == searched


def test_the_density_at_the_draws_is_the_sum_of_the_maps() -> None:
    bounds = mixture.bounds(three_gaussians(), (2000, 10, 300), rng(0))
    assert bounds is not None
    torch.testing.assert_close(
        bounds.log_q[-300:] + bounds.lower, log_q(bounds.points[-300:]), rtol=1e-9, atol=1e-9
    )
    known = at_draws(compare(three_gaussians(), StandardNormal()))
    assert isinstance(known, Known)
    assert known.kind == "exact"
    torch.testing.assert_close(known.log_q, log_q(known.points), rtol=1e-9, atol=1e-9)


def test_the_chance_of_the_map_stays_out_of_the_figure() -> None:
    """The truth itself, of four maps that overlap: the figure is 0, and hardly uncertain."""
    whole = PushforwardMixture((Affine(scaled(2, 1.0)),) * 4, torch.full((4,), 0.25).log().double())
    figure = found(KlQP(searched=50).measure(compare(whole, StandardNormal())))
    assert within(figure, 0.0)
    assert figure.stderr < 0.02


@pytest.mark.parametrize("dim", [2, 4])
def test_maps_that_fold_are_bounded_from_both_sides(dim: int) -> None:
    fold, other = Fold(dim), Affine(shifted(dim))
    q = mixed(fold, other)
    found_here = mixture.bounds(q, (2000, 10, 400), rng(1))
    assert found_here is not None
    z = found_here.points[-400:]
    truth = torch.logaddexp(
        fold.log_density(z) + q.log_weights[0], shifted(dim).log_prob(z) + q.log_weights[1]
    )
    more = truth - found_here.log_q[-400:]
    assert average_within(more - found_here.lower, 0.0)
    assert average_within(found_here.upper - more, 0.0, 0.3)
    assert "map 1 folds" in found_here.fault
    figure = found(KlQP(searched=100).measure(compare(q, StandardNormal(dim))))
    assert figure.kind == "lower bound"


def test_the_upper_bound_holds_where_the_search_finds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search that overlooks every noise of the second map: that map has to be guessed, at a
    price.
    """

    def blind(head: Pushforward, points: torch.Tensor, atlas: Atlas, *how: int | None) -> Preimages:
        if head is q.heads[1]:
            return Preimages.none(len(points), points.shape[1])
        return search(head, points, atlas, *how)

    q = three_gaussians()
    monkeypatch.setattr(looked, "search", blind)
    bounds = mixture.bounds(q, (2000, 10, 400), rng(2))
    assert bounds is not None
    assert bounds.missed > 100
    more = log_q(bounds.points[-400:]) - bounds.log_q[-400:]
    assert average_within(more - bounds.lower, 0.0)
    assert average_within(bounds.upper - more, 0.0)


def test_a_mixture_with_a_singular_map_or_with_spare_noise_says_so() -> None:
    singular = KlUpper().measure(compare(mixed(Capped(), Affine(scaled(2))), StandardNormal()))
    assert isinstance(singular, Skipped)
    assert "singular" in singular.reason

    class Wide(Pushforward):
        noise_dim = 3

        def forward(self, eps: torch.Tensor) -> torch.Tensor:
            return eps[:, :2]

    wide = KlUpper().measure(compare(mixed(Wide(), Affine(scaled(2))), StandardNormal()))
    assert isinstance(wide, Skipped)
    assert "as much noise" in wide.reason


def test_draws_of_a_mixture_are_those_of_its_maps() -> None:
    draws = three_gaussians().sample(20_000, rng(3))
    mean = sum(share * part.loc for share, part in zip(SHARES, PARTS, strict=True))
    assert isinstance(mean, torch.Tensor)
    stderr = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - mean).abs() < 4.5 * stderr).all()
    assert torch.equal(three_gaussians().sample(50, rng(3)), three_gaussians().sample(50, rng(3)))


def test_what_a_limit_of_time_interrupts_is_not_begun_again_by_the_next_metric() -> None:
    class LimitError(BaseException):
        pass

    begun = []

    @kept
    def long(comparison: Comparison) -> float:
        begun.append(1)
        raise LimitError

    comparison = compare(shifted(2), StandardNormal())
    for _ in range(2):
        with pytest.raises(LimitError):
            long(comparison)
    assert len(begun) == 1
    with pytest.raises(LimitError):  # of another comparison nothing is known
        long(compare(shifted(2), StandardNormal()))
    assert len(begun) == 2


def test_a_sample_that_is_searched_to_the_end_stands_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One start overlooks the second map right of 1: its own draws there are all searched on, and
    what it adds to those of the others is told by some of them.
    """

    def brief(head: Pushforward, points: torch.Tensor, atlas: Atlas, *how: int | None) -> Preimages:
        whole = search(head, points, atlas, *how)
        if head is not q.heads[1] or how == (None, None):
            return whole
        lost = points[:, :1] > 1
        return replace(
            whole,
            eps=whole.eps.masked_fill(lost.unsqueeze(-1), torch.nan),
            log_q=whole.log_q.masked_fill(lost, -torch.inf),
            sign=whole.sign.masked_fill(lost, 0.0),
        )

    q = mixed(Fold(2), Affine(scaled(2, 0.8)))
    monkeypatch.setattr(looked, "search", brief)
    bounds = mixture.bounds(q, (2000, 10, 3000), rng(4))
    assert bounds is not None
    z = bounds.points[-3000:]
    parts = Fold(2).log_density(z), scaled(2, 0.8).log_prob(z)
    truth = torch.logaddexp(parts[0] + q.log_weights[0], parts[1] + q.log_weights[1])
    more = truth - bounds.log_q[-3000:]
    assert bounds.thorough < 1500
    assert float((more - bounds.least).mean()) > 0.02  # what one start overlooks, if left alone
    assert (more - bounds.least > -1e-9).all()
    assert average_within(more - bounds.lower, 0.0, 0.002)
    assert average_within(bounds.upper - more, 0.0, 0.02)


def test_maps_that_are_faint_at_a_draw_are_not_searched_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def counted(
        head: Pushforward, points: torch.Tensor, atlas: Atlas, *how: int | None
    ) -> Preimages:
        asked.append(len(points))
        return search(head, points, atlas, *how)

    monkeypatch.setattr(looked, "search", counted)
    q = mixed(Affine(shifted(2, -20.0)), Affine(shifted(2, 20.0)))
    bounds = mixture.bounds(q, (2000, 10, 400), rng(5))
    assert bounds is not None
    assert not bounds.fault
    assert sum(asked) == 400 + bounds.thorough


def test_bounds_hold_where_a_draw_is_of_a_map_taken_for_faint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the strongest map searched alone, draws of the others are missed, and named at a
    price.
    """
    monkeypatch.setattr(looked, "FAINT", 0.5)
    monkeypatch.setattr(looked, "BEYOND", -1e9)
    bounds = mixture.bounds(three_gaussians(), (2000, 10, 400), rng(6))
    assert bounds is not None
    assert bounds.missed > 50
    more = log_q(bounds.points[-400:]) - bounds.log_q[-400:]
    assert average_within(more - bounds.lower, 0.0)
    assert average_within(bounds.upper - more, 0.0)
