"""The search for preimages, and what it proves about a density: held against maps whose preimages
are known.
"""

from __future__ import annotations

import math

import pytest
import torch

from bench.calibration.fold import Fold, Waves
from bench.calibration.gaussians import Affine
from bench.metrics.brackets import preimages, upper
from bench.metrics.brackets.newton import solve
from bench.metrics.brackets.preimages import Preimages, search
from bench.metrics.brackets.upper import excess
from methods.base import Pushforward
from tests.helpers.bracket_maps import Bounded, atlas_of, average_within
from tests.helpers.metric_cases import normal, rng

SEARCHED = 500


# The search for preimages


@pytest.mark.parametrize("dim", [2, 10])
def test_jacobian_of_the_fold_is_right(dim: int) -> None:
    fold, eps = Fold(dim), normal(rng(0), 5, dim)
    fold.forward(eps)  # the rotations are made here, where random numbers are allowed
    torch.testing.assert_close(fold.jacobian(eps), Pushforward.jacobian(fold, eps))


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_newton_solves_a_line_in_one_go(dim: int) -> None:
    affine = Affine(
        normal(rng(0), dim), normal(rng(1), dim, dim) + 3 * torch.eye(dim, dtype=torch.float64)
    )
    eps = normal(rng(2), 700, dim)
    root, done = solve(affine, affine.forward(eps), torch.zeros_like(eps))
    assert done.all()
    torch.testing.assert_close(root, eps)


def test_newton_gives_up_where_there_is_nothing_to_find() -> None:
    outside = torch.tensor([[2.0, 0.0], [0.5, 0.0]], dtype=torch.float64)
    root, done = solve(Bounded(), outside, torch.zeros(2, 2, dtype=torch.float64))
    assert done.tolist() == [False, True]
    torch.testing.assert_close(torch.tanh(root[1]), outside[1])


def test_newton_shortens_steps_that_lead_away() -> None:
    """From 1.5 and beyond, full steps for tanh run off to either side."""
    eps, start = (
        torch.full((1, 2), 0.1, dtype=torch.float64),
        torch.full((1, 2), 1.5, dtype=torch.float64),
    )
    root, done = solve(Bounded(), torch.tanh(eps), start)
    assert done.all()
    torch.testing.assert_close(root, eps)


def test_newton_does_not_mix_its_rows() -> None:
    fold, eps = Fold(3), normal(rng(0), 40, 3)
    points, starts = fold.forward(eps), normal(rng(1), 40, 3)
    together, done = solve(fold, points, starts)
    alone = [solve(fold, points[i : i + 1], starts[i : i + 1]) for i in range(40)]
    assert torch.equal(done, torch.cat([part[1] for part in alone]))
    torch.testing.assert_close(together[done], torch.cat([part[0] for part in alone])[done])


@pytest.mark.parametrize("dim", [2, 10])
def test_search_accounts_for_the_density(dim: int) -> None:
    fold = Fold(dim)
    points = fold.forward(normal(rng(1), SEARCHED, dim))
    result = search(fold, points, atlas_of(fold))
    missing = fold.log_density(points) - result.log_density
    assert missing.min() > -1e-6  # nothing is counted twice
    assert (missing < 1e-6).double().mean() > 0.98
    assert result.balanced.double().mean() > 0.98
    inside = (Waves(dim).pull(points)[:, 0].abs() * 1.5 * fold.scale / fold.bend**1.5) < 1
    assert ((result.count == 3) == inside).double().mean() > 0.98


def test_preimages_are_kept_once() -> None:
    none = Preimages.none(3, 2)
    affine = Affine(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    rows, eps = torch.tensor([0, 2]), torch.tensor([[0.0, 1.0], [2.0, 3.0]], dtype=torch.float64)
    one = none.add(affine, rows, eps)
    assert one.count.tolist() == [1, 0, 1]
    assert one.log_density[1] == -math.inf
    again = one.add(
        affine, rows, eps + torch.tensor([[1e-6, 0.0], [1.0, 0.0]], dtype=torch.float64)
    )
    assert again.count.tolist() == [1, 0, 2]
    assert again.column(rows, eps).tolist() == [0, 0]
    assert again.column(torch.tensor([1]), eps[:1]).tolist() == [-1]


# Bounds on what the other preimages add


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("dim", [2, 10])
def test_excess_brackets_the_known_density(dim: int, seed: int) -> None:
    fold, eps = Fold(dim), normal(rng(10 + seed), SEARCHED, dim)
    behind = excess(fold, eps, atlas_of(fold, seed=seed), rng(seed))
    truth = fold.log_density(behind.known.points) - behind.known.log_q
    assert (behind.lower <= truth + 1e-6).all()
    assert average_within(behind.upper - truth, 0.0)
    assert float((behind.upper - behind.lower).mean()) < 0.05


@pytest.mark.parametrize("dim", [2, 5])
def test_upper_bound_holds_for_a_search_that_misses_much(
    dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preimages, "FIRST", 1)
    monkeypatch.setattr(preimages, "ROUNDS", 0)
    fold, eps = Fold(dim), normal(rng(3), SEARCHED, dim)
    behind = excess(fold, eps, atlas_of(fold), rng(4))
    assert 0.1 < behind.missed.double().mean() < 0.9
    truth = fold.log_density(behind.known.points) - behind.known.log_q
    assert (behind.lower <= truth + 1e-6).all()
    assert behind.upper.isfinite().all()
    assert average_within(behind.upper - truth, 0.0)
    assert float((behind.upper - truth).mean()) > 0.05


def test_chance_to_be_found_blindly_is_a_probability() -> None:
    """For a one-to-one map every start leads to the one preimage, so the chance is 1 however it is
    estimated.
    """
    affine = Affine(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
    eps = normal(rng(0), 40, 3)
    centres = normal(rng(1), 40, 6, 3)
    log_chance = upper.log_chance(affine, affine.forward(eps), eps, centres, rng(2))
    assert average_within(log_chance.exp(), 1.0, 1.0)


def test_doubt_is_learnt_from_the_other_half() -> None:
    missed = torch.tensor([True, False, True, False, False, False, False, False])
    kinds = torch.arange(8) < 4, torch.arange(8) >= 4
    share = upper.shares(missed, kinds)
    assert share.tolist() == pytest.approx([0.5 / 3, 2.5 / 3] * 2 + [0.5 / 3] * 4)
    fold, eps = Fold(2), normal(rng(0), 300, 2)
    behind = excess(fold, eps, atlas_of(fold), rng(1))
    some = behind.found.count > 0
    doubt = upper.shares(
        behind.missed, (some & behind.found.balanced, some & ~behind.found.balanced)
    )
    hits = ~behind.missed
    torch.testing.assert_close((behind.upper - behind.lower)[hits], -torch.log1p(-doubt[hits]))
    assert (doubt[hits] > 0).all()
