"""The checks of a reference: sound chains pass, and each kind of harm is seen by the one that looks
for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.reference.agreement import Sample, compare, shares, within
from bench.reference.health import mixing, trajectories
from bench.reference.limits import above, below, together
from bench.reference.stein import stein
from problems.base import Modes
from tests.helpers.reference_parts import failed, normal, run_of, walk


def test_sound_chains_pass() -> None:
    chains = walk(20, 1000, 0.2)
    assert failed([*mixing(run_of(chains), chains[:, ::10]), *trajectories(run_of(chains))]) == []


@pytest.mark.parametrize(
    ("harm", "names"),
    [
        (
            lambda z: z + 0.5 * torch.arange(20.0).reshape(20, 1, 1),
            ["route: split R-hat", "route: bulk ESS"],
        ),
        (lambda z: z * (1 + 0.5 * torch.arange(20.0)).reshape(20, 1, 1), ["route: split R-hat"]),
        (lambda z: z[:, ::10].repeat_interleave(10, 1), ["route: bulk ESS"]),
        (lambda z: z * 0, ["route: split R-hat"]),
        (lambda z: z[:, :2], ["route: split R-hat"]),
    ],
    ids=["chains apart", "spreads apart", "repeated", "constant", "short"],
)
def test_bad_chains_fail(harm: Callable[[Tensor], Tensor], names: list[str]) -> None:
    chains = harm(walk(20, 1000, 0.2)).double()
    assert set(names) <= set(failed(mixing(run_of(chains), chains)))


def test_stored_draws_that_remember_divergences_and_weak_momenta_fail() -> None:
    chains = walk(20, 1000, 0.2)
    assert failed(mixing(run_of(chains), walk(20, 500, 0.2))) == ["stored draws: autocorrelation"]
    assert failed(trajectories(run_of(chains, divergences=20))) == [
        "route: share of divergent transitions"
    ]
    assert failed(trajectories(run_of(chains, e_fmi=0.19))) == ["route: E-FMI"]


def test_nan_meets_no_limit() -> None:
    assert not below("x", math.nan, 1.0).met
    assert not above("x", math.nan, 1.0).met


HALVES = Modes(lambda z: (z[..., 0] > 0).long(), (0.5, 0.5))


def test_samples_of_one_law_agree_however_long_their_memory() -> None:
    scores = []
    for seed in range(12):
        pair = Sample(walk(40, 250, 0.8, seed)), Sample(walk(4, 2500, 0.8, 100 + seed))
        checks = compare("x", *pair, ("a", "b"), HALVES if seed % 2 else None)
        assert failed(checks) == []
        scores.append(checks[0].figure)
    assert (
        max(scores) > 2.0
    )  # the worst of 14 or 28 scores: if all were small, the errors would be too wide


@pytest.mark.parametrize(
    "harm",
    [
        lambda z: z + 0.15,
        lambda z: z * 1.1,
        lambda z: z + 0.3 * (z.square() - 1) * 0.5,
        lambda z: z.abs() * z.sign().roll(1, 0),
    ],
    ids=["shift", "scale", "skew", "nothing"],
)
def test_another_law_is_found(
    harm: Callable[[Tensor], Tensor], request: pytest.FixtureRequest
) -> None:
    other = harm(walk(4, 5000, 0.5, 9))
    checks = compare("x", Sample(walk(40, 500, 0.5)), Sample(other), ("a", "b"), None)
    assert failed(checks) == ([] if "nothing" in request.node.name else ["x"])


def test_modes_are_compared_inside_and_counted_outside() -> None:
    stuck = walk(4, 5000, 0.5)
    stuck[..., 0] = stuck[..., 0].abs() * torch.tensor([1, 1, 1, -1.0]).reshape(4, 1)
    sample = Sample(stuck)
    assert failed(compare("x", Sample(walk(40, 500, 0.5, 2)), sample, ("a", "b"), HALVES)) == []
    assert failed(compare("x", Sample(walk(40, 500, 0.5, 2)), sample, ("a", "b"), None)) != []
    assert shares("x", Sample(walk(40, 500, 0.5)), HALVES).met
    assert not shares("x", Sample(walk(40, 500, 0.5) + 0.1), HALVES).met
    assert failed(compare("x", sample, Sample(stuck[:3]), ("a", "b"), HALVES)) == [
        "x",
        "x: effective draws",
    ]
    inside = within(stuck, HALVES)
    assert float(inside[3].mean(0)[0]) == pytest.approx(0.0, abs=1e-12)


def test_few_draws_are_too_few_to_agree() -> None:
    checks = compare("x", Sample(walk(40, 500, 0.5)), Sample(walk(4, 200, 0.9)), ("a", "b"), None)
    assert failed(checks) == ["x: effective draws"]


@pytest.mark.parametrize(
    ("harm", "met"),
    [
        (lambda z: z, True),
        (lambda z: z + 0.1, False),
        (lambda z: z * 1.07, False),
        (lambda z: torch.stack([z[:, 0], 0.99 * z[:, 1] + 0.14 * z[:, 0]], -1), False),
        (lambda z: (z + 0.2 * z.square() - 0.2) / math.sqrt(1.08), False),
    ],
    ids=["same", "shift", "scale", "tie", "skew"],
)
def test_stein_sees_what_is_not_of_the_density(harm: Callable[[Tensor], Tensor], met: bool) -> None:
    draws = harm(normal(10_000, 2))
    assert stein(draws, -draws, ("a", "b")).met is met


def test_the_worst_of_many_comparisons_is_allowed_more() -> None:
    assert together(1) == pytest.approx(3.2905, abs=1e-4)
    assert together(1) < together(100) < 5.0
