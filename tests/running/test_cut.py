"""A cell whose method had a plan says in its note where the budget cut it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.cells import cells, own, run


@pytest.mark.parametrize(
    ("gradients", "note"), [(30, "it was cut after 30 of 100 iterations"), (1000, "")]
)
def test_a_run_that_its_budget_cut_says_after_how_much_of_its_plan(
    gradients: int, note: str, tmp_path: Path
) -> None:
    budget = {"gradients": gradients, "checkpoints": 1}
    (cell,) = run(cells([own("Planning")], budget=budget), tmp_path).cells()
    assert cell["status"] == "ok"
    assert cell["reason"] == note
