"""Draws of a run as a file for ArviZ: every cell and the truth, in the model's own units and out of
them, and back again by ``judge``.
"""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.commands import judge as judging
from bench.commands import run as runs
from bench.commands.export import export_run
from bench.commands.judge import Request, judge_files
from bench.commands.run import run_cells as here
from bench.commands.run import run_matrix
from bench.errors import UserError
from bench.outside.chains import judged
from bench.outside.tree import Branch, paths, write
from bench.store import SOURCES, Store
from problems.eight_schools import EightSchools
from tests.helpers.pages import ROOT, blocks

xarray = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
pytest.importorskip("h5py")

PROBLEM, DRAWS = EightSchools(), 200
FILE = "methods.py"
PLUGINS = """
from dataclasses import dataclass
import torch
from methods import Draws, Gaussian, Method

@dataclass(frozen=True)
class Unit(Method):
    name = "unit"

    def run(self, target, budget, generator):
        yield Gaussian(torch.zeros(target.dim).double(), torch.ones(target.dim).double())

@dataclass(frozen=True)
class Chain(Method):
    name = "chain"

    def run(self, target, budget, generator):
        yield Draws(torch.randn(2, 100, target.dim, generator=generator, dtype=torch.float64))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two methods and two seeds."""
    place = tmp_path_factory.mktemp("run")
    (place / FILE).write_text(PLUGINS)
    methods = [f"{place}/{FILE}:{name}" for name in ("Unit", "Chain")]
    changes = {"problems": ["eight-schools"], "methods": methods, "metrics": ["mean_error"]}
    more = {"seeds": 2, "draws": DRAWS, "truth": None, "tuned": None, "budget": {"checkpoints": 1}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "conclude", lambda *_: True)  # pages are no matter here
        assert run_matrix("smoke", {**changes, **more}, 0, place / "out", False)
    return place / "out"


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    export_run(folder, folder / "draws.nc")
    return folder / "draws.nc"


def group(file: Path, path: str) -> dict[str, torch.Tensor]:
    with xarray.open_dataset(file, group=path, engine="h5netcdf") as found:
        return {str(name): torch.from_numpy(x.to_numpy()) for name, x in found.data_vars.items()}


def kept(folder: Path, method: str) -> dict[int, torch.Tensor]:
    """The draws in the store, by seed."""
    store = Store(folder, create=False)
    draws = {c["seed"]: store.draws(c["key"]) for c in store.cells() if c["method"] == method}
    return {seed: torch.from_numpy(found[0]) for seed, found in draws.items() if found}


@pytest.mark.parametrize("method", ["methods.py:Unit", "methods.py:Chain"])
def test_seeds_are_chains_in_the_models_own_units_and_in_coordinates(
    file: Path, folder: Path, method: str
) -> None:
    place, stored = f"eight-schools/{method}", kept(folder, method)
    z = group(file, f"{place}/unconstrained_posterior")["z"]
    assert torch.equal(z, torch.stack([stored[0], stored[1]]))
    own = PROBLEM.constrain(z)
    found = group(file, f"{place}/posterior")
    assert set(found) == set(own)
    for name, values in own.items():
        torch.testing.assert_close(found[name], values)
    torch.testing.assert_close(
        group(file, f"{place}/sample_stats")["lp"], PROBLEM.log_density(z), rtol=1e-12, atol=1e-12
    )


def test_log_q_is_that_of_the_approximation_where_it_has_one(file: Path) -> None:
    z = group(file, "eight-schools/methods.py:Unit/unconstrained_posterior")["z"]
    normal = -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
    log_q = group(file, "eight-schools/methods.py:Unit/sample_stats")["log_q"]
    torch.testing.assert_close(log_q, normal, rtol=1e-5, atol=1e-5)  # draws are kept in float32
    assert "log_q" not in group(file, "eight-schools/methods.py:Chain/sample_stats")


def test_the_truth_is_a_group_of_its_own(file: Path, folder: Path) -> None:
    found = Store(folder, create=False).draws("truth-eight-schools")
    assert found is not None
    truth = group(file, "eight-schools/truth/unconstrained_posterior")["z"]
    assert torch.equal(truth, torch.from_numpy(found[0])[None])
    assert set(group(file, "eight-schools/truth/posterior")) == {"mu", "tau", "theta"}


def test_arviz_opens_a_group(file: Path) -> None:
    arviz = pytest.importorskip("arviz")
    place = "eight-schools/methods.py:Chain"
    if hasattr(arviz, "InferenceData"):
        data = arviz.InferenceData.from_netcdf(str(file), base_group=place, engine="h5netcdf")
    else:
        data = arviz.from_netcdf(str(file))[place]
    assert data["posterior"]["theta"].shape == (2, DRAWS, 8)
    assert data["sample_stats"]["lp"].shape == (2, DRAWS)


