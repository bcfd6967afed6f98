"""What a metric says of itself: the words that a page prints, and how methods are ranked by it."""

from __future__ import annotations

import json
import typing
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from bench.metrics.base import Comparison, Estimate, Metric, Worse
from bench.plugins import registry

BUILT_IN = sorted(registry.BUILT_IN["metrics"])


def built_in(name: str) -> type[Metric]:
    found: type[Metric] = registry.load(registry.find("metrics", name))
    return found


@dataclass(frozen=True)
class Own(Metric):
    """A metric of a stranger's."""

    name: ClassVar[str] = "own"
    unit: ClassVar[str] = "nats"

    def measure(self, comparison: Comparison) -> Estimate:
        return Estimate(0.0, 0.0, "exact")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_metric_of_the_suite_has_words_of_its_own(name: str) -> None:
    metric = built_in(name)
    unit = metric.unit.replace("^-2", "⁻²").replace("^2", "²")
    assert metric.heading.endswith(f", {unit}") if unit else "," not in metric.heading
    assert metric.meaning.endswith(".")
    assert metric.meaning != Metric.meaning
    assert metric.worse in typing.get_args(Worse)
    if metric.ideal is None:
        assert metric.unranked != Metric.unranked


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_it_says_can_be_kept_as_json(name: str) -> None:
    said = built_in(name).described()
    assert json.loads(json.dumps(said)) == said
    assert set(said) == {
        "unit", "ideal", "heading", "meaning", "worse", "density", "astray", "unranked",
        "resolves", "target",
    }  # fmt: skip


def test_headings_are_told_apart() -> None:
    headings = [built_in(name).heading for name in BUILT_IN]
    assert len(set(headings)) == len(headings)


def test_a_metric_without_words_goes_by_its_name_and_unit() -> None:
    said = Own.described()
    assert (said["heading"], said["worse"], said["ideal"]) == ("own, nats", "both", 0.0)
    assert said["meaning"] == "A metric added by a plugin."


@pytest.mark.parametrize(
    ("ideal", "kept"), [(1, 1.0), (np.float32(0.5), 0.5), (None, None), ("broken", None)]
)
def test_the_ideal_is_a_float_or_nothing(ideal: object, kept: float | None) -> None:
    said = type("Other", (Own,), {"ideal": ideal}).described()
    assert said["ideal"] == kept
    assert (kept is None) == bool(said["unranked"])
