"""An iteration of AVB beside a plain eager loop of the same algorithm: read the ratio of the two.

Run with ``tox -e bench``, or ``pytest tests/benchmarks/test_avb.py``; the test runs skip them. For
the ratio by processor seconds, both alternating, ``python -m tests.benchmarks.avb``.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.plugins import registry
from tests.benchmarks.avb import PLAYED, SETTINGS, WARM, players


@pytest.mark.parametrize("sizes", SETTINGS)
@pytest.mark.parametrize("loop", ["plain", "avb"])
def test_iteration(benchmark: Any, sizes: str, loop: str) -> None:
    benchmark.group = f"one iteration of AVB, {sizes}"
    player = players(sizes, registry.load(registry.find("problems", "eight-schools"))())[loop]
    benchmark.pedantic(
        player.play, args=(0.5,), rounds=2 * PLAYED[sizes], warmup_rounds=WARM[sizes]
    )
