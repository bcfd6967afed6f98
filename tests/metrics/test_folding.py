"""Whether a map folds: the share of its draws that lie on the rarer sheet, and where a cell says
so.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.calibration.fold import Fold
from bench.metrics.brackets.folding import folded
from bench.metrics.brackets.pushforward import branch
from methods import PushforwardMixture
from methods.base import Pushforward
from tests.helpers.bracket_maps import Breathing, Capped
from tests.helpers.cells import cells, own, run
from tests.helpers.metric_cases import SIGMAS, Affine, normal, rng, scaled, standard


def test_the_share_of_draws_on_the_rarer_sheet_is_told() -> None:
    fold = Fold(2)
    positive = (branch(fold, normal(rng(1), 50_000, 2)).sign > 0).double()
    rarer = min(float(positive.mean()), 1 - float(positive.mean()))
    assert rarer > 0.05
    share = folded(fold, 2, rng(0))
    assert share == pytest.approx(rarer, abs=SIGMAS * (rarer / 4000) ** 0.5)
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64).log()
    mixed = PushforwardMixture((fold, Affine(scaled(2))), weights)
    assert folded(mixed, 2, rng(0)) == pytest.approx(
        rarer / 4, abs=SIGMAS * (rarer / 2000) ** 0.5 / 4
    )


def test_a_map_of_one_sign_does_not_fold() -> None:
    assert folded(Affine(scaled(3)), 3, rng(0)) == 0.0


@pytest.mark.parametrize("other", [Breathing(2), Capped()], ids=["more noise", "singular"])
def test_where_the_sign_says_nothing_there_is_no_share(other: Pushforward) -> None:
    assert folded(other, 2, rng(0)) is None


def test_what_is_no_map_has_no_share() -> None:
    assert folded(standard(2), 2, rng(0)) is None


def test_a_cell_says_that_its_map_folds(tmp_path: Path) -> None:
    store = run(cells([own("Folding"), own("Folding:folds=false")]), tmp_path)
    by_fold = {bool(cell["settings"].get("folds", True)): cell for cell in store.cells()}
    assert "the map folds: det J has the rarer sign on" in by_fold[True]["reason"]
    assert by_fold[True]["diagnostics"]["folded"] == pytest.approx(0.0228, abs=0.011)
    assert by_fold[False]["diagnostics"]["folded"] == 0.0
    assert "folds" not in by_fold[False]["reason"]
    assert {cell["status"] for cell in store.cells()} == {"ok"}
