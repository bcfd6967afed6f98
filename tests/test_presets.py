"""The presets plan by gradients and by the methods' own steps, so that no figure depends on the
machine.
"""

from __future__ import annotations

import re

import pytest

from bench.plugins.built_in import BUILT_IN
from bench.running.matrix import Cell, expand, presets, read
from methods.avb import AVB
from methods.base import Budget
from methods.pyro_mcmc import PyroNUTS

# one needs a folder of the user's: tests/problems/test_posteriordb.py expands it
every_preset = pytest.mark.parametrize("preset", sorted({*presets()} - {"posteriordb"}))


def cells(preset: str, method: str) -> list[Cell]:
    return [cell for cell in expand(read(preset)) if cell.method.name == method]


@every_preset
def test_no_preset_plans_by_the_clock(preset: str) -> None:
    for cell in expand(read(preset)):
        assert cell.budget.seconds is None
        assert cell.budget.guard is not None
        assert cell.wall is not None
        assert cell.wall >= 2 * cell.budget.guard


@every_preset
def test_the_description_tells_the_gradients(preset: str) -> None:
    assert re.search(r"\d[\d.,]* (million )?gradients", read(preset).description)


@pytest.mark.parametrize(
    ("preset", "words", "gradients"),
    [
        ("quick", "1.5 million in each", 1_536_000),
        ("smoke", "77,000 gradients a cell", 76_800),
        ("paper", "5.1 million gradients", 5_120_000),
    ],
)
def test_the_gradients_of_avb_are_those_described(preset: str, words: str, gradients: int) -> None:
    method = cells(preset, "avb")[0].method.build()
    assert isinstance(method, AVB)
    assert method.planned(Budget()) * method.batch == gradients
    assert words in read(preset).description


def test_every_method_of_quick_runs_on_the_same_seeds() -> None:
    found = {name: {cell.seed for cell in cells("quick", name)} for name in ("avb", "pyro-nuts")}
    assert found["pyro-nuts"] == found["avb"] == {0, 1, 2}
    nuts = cells("quick", "pyro-nuts")[0].method.build()
    assert isinstance(nuts, PyroNUTS)
    # few enough for a first look, and enough that chains which move between two modes agree
    assert 3 * nuts.chains * (nuts.warmup + nuts.draws) <= 15_000
    assert nuts.draws >= 1000


def test_quick_measures_what_its_tables_show_the_costly_last() -> None:
    names = [metric.name for metric in expand(read("quick"))[0].metrics]
    assert names == [
        "kl_qp",
        "kl_upper",
        "kl_pq",
        "mean_error",
        "sd_error",
        "mode_balance",
        "mmd",
        "kl_knn",
    ]


def test_the_preset_of_methods_has_every_method_on_seven_problems() -> None:
    found = expand(read("methods"))
    assert {cell.method.name for cell in found} == set(BUILT_IN["methods"])
    for name in BUILT_IN["methods"]:
        assert len({cell.problem.name for cell in found if cell.method.name == name}) == 7
    assert all(cell.budget.gradients is not None for cell in found)
