"""The commands of the pages on posteriordb and on draws made elsewhere, run as they stand there."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from bench.cli import main
from bench.commands import judge as judging
from bench.commands import run as runs
from bench.outside.arrays import flattened
from bench.store import Store
from problems.eight_schools import EightSchools
from problems.parts.twins import FOLDER
from tests.helpers.pages import ROOT, blocks

PROBLEM, CHAINS, DRAWS = EightSchools(), 4, 250
NAME = "eight_schools-eight_schools_noncentered"
DATA = {
    "J": 8,
    "y": [28, 8, -3, 7, -1, 1, 18, 12],
    "sigma": [15, 10, 16, 11, 9, 11, 10, 18],
    "mu_scale": 5,
    "tau_scale": 5,
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, in this process, without pages."""
    monkeypatch.chdir(tmp_path)
    whole = runs.run_cells
    for module in (judging, runs):
        monkeypatch.setattr(
            module, "run_cells", lambda todo, store, _, console: whole(todo, store, 0, console)
        )
        monkeypatch.setattr(module, "conclude", lambda *_: True)


def lines(page: str, word: str) -> list[str]:
    """The commands of the one block of shell on a page that has a word in it."""
    found = [block for block in blocks(ROOT / "docs" / page, "sh") if word in block]
    assert len(found) == 1
    return found[0].splitlines()


def postbench(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    else:
        code = 0
    assert not code, line


def drawn() -> dict[str, torch.Tensor]:
    """Exact draws of eight schools, {name: [chains, draws, *shape]}."""
    z = PROBLEM.truth.sample(CHAINS * DRAWS, torch.Generator().manual_seed(1))
    return PROBLEM.constrain(z.reshape(CHAINS, DRAWS, -1))


def test_draws_of_other_programs_are_judged_as_the_page_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    pytest.importorskip("h5py")
    show, chains, netcdf = lines("judge.md", "--columns")
    postbench(show, monkeypatch)
    header = capsys.readouterr().out.strip().split(",")
    columns = dict(flattened({name: v.numpy() for name, v in drawn().items()}))
    for i in range(CHAINS):
        table = pd.DataFrame({name: columns[name][i] for name in header})
        table.to_csv(f"chain{i + 1}.csv", index=False)
    named = {
        name: (("chain", "draw", *(f"{name}_{i}" for i in range(v.ndim - 2))), v.numpy())
        for name, v in drawn().items()
    }
    xarray.Dataset(named).to_netcdf("fit.nc", group="posterior", engine="h5netcdf")
    figures = []
    for line, place in ((chains, "results/judged"), (netcdf, "results/quick")):
        postbench(f"{line} --metric mean_error", monkeypatch)
        store = Store(Path(place), create=False)
        keys = {cell["key"] for cell in store.cells() if cell["method"] != "exact"}
        figures += [
            (row["value"], row["stderr"])
            for row in store.rows()
            if row["key"] in keys and row["metric"] == "mean_error"
        ]
    assert len(figures) == 2
    assert figures[0] == pytest.approx(figures[1], rel=1e-9)  # a file of text, and one of numbers
    assert 0 < figures[0][0] < 0.3
    (export,) = (line for line in lines("judge.md", "draws.nc") if "export" in line)
    postbench(export, monkeypatch)
    assert Path("draws.nc").is_file()


def folder() -> Path:
    """A folder in posteriordb's layout that holds the posterior of the page."""
    root = Path("clone") / "posterior_database"
    draws = root / "reference_posteriors" / "draws"
    columns = dict(flattened({name: v.numpy() for name, v in drawn().items() if name != "eta"}))
    about = {"model_name": "schools", "data_name": "schools", "reference_posterior_name": NAME}
    content = {
        root / "posteriors" / f"{NAME}.json": about | {"dimensions": {"theta": 8, "mu": 1}},
        root / "data" / "data" / "schools.json": DATA,
        draws / "draws" / f"{NAME}.json": [
            {name: values[i].tolist() for name, values in columns.items()} for i in range(CHAINS)
        ],
    }
    for file, value in content.items():
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(value))
    (root / "models" / "stan").mkdir(parents=True)
    program = (FOLDER / "eight_schools.stan").read_text(encoding="utf-8")
    (root / "models" / "stan" / "schools.stan").write_text(program)
    return Path("clone")


def test_a_posterior_of_posteriordb_is_listed_and_run_as_the_page_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("stanli")
    _, listing, run = lines("posteriordb.md", "--posteriordb DIR")
    place = str(folder())
    postbench(listing.replace("DIR", place), monkeypatch)
    assert f"{NAME}  9 parameters  with draws" in capsys.readouterr().out
    more = " --seeds 1 --draws 400 --metric mean_error"
    postbench(run.replace("DIR", place) + more, monkeypatch)
    cells = Store(Path("results/custom"), create=False).cells()
    assert {cell["method"]: cell["status"] for cell in cells} == dict.fromkeys(
        ("stan-nuts", "laplace", "exact"), "ok"
    )
