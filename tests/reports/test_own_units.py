"""The page in the model's own units, and what stored draws resolve, said beside the figures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bench.running.matrix import Cell
from bench.store import Store
from problems.eight_schools import EightSchools
from reports.content import content
from reports.pictures.posteriors import Posterior, gather, own_units
from reports.results import summarise
from tests.helpers.cells import cells, run
from tests.helpers.figures import WORDS

SCHOOLS = ["mu", "tau", *(f"theta[{j + 1}]" for j in range(8))]


def matrix(problem: str, *metrics: str, draws: int = 200) -> list[Cell]:
    return cells(["exact"], problems=[problem], metrics=metrics, draws=draws)


@pytest.fixture(scope="module")
def schools(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return run(matrix("eight-schools", "mean_error_constrained"), tmp_path_factory.mktemp("run"))


def test_a_run_keeps_its_draws_in_the_models_own_units(schools: Store) -> None:
    for name in ("truth-eight-schools", schools.cells()[0]["key"]):
        z, named = schools.draws(name), schools.named(name)
        assert z is not None
        assert named is not None
        assert named[1] == SCHOOLS
        np.testing.assert_allclose(named[0][:, 1], np.exp(z[0][:, 1]), rtol=1e-5)


def test_marginals_show_the_named_parameters(schools: Store) -> None:
    (section,) = content(schools).sections
    (marginals,) = [picture for picture in section.pictures if "marginals" in picture.name]
    assert marginals.why == ""
    assert marginals.caption.startswith("The density of each of the model's parameters")
    found = gather(schools, summarise(schools), "eight-schools")
    assert isinstance(found, Posterior)
    own = own_units(schools, "eight-schools", found)
    assert own is not None
    assert own.coordinates == SCHOOLS
    assert (own.truth[:, 1] > 0).all()
    assert set(own.draws) == {"exact"}


def test_their_errors_have_a_table_of_their_own(schools: Store) -> None:
    (section,) = content(schools).sections
    titles = [table.title for table in section.tables]
    assert "The model's own parameters on eight-schools" in titles


def test_where_parameters_are_coordinates_nothing_is_kept_twice(tmp_path: Path) -> None:
    store = run(matrix("linear-regression", "mean_error", "mean_error_constrained"), tmp_path)
    assert store.named("truth-linear-regression") is None
    (section,) = content(store).sections
    (marginals,) = [picture for picture in section.pictures if "marginals" in picture.name]
    assert marginals.caption.startswith("The density of each coordinate.")
    row = next(row for row in store.rows() if row["metric"] == "mean_error_constrained")
    assert row["status"] == "skipped"


def test_a_model_that_cannot_tell_its_units_costs_no_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError("no units today")

    monkeypatch.setattr(EightSchools, "constrain", broken)
    store = run(matrix("eight-schools", "mean_error"), tmp_path)
    assert store.draws("truth-eight-schools") is not None
    assert store.named("truth-eight-schools") is None


def test_what_stored_draws_resolve_is_said_of_every_metric_that_they_judge(
    tmp_path: Path,
) -> None:
    metrics = ("mean_error", "sd_error", "coverage", "mmd", "ksd")
    store = run(matrix("logistic-regression", *metrics, draws=400), tmp_path)
    store.note({"metrics": WORDS})
    (section,) = content(store).sections
    said = section.judged
    assert "400 of them" in said
    assert (
        f"Mean error {1 / math.sqrt(400):.3f} sd, SD error 0.035 sd, Coverage error 0.025" in said
    )
    assert "What they resolve of MMD² is what the noise floor reads" in said
    assert "KSD" not in said
