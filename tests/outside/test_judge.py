"""Draws that were made elsewhere: files of every kind read alike, are measured as a method's draws
are, and stand beside a run's methods; a broken file is named with the place where it is broken.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.commands.judge import Request, columns, judge_files
from bench.errors import UserError
from bench.outside.arrays import flattened
from bench.outside.chains import judged
from bench.outside.columns import key_of, matched
from bench.running.matrix import expand
from bench.running.matrix_file import validated
from bench.running.worker import work
from bench.store import Store
from problems.eight_schools import EightSchools
from reports.results import summarise

PROBLEM = EightSchools()
CHAINS, DRAWS = 3, 40
Z = PROBLEM.truth.sample(CHAINS * DRAWS, torch.Generator().manual_seed(1)).reshape(
    CHAINS, DRAWS, -1
)
COLUMNS = dict(flattened({name: v.numpy() for name, v in PROBLEM.constrain(Z).items()}))
METRICS = ("mean_error", "kl_knn", "sd_error")
PLUGIN = """
from dataclasses import dataclass
import numpy as np, torch
from methods import Draws, Method

@dataclass(frozen=True)
class Same(Method):
    file: str
    name = "same"

    def run(self, target, budget, generator):
        yield Draws(torch.from_numpy(np.load(self.file)["draws"]))
