"""What is shown of a thing is what it says of itself, whether it is read or imported."""

import dataclasses
import inspect
import io
import re
import typing
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from bench.commands.reference import Lines
from bench.commands.show import print_one
from bench.plugins import facts, registry, spec
from bench.plugins.built_in import BUILT_IN, GROUPS, Group
from bench.plugins.prose import REQUIRED, cited, opening, prose, source_of
from tests.commands.test_output import said

NAMES: list[tuple[Group, str]] = [(group, name) for group in GROUPS for name in BUILT_IN[group]]


def typed(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "")


@pytest.mark.parametrize(("group", "name"), NAMES)
def test_what_is_read_of_a_class_is_what_it_says_when_imported(group: Group, name: str) -> None:
    entry = registry.find(group, name)
    cls, found = registry.load(entry), prose(entry)
    module = inspect.getdoc(inspect.getmodule(cls)) or ""
    text = inspect.getdoc(cls) or ""
    assert (found.module, found.text) == (module, text)
    hints = typing.get_type_hints(cls)
    assert [(each.name, each.default, each.kind) for each in found.fields] == [
        (
            field.name,
            REQUIRED if field.default is dataclasses.MISSING else str(field.default),
            typed(hints[field.name]),
        )
        for field in dataclasses.fields(cls)
        if field.init
    ]
    for of_file, whole in ((True, module), (False, text)):
        assert opening(entry, of_file) == " ".join((whole or text).split("\n\n")[0].split())


@pytest.mark.parametrize("name", BUILT_IN["methods"])
def test_every_method_names_the_paper_it_comes_from(name: str) -> None:
    entry = registry.find("methods", name)
    source = source_of(entry)
    assert source == registry.load(entry).source
    if name != "exact":  # which is ours
        assert re.fullmatch(r"[^;]+, (19|20)\d\d, [^;]+(; .+)?", source), source
        short = cited(source)
        assert len(short) <= 75
        assert re.search(r"^\w[^,.]*( et al\.)? (19|20)\d\d, ", short), short


SHORT = {
    "A. Kucukelbir, D. Tran, D. M. Blei, 2017, arXiv:1603.00788; B. Other, 2024, arXiv:1": (
        "Kucukelbir et al. 2017, arXiv:1603.00788"
    ),
    "M. D. Hoffman, A. Gelman, 2014, arXiv:1111.4246": "Hoffman & Gelman 2014, arXiv:1111.4246",
    "J.-M. Marin and C. van Dyk, 2001, doi 10.1/x": "Marin & van Dyk 2001, doi 10.1/x",
    "R. M. Neal, 2001, arXiv:physics/9803008": "Neal 2001, arXiv:physics/9803008",
    "Neal, 2001": "Neal 2001",
    "folklore": "folklore",
    "": "",
}


@pytest.mark.parametrize("source", SHORT)
def test_a_source_is_cited_in_short(source: str) -> None:
    assert cited(source) == SHORT[source]


def test_the_listing_of_methods_says_year_and_paper_and_show_names_all_authors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    _, text = said(["list", "methods"], tmp_path, monkeypatch, capsys)
    assert "Hoffman & Gelman 2014, arXiv:1111.4246" in " ".join(text.split())
    _, text = said(["show", "avb"], tmp_path, monkeypatch, capsys)
    assert "source L. Mescheder, S. Nowozin, A. Geiger, 2017, arXiv:1701.04722" in text


@pytest.mark.parametrize("name", BUILT_IN["problems"])
def test_the_table_of_facts_is_of_todays_problems(name: str) -> None:
    """`python -m bench.plugins.facts` makes it anew."""
    table = facts._table()[name]
    found = facts.worked_out(spec.parse("problems", name).build())
    for key in ("dim", "kind", "without"):
        assert getattr(found, key) == table[key]
    assert list(found.coordinates) == table["coordinates"]
    assert found.log_z == pytest.approx(table["log_z"], abs=1e-7)
    assert found.log_z_stderr == pytest.approx(table["log_z_stderr"], abs=1e-7)


