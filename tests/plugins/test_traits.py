"""Traits: a closed list, what a problem declares is so, and a trait stands for its problems."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.errors import UserError
from bench.fitting.target import CountedTarget
from bench.plugins import registry
from bench.plugins.built_in import BUILT_IN
from bench.plugins.traits import TOLD, having, meanings, traits
from bench.running.matrix import expand, validated
from problems.base import TRAITS
from tests.helpers.exact_problems import seeded

DRAWS = 4000
CORRELATION = 0.58  # "about 0.6": between the flow's 0.56 and the linear regression's 0.61
BOW = 0.27  # of the 5% and 95% quantiles about the median: 0.24 of the flow, 0.30 of the horseshoe
STRAIGHT = 1e-9  # by which a linear gradient misses its own average


def facts_of(problem: Any) -> tuple[float, float, float]:
    """The largest correlation, the most uneven quantiles, how far the gradient is from linear."""
    z = problem.truth.sample(DRAWS, seeded(0))
    correlations = z.T.corrcoef() if problem.dim > 1 else torch.zeros(1, 1)
    low, middle, high = torch.quantile(z, torch.tensor([0.05, 0.5, 0.95]).double(), dim=0)
    bow = ((high - 2 * middle + low) / (high - low)).abs().max()
    a, b = z[:50], z[50:100]
    away = (slope(problem, (a + b) / 2) - (slope(problem, a) + slope(problem, b)) / 2).abs().max()
    largest = correlations.fill_diagonal_(0).abs().max()
    return float(largest), float(bow), float(away / (1 + slope(problem, a).abs().max()))


def slope(problem: Any, z: Tensor) -> Tensor:
    return CountedTarget(problem, compiled=False).value_and_grad(z)[1]


@pytest.mark.parametrize("name", BUILT_IN["problems"])
def test_what_a_problem_declares_can_be_measured(name: str) -> None:
    problem = registry.load(registry.find("problems", name))()
    declared = set(problem.traits)
    assert declared <= set(TRAITS)
    largest, bow, away = facts_of(problem)
    several = problem.modes is not None and len(problem.modes.weights) > 1
    assert ("multimodal" in declared) == several
    assert ("gaussian" in declared) == (away < STRAIGHT)
    heavy = problem.moments is not None and problem.moments < math.inf
    assert ("heavy-tailed" in declared) == heavy
    if not several:  # else it is between the modes
        assert ("correlated" in declared) == (largest > CORRELATION)
        assert ("skewed" in declared) == (bow > BOW)


def test_some_traits_are_told_by_dimension_and_truth() -> None:
    of = {name: traits(registry.find("problems", name)) for name in BUILT_IN["problems"]}
    assert {"planar", "exact-truth"} <= of["ring-2d"]
    assert {"high-dimensional", "exact-truth"} <= of["gaussian-100"]
    assert "certified" in of["horseshoe"]
    assert all(("exact-truth" in found) != ("certified" in found) for found in of.values())


def test_every_trait_is_of_some_problem_and_has_a_meaning() -> None:
    assert set(meanings()) == set(TRAITS) | set(TOLD)
    assert all(having([trait]) for trait in meanings())


def test_several_traits_are_all_wanted() -> None:
    assert having(["multimodal", "heavy-tailed"]) == ("student-mixture",)
    with pytest.raises(UserError, match="No problem is multimodal and gaussian"):
        having(["multimodal", "gaussian"])
    with pytest.raises(UserError, match="There is no trait named 'fat'"):
        having(["fat"])


def test_a_matrix_names_problems_by_trait() -> None:
    words = {"problems": ["trait:multimodal+planar", "funnel"], "methods": ["gaussian-vb"]}
    cells = expand(validated({**words, "seeds": 1}, where="here"))
    assert [cell.problem.name for cell in cells] == [
        *having(["multimodal", "planar"]),
        "funnel",
    ]
