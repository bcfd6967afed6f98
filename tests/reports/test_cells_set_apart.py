"""What a ranking does not believe: neighbours that saturate, and seeds that are left when others
gave nothing.
"""

from __future__ import annotations

from pathlib import Path

from bench.store import CellRecord, Row, Store
from reports.ranking import NoiseFloor, rank
from reports.readings import FLOOR
from reports.results import summarise
from tests.helpers.figures import WORDS, figure

NOISE = figure(-0.05, 0.05, "estimate")


def test_neighbours_above_the_floor_put_no_exact_rival_out() -> None:
    """A lost mode of 8.3 nats read 0.78 by neighbours; an exact 3.0 is better than that."""
    read, known = figure(0.7, 0.86, "estimate"), figure(2.9, 3.1, "exact")
    verdicts = rank({"draws": read, "density": known}, NoiseFloor(NOISE, True)).verdicts
    assert {name: verdict.rank for name, verdict in verdicts.items()} == {
        "draws": "tied",
        "density": "tied",
    }
    # a noise that does not saturate
    other = rank({"draws": read, "density": known}, NoiseFloor(NOISE)).verdicts
    assert other["draws"].rank == "best"


def test_neighbours_that_read_far_more_are_out_all_the_same() -> None:
    read, known = figure(0.7, 0.86, "estimate"), figure(0.05, 0.15, "exact")
    found = rank({"draws": read, "density": known}, NoiseFloor(NOISE, True)).verdicts
    assert found["density"].rank == "best"


def test_the_best_of_the_seeds_that_are_left_is_not_the_best(tmp_path: Path) -> None:
    """A seed whose KL is infinite has no figure; the others do not speak for it."""
    for gone, expected in ((0, "best"), (1, "tied")):
        store = Store(tmp_path / str(gone))
        store.note({"metrics": WORDS})
        for method, value in (("brittle", 0.1), ("plain", 0.5), (FLOOR, 0.0)):
            for seed in range(3):
                whole = method != "brittle" or seed >= gone
                figure = (
                    (value, 0.01, "exact", "ok", "")
                    if whole
                    else (None, None, None, "skipped", "KL(q||p) is infinite.")
                )
                row = Row(0, True, 1.0, 10, 10, 100, "kl_qp", *figure)
                store.append(
                    CellRecord(f"{method}{seed}", "p", {}, method, {}, seed, {}, "ok"), [row]
                )
        assert summarise(store).verdicts["p", "kl_qp", "brittle"].rank == expected