def test_a_problem_without_an_entry_in_the_table_is_worked_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.setattr(facts, "TABLE", tmp_path / "absent.json")
    status, text = said(["show", "banana"], tmp_path, monkeypatch, capsys)
    assert status == 0
    assert "truth exact; log Z = " in text


def test_references_of_the_users_own_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSTBENCH_REFERENCES", raising=False)
    assert facts.shipped("horseshoe") is not None
    (tmp_path / "references").mkdir()
    assert facts.shipped("horseshoe") is None
    assert facts.shipped("banana") is not None


WITHOUT = '''
"""A posterior that nobody has simulated yet."""

from dataclasses import dataclass
from typing import ClassVar

from problems.base import Problem
from problems.parts.stored import reference


@dataclass(frozen=True)
class Mine(Problem):
    """Mine [/b] alone."""

    name: ClassVar[str] = "mine-without-reference"
    dim: ClassVar[int] = 2

    @property
    def truth(self):
        return reference(self)

    def log_density(self, z):
        return -(z**2).sum(-1)
'''


def test_a_problem_without_a_reference_is_shown_with_the_way_to_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    folder = tmp_path / ("long-" * 20)
    folder.mkdir()
    (folder / "mine.py").write_text(WITHOUT)
    status, text = said(["show", "mine.py:Mine"], folder, monkeypatch, capsys)
    assert status == 0, text
    assert "Mine [/b] alone." in text
    assert "dimension 2" in text
    assert "truth none yet. There is no certified reference" in text
    # on one line, to be copied, however long the folders are that were looked into
    assert "`postbench reference build mine.py:Mine` makes one" in text


def test_showing_with_fields_shows_what_they_make(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    status, text = said(["show", "mixture-2d:separation=3"], tmp_path, monkeypatch, capsys)
    assert status == 0
    assert "truth exact" in text
    assert torch.get_default_dtype() is torch.float32


DRAFT = """
from dataclasses import dataclass
from typing import ClassVar

from methods.base import Method


@dataclass(frozen=True)
class Mine(Method):
    \"\"\"A first draft.\"\"\"

    size: int = 0
    name: ClassVar[str] = "mine"

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}.")

    def run(self, target, budget, generator):
        yield from ()
"""


def test_a_draft_that_cannot_be_made_is_shown_with_its_fields_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "mine.py").write_text(DRAFT)
    status, text = said(["show", "mine.py:Mine"], tmp_path, monkeypatch, capsys)
    assert status == 0, text
    assert "A first draft." in text
    assert "= 0" in text
    assert "It cannot be made:" in text
    assert "size must be at least 1, got 0" in text


def test_a_long_simulation_tells_of_itself_in_a_pipe() -> None:
    file, clock = io.StringIO(), iter([0.0, 1.0, 2.0, 40.0, 41.0, 45.0])
    lines = Lines(Console(file=file, width=200), lambda: next(clock))
    for stage, share in (
        ("HMC: adapting", 0.0),
        ("HMC: 100 chains", 0.0),
        ("HMC: 100 chains", 0.25),
        ("HMC: 100 chains", 0.26),
        ("NUTS: 4 chains", 0.0),
    ):
        lines.tell(stage, share)
    assert file.getvalue().splitlines() == [
        "HMC: adapting, 0% of this step",
        "HMC: 100 chains, 0% of this step",
        "HMC: 100 chains, 25% of this step, about 2 min left in it",
        "NUTS: 4 chains, 0% of this step",
    ]


CORRELATED = """
import pyro
import pyro.distributions as dist
import torch
from problems.models.pyro_model import PyroModel

def model():
    pyro.sample("root", dist.LKJCholesky(2, 1.0))
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.3))

def make() -> PyroModel:
    return PyroModel(model)
"""


def test_the_sites_of_a_pyro_model_are_shown_with_their_transforms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "correlated.py").write_text(CORRELATED, encoding="utf-8")
    print_one(f"{tmp_path / 'correlated.py'}:make")
    shown = " ".join(capsys.readouterr().out.split())
    assert "parameters root LKJCholesky, support CorrCholesky; from its coordinates by" in shown
    assert "CorrCholeskyTransform; the density is of the Cholesky factor L, not of" in shown