"""


def frame(chain: int) -> pd.DataFrame:
    return pd.DataFrame({name: values[chain] for name, values in COLUMNS.items()})


def csvs(folder: Path) -> list[Path]:
    """As CmdStan writes: comments, columns of its own, dots for brackets, a file a chain."""
    files = []
    for chain in range(CHAINS):
        table = frame(chain).rename(columns=lambda name: name.replace("[", ".").replace("]", ""))
        table.insert(0, "lp__", -1.0)
        table.insert(1, "divergent__", [1] + [0] * (DRAWS - 1))
        files.append(folder / f"chain{chain}.csv")
        files[-1].write_text(f"# model = schools\n{table.to_csv(index=False)}# Elapsed: 1 s\n")
    return files


def one_csv(folder: Path) -> list[Path]:
    """All chains in one table, its rows in disorder."""
    tables = [frame(c).assign(chain=c + 1, draw=range(DRAWS)) for c in range(CHAINS)]
    table = pd.concat(tables).sample(frac=1, random_state=np.random.RandomState(0))
    table.to_csv(folder / "all.csv", index=False)
    return [folder / "all.csv"]


def parquet(folder: Path) -> list[Path]:
    tables = [frame(c).assign(chain=c + 1, draw=range(DRAWS)) for c in range(CHAINS)]
    pd.concat(tables).to_parquet(folder / "draws.parquet", index=False)
    return [folder / "draws.parquet"]


def npz(folder: Path) -> list[Path]:
    np.savez(folder / "d.npz", **{k: v.numpy() for k, v in PROBLEM.constrain(Z).items()})  # type: ignore[arg-type]
    return [folder / "d.npz"]


def netcdf(folder: Path) -> list[Path]:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    pytest.importorskip("h5py")
    named = {
        name: (("chain", "draw", *(f"{name}_{i}" for i in range(v.ndim - 2))), v.numpy())
        for name, v in PROBLEM.constrain(Z).items()
    }
    file = folder / "fit.nc"
    xarray.Dataset(named).to_netcdf(file, group="posterior", engine="h5netcdf")
    return [file]


KINDS = [csvs, one_csv, parquet, npz, netcdf]


@pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__)
def test_every_kind_of_file_gives_the_same_draws(
    write: Callable[[Path], list[Path]], tmp_path: Path
) -> None:
    found = judged(write(tmp_path), PROBLEM)
    torch.testing.assert_close(found.chains, Z, rtol=1e-12, atol=1e-12)
    assert found.remarks == ()
    assert found.divergences == (CHAINS if write is csvs else None)


def test_unconstrained_draws_are_taken_as_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", draws=Z.numpy())
    assert torch.equal(judged([tmp_path / "z.npz"], PROBLEM, unconstrained=True).chains, Z)
    table = pd.DataFrame(Z[0].numpy(), columns=list(PROBLEM.coordinates))
    table.to_csv(tmp_path / "z.csv", index=False)
    assert torch.equal(judged([tmp_path / "z.csv"], PROBLEM, unconstrained=True).chains[0], Z[0])


def test_judged_draws_read_as_those_of_a_method_to_the_last_digit(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", draws=Z.numpy())
    request = Request(
        (tmp_path / "z.npz",), "eight-schools", "elsewhere", 12.5, 900, METRICS, unconstrained=True
    )
    assert judge_files(request, tmp_path / "run")
    (tmp_path / "same.py").write_text(PLUGIN)
    matrix = validated(
        {
            "problems": ["eight-schools"],
            "methods": [f"{tmp_path}/same.py:Same:file={tmp_path}/z.npz"],
            "metrics": list(METRICS),
            "seeds": [0],
            "draws": CHAINS * DRAWS,
            "budget": {"checkpoints": 1},
        },
        "test",
    )
    (cell,) = expand(matrix)
    events: list[object] = []
    work(cell, Store(tmp_path / "other").folder, events.append)
    rows = [row for event in events for row in getattr(event, "rows", ())]
    theirs = {row.metric: (row.value, row.stderr) for row in rows if row.metric in METRICS}
    store = Store(tmp_path / "run", create=False)
    keys = {cell["method"]: cell["key"] for cell in store.cells()}
    ours = {
        row["metric"]: (row["value"], row["stderr"])
        for row in store.rows()
        if row["key"] == keys["elsewhere"]
    }
    assert {name: ours[name] for name in METRICS} == theirs
    assert ours["fit_seconds"] == (12.5, 0.0)
    assert ours["gradients"] == (900.0, 0.0)
    assert "evaluations" not in ours  # nobody told
    assert set(keys) == {"exact", "elsewhere"}


def test_draws_stand_beside_the_methods_of_a_run_and_give_way_to_newer_ones(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", draws=Z.numpy())
    request = Request(
        *((tmp_path / "z.npz",), "eight-schools", "one", None, None, METRICS), unconstrained=True
    )
    assert judge_files(request, tmp_path / "run")
    np.savez(tmp_path / "z.npz", draws=Z.numpy() + 0.1)
    assert judge_files(request, tmp_path / "run")
    assert judge_files(dataclasses.replace(request, name="two"), tmp_path / "run")
    frame = summarise(Store(tmp_path / "run", create=False)).frame
    assert set(frame["method"]) == {"exact", "one", "two"}
    assert frame[frame["method"] == "one"]["key"].nunique() == 1


def broken(text: str, by: str) -> Callable[[Path], list[Path]]:
    """The first chain's file with one word replaced."""

    def write(folder: Path) -> list[Path]:
        lines = frame(0).to_csv(index=False).splitlines()
        cells = lines[4].split(",")
        lines[4] = ",".join([by if i == 1 else cell for i, cell in enumerate(cells)])
        file = folder / "a.csv"
        file.write_text("\n".join(lines if text == "tau" else [lines[0]]) + "\n")
        return [file]

    return write


