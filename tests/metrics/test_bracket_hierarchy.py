"""The bounds of a semi-implicit approximation hold a density that is known, and lie close to it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.metrics.base import Skipped
from bench.metrics.brackets import hierarchy
from bench.metrics.evidence import LogZError
from bench.metrics.kl import KlQP
from bench.metrics.kl_bounds import KlLower, KlUpper
from methods.base import SemiImplicit
from tests.helpers.metric_cases import SIGMAS, StandardNormal, compare, found, rng

DIM = 3
SPREAD = torch.tensor([0.9, 0.5, 1.1], dtype=torch.float64)
NARROW = 0.4


class Straight(SemiImplicit):
    """N(0.3, diag SPREAD^2 + NARROW^2): the mean is linear in the first three of four noises."""

    mixing_dim, noise_dim = DIM + 1, 2 * DIM + 1

    def conditional(self, psi: Tensor) -> tuple[Tensor, Tensor]:
        return 0.3 + psi[:, :DIM] * SPREAD, torch.full((len(psi), DIM), NARROW).double()

    def log_prob_known(self, z: Tensor) -> Tensor:
        variance = SPREAD.square() + NARROW**2
        white = (z - 0.3).square() / variance
        return -0.5 * (white + variance.log() + math.log(2 * math.pi)).sum(-1)

    def kl(self) -> float:
        variance = SPREAD.square() + NARROW**2
        return float(0.5 * (variance + 0.09 - 1 - variance.log()).sum())


class Halves(SemiImplicit):
    """Two bumps in each of three coordinates by the signs of the noise: no Gaussian joint law."""

    mixing_dim, noise_dim = DIM, 2 * DIM

    def conditional(self, psi: Tensor) -> tuple[Tensor, Tensor]:
        return 0.8 * psi.sign(), torch.full((len(psi), DIM), NARROW).double()

    def log_prob_known(self, z: Tensor) -> Tensor:
        bumps = [-0.5 * ((z - a) / NARROW).square() for a in (-0.8, 0.8)]
        one = torch.logaddexp(*bumps) - math.log(2 * NARROW * math.sqrt(2 * math.pi))
        return one.sum(-1)


def apart(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


@pytest.mark.parametrize("q", [Straight(), Halves()], ids=["straight", "halves"])
@pytest.mark.parametrize("learnt", [True, False])
def test_both_bounds_hold_in_expectation(
    q: Straight | Halves, learnt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hierarchy, "PROPOSALS", 8)  # few, so that the bounds are apart
    if not learnt:
        monkeypatch.setattr(hierarchy, "_conditional", lambda *_: None)
    between = hierarchy.bounds(q, DIM, 4000, rng(0))
    known = q.log_prob_known(between.points)
    below, error = apart(between.lower - known)
    above, other = apart(between.upper - known)
    assert below < SIGMAS * error
    assert above > -SIGMAS * other
    assert below < above
    if learnt:
        assert above - below < 1.0
    else:
        assert below < -10 * error  # eight blind proposals do miss something
        assert above > 10 * other


def test_more_proposals_bring_them_together(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = []
    for count in (4, 16, 64):
        monkeypatch.setattr(hierarchy, "PROPOSALS", count)
        between = hierarchy.bounds(Halves(), DIM, 2000, rng(0))
        gaps.append(float((between.upper - between.lower).mean()))
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]


def test_every_draw_errs_for_itself() -> None:
    """Standard errors of the bracket are those of independent draws: ten brackets scatter so."""
    truth, scores = Straight().kl(), []
    for seed in range(10):
        result = found(KlUpper(250).measure(compare(Straight(), StandardNormal(DIM), seed)))
        scores.append((result.value - truth) / result.stderr)
    assert 0.4 < torch.tensor(scores).std() < 1.8


@pytest.mark.parametrize("make", [KlQP, KlLower, KlUpper])
def test_the_divergence_lies_in_the_bracket(make: Callable[[int], KlQP]) -> None:
    result = found(make(500).measure(compare(Straight(), StandardNormal(DIM))))
    assert result.kind == ("upper bound" if make is KlUpper else "lower bound")
    assert "4 dimensions of noise" in result.note
    assert abs(result.value - Straight().kl()) < SIGMAS * result.stderr + 0.01


def test_weights_by_its_density_are_not_to_be_had() -> None:
    result = LogZError().measure(compare(Straight(), StandardNormal(DIM)))
    assert isinstance(result, Skipped)
    assert "no closed form" in result.reason
