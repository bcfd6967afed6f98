"""The benchmark of learners still meets the learners that it times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.benchmarks.alternate import alternate
from tests.benchmarks.amortised import SIZES, contenders

SMALL: dict[str, Any] = {"batch": 8, "hidden": (4,)}
SMALLER = {"avb": {"width": 4, "blocks": 1, "noise_dim": 2}, "vae": {}, "iwae": {"k": 2}}


@pytest.mark.parametrize("size", SMALLER)
def test_a_learner_and_its_plain_loop_both_run_their_iterations(size: str) -> None:
    changed: Any = {**SMALL, **SMALLER[size]}
    found = alternate(contenders(replace(SIZES[size], **changed), iterations=3), rounds=1)
    assert {name: times.failed for name, times in found.items()} == {
        "recorded": "",
        "plain loop": "",
    }
    assert all(times.achieved == [3.0] for times in found.values())