def changed(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        change(frame(0)).to_csv(folder / "a.csv", index=False)
        return [folder / "a.csv"]

    return write


def raw(content: bytes, name: str = "a.csv") -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        (folder / name).write_bytes(content)
        return [folder / name]

    return write


def unequal(folder: Path) -> list[Path]:
    frame(0).to_csv(folder / "a.csv", index=False)
    frame(1)[:-1].to_csv(folder / "b.csv", index=False)
    return [folder / "a.csv", folder / "b.csv"]


def cut(folder: Path) -> list[Path]:
    text = frame(0).to_csv(index=False)
    (folder / "a.csv").write_text(text[:-30])
    return [folder / "a.csv"]


BROKEN: list[tuple[str, Callable[[Path], list[Path]], str]] = [
    ("no number", broken("tau", "NA?"), r"a\.csv, line 5, column 'tau': 'NA\?' is no number"),
    (
        "NaN",
        broken("tau", "nan"),
        r"a\.csv, line 5, column 'tau': nan is no finite number; 1 of 40",
    ),
    ("support", broken("tau", "-1.0"), r"a\.csv, line 5, column 'tau'.*outside the support.*tau"),
    ("no draws", broken("header", ""), r"a\.csv holds no draws"),
    ("missing", changed(lambda t: t.drop(columns="theta[3]")), r"no column in .*'theta\[3\]'"),
    ("extra", changed(lambda t: t.assign(x=1.0)), r"no parameter is called 'x'.*--spare-columns"),
    ("twice", raw(b"mu,mu\n1,2\n"), r"line 1: two columns are named 'mu'"),
    ("lengths", unequal, r"b\.csv has 39 draws, .*a\.csv has 40"),
    ("cut off", cut, r"a\.csv, line 41: \d+ values where the header has 10"),
    (
        "disagrees",
        changed(lambda t: t.assign(mu=t["mu"] * float("1e12"))),
        "does not agree|outside",
    ),
    ("unknown kind", raw(b"", "a.xlsx"), r"a\.xlsx: draws are read from \.csv"),
    ("not there", lambda folder: [folder / "b.csv"], r"There is no file .*b\.csv"),
    ("not parquet", raw(b"x", "a.parquet"), r"a\.parquet cannot be read as Parquet"),
    ("not npz", raw(b"x", "a.npz"), r"a\.npz cannot be read as \.npz"),
    ("not text", raw(b"\xff\xfe\x00\n1"), r"a\.csv cannot be read as CSV"),
]


@pytest.mark.parametrize(
    ("write", "words"), [row[1:] for row in BROKEN], ids=[r[0] for r in BROKEN]
)
def test_a_broken_file_is_named_with_the_place(
    write: Callable[[Path], list[Path]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        judged(write(tmp_path), PROBLEM)


def test_spare_columns_are_passed_over_where_that_is_asked_for(tmp_path: Path) -> None:
    files = changed(lambda t: t.assign(x=1.0))(tmp_path)
    assert torch.allclose(judged(files, PROBLEM, spare=True).chains[0], Z[0])


def test_copied_stuck_and_rounded_chains_are_said(tmp_path: Path) -> None:
    for name, table in (("a", frame(0)), ("b", frame(0)), ("c", frame(1)[:1].loc[[0] * DRAWS])):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    said = " ".join(judged([tmp_path / f"{n}.csv" for n in "abc"], PROBLEM).remarks)
    assert "40 of 81 different draws stand in more than one chain" in said
    assert "c.csv never moves" in said
    np.savetxt(
        tmp_path / "r.csv",
        Z[0].numpy(),
        fmt="%.2g",
        delimiter=",",
        header=",".join(PROBLEM.coordinates),
        comments="",
    )
    (said,) = judged([tmp_path / "r.csv"], PROBLEM, unconstrained=True).remarks
    assert "r.csv is written with 2 significant digits at most" in said


def test_the_header_is_that_of_the_parameters() -> None:
    assert columns("eight-schools") == ["mu", "tau", *(f"theta[{i}]" for i in range(1, 9))]


def test_names_of_columns_are_read_in_every_style() -> None:
    assert key_of("theta[2, 1]") == key_of("theta.2.1") == ("theta", (2, 1))
    assert key_of("tau") == ("tau", ())
    wanted = {"theta": (2,), "s": (1,)}
    from_zero = matched(["theta[0]", "theta[1]", "s"], wanted, "f", spare=False)
    assert list(from_zero.values()) == ["theta[0]", "theta[1]", "s"]


def test_netcdf_without_its_libraries_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    (tmp_path / "fit.nc").write_bytes(b"")
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UserError, match=r"pip install 'postbench\[arviz\]'"):
        judged([tmp_path / "fit.nc"], PROBLEM)
