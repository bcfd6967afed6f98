"""Cells of learners on generative models: their figures, and faults that are rows with a reason."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from bench.errors import UserError
from bench.fitting.resume import Clock, Resumption
from bench.plugins import spec
from bench.running import worker
from bench.running.events import Measured
from bench.running.matrix import Cell, expand, validated
from bench.running.measuring import generator
from bench.store import COSTS, Store
from methods.base import Budget
from tests.helpers.cells import NORMAL, run

LEARNERS = Path(__file__).parents[1] / "helpers" / "plugins" / "learners.py"
FIGURES = ("log_likelihood", "mean_elbo", "posterior_kl", "active_units")


def cell(learner: str, *, model: str = "four-points:hidden=[8]", guard: float = 60.0) -> Cell:
    figures = tuple(spec.parse("figures", name) for name in FIGURES)
    budget = Budget(None, None, 3, guard)
    parts = spec.parse("models", model), spec.parse("learners", learner), figures
    return Cell(*parts, 0, 200, budget, 120.0, 4096.0)


def rows_of(store: Store, metric: str) -> list[dict[str, object]]:
    return [row for row in store.rows() if row["metric"] == metric]


def test_a_learner_of_a_single_file_has_its_figures_at_every_checkpoint(tmp_path: Path) -> None:
    store = run([cell(f"{LEARNERS}:Still")], tmp_path)
    (ended,) = store.cells()
    assert (ended["status"], ended["reason"]) == ("ok", "")
    assert ended["gradients"] == 2000
    assert ended["diagnostics"] == {"step": 1.0}
    found = rows_of(store, "posterior_kl")
    assert [row["gradients"] for row in found] == [1000, 2000]
    assert [row["kind"] for row in found] == ["exact", "exact"]
    likelihood, elbo = (rows_of(store, name)[-1]["value"] for name in FIGURES[:2])
    assert isinstance(likelihood, float)
    assert isinstance(elbo, float)
    assert isinstance(found[-1]["value"], float)
    assert elbo == pytest.approx(likelihood - found[-1]["value"], abs=1e-9)
    assert not rows_of(store, "evaluations")


def test_what_pictures_need_is_kept_beside_the_draws(tmp_path: Path) -> None:
    of = cell(f"{LEARNERS}:Still")
    store = run([of], tmp_path)
    kept = store.more(of.key)
    assert kept["codes"].shape == (2, 4, 200, 2)
    assert kept["spent"].tolist() == [1000, 2000]
    np.testing.assert_array_equal(kept["x"], np.eye(4))
    assert kept["reconstruction"].shape == (4, 4)
    assert kept["sample"].shape == (16, 4)
    axes = kept["lattice"]
    area = (axes[0, 1, 0] - axes[0, 0, 0]) * (axes[1, 0, 1] - axes[0, 0, 1])
    np.testing.assert_allclose(np.exp(kept["log_posterior"]).sum((1, 2)) * area, 1.0, rtol=1e-3)
    draws, labels = store.draws(of.key) or (np.zeros(0), [])
    assert labels == ["z1", "z2"]
    assert draws.shape == (800, 2)


def test_the_noise_floor_of_a_given_decoder_reads_nothing(tmp_path: Path) -> None:
    store = run([cell("exact", model="fixed-decoder:held=2")], tmp_path)
    (row,) = rows_of(store, "posterior_kl")
    assert isinstance(row["value"], float)
    assert abs(row["value"]) < 2e-6


FAULTS = {
    "nan": ("diverged", "800 of 800 draws of q(z | x) are not finite"),
    "nan decoder": ("diverged", "log p(x | z) are not finite"),
    "hang": ("timed-out", "guard of 1 seconds"),
    "overwrites": ("failed", "overwrote the data of the generative model"),
    "charges": ("failed", "charge(rows=...) must not be negative, got -1"),
    "other": ("failed", "yielded a BernoulliDecoder; expected a methods.amortised.base.Learned"),
    "raises": ("failed", "no more ideas"),
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_learner_that_goes_wrong_is_a_row_with_its_reason(tmp_path: Path, how: str) -> None:
    store = run([cell(f"{LEARNERS}:Odd:how={how}", guard=1.0)], tmp_path)
    (ended,) = store.cells()
    status, reason = FAULTS[how]
    assert ended["status"] == status
    assert reason in ended["reason"]


COMES_TO_NAN = {  # seen by the learner at its next step, or by the figures of what it yields
    "avb": r"Training diverged after \d+ steps: the gradient .* is not finite; try a smaller lr",
    "vae": r"draws of q\(z \| x\) are not finite",
}


@pytest.mark.parametrize("learner", COMES_TO_NAN)
def test_a_learner_whose_training_comes_to_nan_is_diverged(tmp_path: Path, learner: str) -> None:
    store = run([cell(f"{learner}:lr=1e30,iterations=20,batch=32,hidden=[8]")], tmp_path)
    (ended,) = store.cells()
    assert ended["status"] == "diverged"
    assert re.search(COMES_TO_NAN[learner], str(ended["reason"]))


def expanded(
    problems: list[str], methods: list[str], metrics: list[str] | None = None
) -> list[Cell]:
    words = {"problems": problems, "methods": methods, "metrics": metrics, "seeds": 1}
    return expand(validated(words, where="here"))


def test_learners_meet_generative_models_and_methods_meet_posteriors() -> None:
    cells = expanded(["four-points", "mixture-2d"], ["avb", "vae", "gaussian-vb"])
    met = {(of.problem.name, of.method.name, of.method.entry.group) for of in cells}
    assert met == {
        ("four-points", "avb", "learners"),
        ("four-points", "vae", "learners"),
        ("mixture-2d", "avb", "methods"),
        ("mixture-2d", "gaussian-vb", "methods"),
    }


def test_each_side_is_measured_by_its_own() -> None:
    one, other = expanded(["four-points", NORMAL], ["avb"], ["log_likelihood", "kl_qp"])
    assert [metric.name for metric in one.metrics] == ["log_likelihood"]
    assert [metric.name for metric in other.metrics] == ["kl_qp"]
    (one,) = expanded(["four-points"], ["avb"], ["kl_qp"])  # it names none of these
    assert "posterior_kl" in [metric.name for metric in one.metrics]


@pytest.mark.parametrize(
    ("problems", "methods", "said"),
    [
        (["four-points"], ["gaussian-vb"], "gaussian-vb is a method, which is for posteriors"),
        (["mixture-2d"], ["vae"], "vae is a learner, which is for generative models"),
        (["four-points", "mixture-2d"], ["vae"], "has posteriors and no method for them"),
        (["four-pints"], ["vae"], "no problem or model named 'four-pints'.*'four-points'"),
        (["four-points"], ["vea"], "no method or learner named 'vea'.*'vae'"),
    ],
)
def test_what_does_not_meet_is_named(problems: list[str], methods: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        expanded(problems, methods)


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    of = cell("vae:iterations=30,every=30")
    found = []
    for name in ("one", "two"):
        store = run([of], tmp_path / name)
        found.append([row["value"] for row in store.rows() if row["metric"] in FIGURES])
    assert found[0] == found[1]
    other = dataclasses.replace(of, seed=1)
    assert generator("metric", of).initial_seed() != generator("metric", other).initial_seed()


class Killed(BaseException):
    """What stands for the end of a process: nobody catches it."""


@pytest.mark.parametrize("heard", [3, 14])
def test_a_cell_that_was_killed_goes_on_with_the_same_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: int
) -> None:
    monkeypatch.setattr(worker, "KEPT_EVERY", 0.0)
    of = cell("vae:iterations=100,every=10,batch=32,hidden=[8]")
    of = dataclasses.replace(of, budget=Budget(None, 3200, 4, 60.0))
    whole, told = run([of], tmp_path / "whole"), 0

    def emit(event: object) -> None:
        nonlocal told
        told += isinstance(event, Measured)
        if told > heard:
            raise Killed

    with pytest.raises(Killed):
        worker.work(of, tmp_path / "cut", emit)
    assert list((tmp_path / "cut" / "resume").glob("*.npz"))
    again = run([of], tmp_path / "cut")
    assert not (tmp_path / "cut" / "resume").exists()
    first, second = (
        [
            {name: x for name, x in row.items() if name != "seconds"}
            for row in store.rows()
            if row["metric"] not in COSTS or row["metric"] == "gradients"
        ]
        for store in (whole, again)
    )
    assert first == second
    for name, array in whole.more(of.key).items():
        np.testing.assert_array_equal(array, again.more(of.key)[name])


def test_a_state_that_cannot_be_read_is_removed_and_the_cell_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "resume" / "cell.npz"
    file.parent.mkdir()
    file.write_bytes(b"half of it")
    found = Resumption(file)
    assert found.began == Clock()
    assert found.before.rows == []
    assert not file.parent.exists()