@pytest.mark.parametrize("unconstrained", [True, False])
def test_judge_reads_the_same_draws_back(file: Path, folder: Path, unconstrained: bool) -> None:
    place = "eight-schools/methods.py:Chain"
    found = judged([file], PROBLEM, unconstrained=unconstrained, group=place)
    stored = kept(folder, "methods.py:Chain")
    error = 0.0 if unconstrained else 1e-9
    torch.testing.assert_close(
        found.chains, torch.stack([stored[0], stored[1]]), rtol=0, atol=error
    )


def test_judge_reads_the_same_figures_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "conclude", lambda *_: True)
    monkeypatch.setattr(
        judging, "run_cells", lambda todo, store, _, console: here(todo, store, 0, console)
    )
    store = Store(folder, create=False)
    for cell in store.cells():  # one seed, so that the draws are those of one cell
        if cell["method"] == "methods.py:Chain" and cell["seed"] == 0:
            mine = cell["key"]
    z, labels = store.draws(mine) or (np.empty(0), [])
    only = Branch("eight-schools", "chain", [0], z[None], labels)
    write([only], {}, tmp_path / "one.nc")
    request = Request(
        *((tmp_path / "one.nc",), "eight-schools", "again", None, None, ("mean_error",), DRAWS),
        unconstrained=True,
    )
    assert judge_files(request, tmp_path / "judged")

    def figure(place: Path, method: str) -> float:
        there = Store(place, create=False)
        keys = {c["key"] for c in there.cells() if (c["method"], c["seed"]) == (method, 0)}
        (value,) = (
            r["value"] for r in there.rows() if r["key"] in keys and r["metric"] == "mean_error"
        )
        return float(value)

    ours, theirs = figure(folder, "methods.py:Chain"), figure(tmp_path / "judged", "again")
    assert theirs == pytest.approx(ours, rel=1e-5)  # draws are kept in float32


def test_a_file_of_many_groups_asks_for_one_by_name(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"draws in 3 groups; name one by --group: 'eight-schools/"):
        judged([file], PROBLEM)
    with pytest.raises(UserError, match=r"no group of draws .*'eight-schools/unit'"):
        judged([file], PROBLEM, group="eight-schools/unit")
    (tmp_path / "a.csv").write_text("mu\n1\n")
    with pytest.raises(UserError, match=r"--group 'x': .*a\.csv is no netCDF file"):
        judged([tmp_path / "a.csv"], PROBLEM, group="x")


def test_a_model_that_is_gone_costs_no_draws(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(folder)
    before = store.info()[SOURCES]
    try:
        store.note({SOURCES: {"eight-schools": {"name": "gone.py:Gone", "fields": {}}}})
        export_run(folder, tmp_path / "a.nc")
    finally:
        store.note({SOURCES: before})
    assert "the model cannot be made here (There is no file 'gone.py'" in capsys.readouterr().out
    place = "eight-schools/methods.py:Chain"
    assert judged([tmp_path / "a.nc"], PROBLEM, unconstrained=True, group=place).chains.numel()


def test_a_cell_without_draws_and_seeds_of_unequal_length_are_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    store = Store(copy)
    keys = {(c["method"], c["seed"]): c["key"] for c in store.cells()}
    draws, labels = store.draws(keys["methods.py:Chain", 1]) or (np.empty(0), [])
    store.save_draws(keys["methods.py:Chain", 1], draws[:150], labels)
    next(store.draws_folder.glob(f"{keys['methods.py:Unit', 1]}*")).unlink()
    export_run(copy, tmp_path / "a.nc")
    said = capsys.readouterr().out
    assert "methods.py:Chain on eight-schools: the seeds have 200, 150 draws; the first 150" in said
    assert "methods.py:Unit on eight-schools, seed 1: no draws; ok" in said
    z = group(tmp_path / "a.nc", "eight-schools/methods.py:Chain/unconstrained_posterior")["z"]
    assert z.shape[:2] == (2, 150)
    for left in store.draws_folder.glob("*.npz"):
        left.unlink()
    with pytest.raises(UserError, match=r"run holds no draws: .*seed 0: no draws"):
        export_run(copy, tmp_path / "b.nc")
    assert not (tmp_path / "b.nc").exists()


def test_labels_with_slashes_and_labels_that_are_alike_have_groups_of_their_own() -> None:
    z = np.zeros((1, 1, 1))
    names = ("a/b.py:C", "a-b.py:C", "truth", "truth", "..")
    assert paths([Branch("p data=/x", name, [0], z, ["z"]) for name in names]) == [
        "p data=-x/a-b.py:C",
        "p data=-x/a-b.py:C (2)",
        "p data=-x/truth",
        "p data=-x/truth (2)",
        "p data=-x/-",
    ]


def test_without_the_libraries_the_export_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., object] = importlib.import_module

    def absent(name: str) -> object:
        if name == "h5netcdf":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UserError, match=r"a\.nc: netCDF needs .*pip install 'postbench\[arviz\]'"):
        export_run(folder, tmp_path / "a.nc")


def test_the_lines_of_the_page_read_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (block for block in blocks(ROOT / "docs" / "judge.md", "python") if "tree" in block)
    monkeypatch.chdir(file.parent)
    exec(code.replace("gaussian-vb", "methods.py:Chain"), {})
    assert "DataArray" in capsys.readouterr().out
