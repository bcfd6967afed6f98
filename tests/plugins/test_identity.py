"""What decides a result decides the key: the code of a plugin and of what it imports, its version,
and the files that it reads. And two plugins of one name stay two.
"""

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.errors import PluginError, UserError
from bench.plugins import registry, sources, spec
from bench.plugins.files import load_file
from bench.provenance import code_of
from bench.running.chosen import chosen_metrics
from bench.running.matrix import expand, validated
from bench.store import COSTS
from tests.helpers.cells import NORMAL, OFFSET, cells, own, run
from tests.plugins.test_registry import package

WALK = """
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from methods.base import Method
{imports}

@dataclass(frozen=True)
class Walk(Method):
    data: str = ""
    name: ClassVar[str] = "walk"
    {more}

    def run(self, target, budget, generator):
        {inside}
        yield from ()
"""


def plugin(
    folder: Path, name: str = "mine.py", imports: str = "", inside: str = "", more: str = ""
) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(WALK.format(imports=imports, inside=inside or "pass", more=more))
    return f"{folder / name}:Walk"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """A folder for plugins; what is loaded of it, or known of its files, is forgotten again."""
    yield tmp_path
    forget(tmp_path)


def forget(folder: Path) -> None:
    from bench import provenance
    from bench.plugins import files

    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
    for name, home in list(files._BESIDE.homes.items()):
        if str(home).startswith(str(folder)):
            del files._BESIDE.homes[name]
    provenance._digest.cache_clear()
    importlib.invalidate_caches()


def helper(folder: Path) -> None:
    plugin(folder, imports="import aid_beside")
    (folder / "aid_beside.py").write_text("STEP = 1\n")


def change_helper(folder: Path) -> None:
    (folder / "aid_beside.py").write_text("STEP = 22\n")


def lazy_helper(folder: Path) -> None:
    plugin(folder, inside="import aid_lazy")
    (folder / "aid_lazy.py").write_text("STEP = 1\n")


def change_lazy_helper(folder: Path) -> None:
    (folder / "aid_lazy.py").write_text("STEP = 22\n")


def chain(folder: Path) -> None:
    plugin(folder, imports="from aid_first import STEP")
    (folder / "aid_first.py").write_text("from aid_second import STEP\n")
    (folder / "aid_second.py").write_text("STEP = 1\n")


def change_chain(folder: Path) -> None:
    (folder / "aid_second.py").write_text("STEP = 22\n")


def folder_beside(folder: Path) -> None:
    plugin(folder, imports="from aid_folder.deep import STEP")
    (folder / "aid_folder").mkdir()
    (folder / "aid_folder" / "__init__.py").write_text("")
    (folder / "aid_folder" / "deep.py").write_text("STEP = 1\n")


def change_folder_beside(folder: Path) -> None:
    (folder / "aid_folder" / "deep.py").write_text("STEP = 22\n")


def nothing(folder: Path) -> None:
    plugin(folder)
    (folder / "unrelated.py").write_text("STEP = 1\n")


def change_unrelated(folder: Path) -> None:
    (folder / "unrelated.py").write_text("STEP = 22\n")


def declared(folder: Path) -> None:
    plugin(folder, more='data_files: ClassVar = ("table.txt",)')
    (folder / "table.txt").write_text("1")


def change_declared(folder: Path) -> None:
    (folder / "table.txt").write_text("2")


def read(folder: Path) -> None:
    plugin(folder)
    (folder / "given.csv").write_text("1")


def change_read(folder: Path) -> None:
    (folder / "given.csv").write_text("2")


Step = Callable[[Path], None]
# How a plugin is written, what is changed of it, its fields, and whether that makes other cells.
CHANGES: dict[str, tuple[Step, Step, str, bool]] = {
    "a module beside it": (helper, change_helper, "", True),
    "one that it imports in a function": (lazy_helper, change_lazy_helper, "", True),
    "one that a module beside it imports": (chain, change_chain, "", True),
    "a file of a package beside it": (folder_beside, change_folder_beside, "", True),
    "a module that it does not import": (nothing, change_unrelated, "", False),
    "a file of data that it declares": (declared, change_declared, "", True),
    "a file that a field names": (read, change_read, ":data={folder}/given.csv", True),
    "a file that no field names": (read, change_read, "", False),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_of_what_decides_a_result_makes_another_key(case: str, fresh: Path) -> None:
    write, change, fields, other = CHANGES[case]
    name = f"{fresh / 'mine.py'}:Walk{fields.format(folder=fresh)}"
    write(fresh)
    before = spec.parse("methods", name).content
    assert spec.parse("methods", name).content == before
    change(fresh)
    forget(fresh)
    assert (spec.parse("methods", name).content != before) == other


@pytest.fixture
def site(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A site-packages of its own with a distribution ``walks`` of a package and a module."""
    monkeypatch.syspath_prepend(str(fresh))
    package(fresh, "walks", {"hike": "hiking.core:Walk"})
    plugin(fresh / "hiking", "core.py", imports="from hiking.parts.aid import STEP")
    (fresh / "hiking" / "__init__.py").write_text("")
    (fresh / "hiking" / "parts").mkdir()
    (fresh / "hiking" / "parts" / "__init__.py").write_text("")
    (fresh / "hiking" / "parts" / "aid.py").write_text("STEP = 1\n")
    (fresh / "walks_extra.py").write_text("STEP = 1\n")
    (fresh / "walks-1.0.dist-info" / "RECORD").write_text("walks_extra.py,,\nhiking/core.py,,\n")
    registry.entries.cache_clear()
    yield fresh
    registry.entries.cache_clear()


def bump(site: Path) -> None:
    text = "Metadata-Version: 2.1\nName: walks\nVersion: 2.0\n"
    (site / "walks-1.0.dist-info" / "METADATA").write_text(text)


PACKAGES: dict[str, Step] = {
    "a helper deep in its package": lambda site: _write(site / "hiking" / "parts" / "aid.py"),
    "a module that its distribution puts beside": lambda site: _write(site / "walks_extra.py"),
    "its version": bump,
}


def _write(file: Path) -> None:
    file.write_text("STEP = 22\n")


@pytest.mark.parametrize("case", PACKAGES)
def test_a_change_of_an_installed_plugin_makes_another_key(case: str, site: Path) -> None:
    before = spec.parse("methods", "hike").content
    PACKAGES[case](site)
    forget(site)
    registry.entries.cache_clear()
    assert spec.parse("methods", "hike").content != before


def test_a_declared_file_that_is_missing_is_named(fresh: Path) -> None:
    name = plugin(fresh, more='data_files: ClassVar = ("absent.txt",)')
    with pytest.raises(PluginError, match=r"absent\.txt"):
        spec.parse("methods", name)


@pytest.mark.parametrize("name", ["random", "torch", "bench", "methods", "numpy", "glob"])
def test_a_module_beside_a_plugin_takes_no_name_of_ours(name: str, fresh: Path) -> None:
    text = plugin(fresh, imports=f"import {name}")
    (fresh / f"{name}.py").write_text("raise ImportError('the wrong module')\n")
    taken = sys.modules.get(name)
    registry.load(registry.find("methods", text))
    assert taken is None or sys.modules[name] is taken
    assert str(fresh) not in str(getattr(sys.modules[name], "__file__", ""))
    assert sources.siblings(fresh / "mine.py") == set()


def test_a_plugin_imports_a_module_beside_it_and_the_path_stays_as_it_is(fresh: Path) -> None:
    helper(fresh)
    before = list(sys.path)
    assert load_file(fresh / "mine.py").aid_beside.STEP == 1
    assert sys.path == before


def test_two_plugins_that_want_one_module_name_from_two_folders_are_told(fresh: Path) -> None:
    for folder in ("a", "b"):
        (fresh / folder).mkdir()
        helper(fresh / folder)
    registry.load(registry.find("methods", f"{fresh / 'a' / 'mine.py'}:Walk"))
    entry = registry.find("methods", f"{fresh / 'b' / 'mine.py'}:Walk")
    with pytest.raises(PluginError, match=r"imports aid_beside .*another name"):
        registry.load(entry)


def test_two_plugins_of_one_name_are_two_in_every_table(fresh: Path) -> None:
    names = [plugin(fresh / folder, more=f"kind = {folder!r}") for folder in ("old", "new")]
    found = cells([*names, f"{names[0]}:data=x", own("Walk")])
    assert [cell.method.name for cell in found] == [
        "old/mine.py:Walk",
        "new/mine.py:Walk",
        "old/mine.py:Walk",
        "trouble.py:Walk",
    ]
    assert len({cell.key for cell in found}) == 4


def test_one_plugin_twice_keeps_its_short_name(fresh: Path) -> None:
    name = plugin(fresh)
    assert {cell.method.name for cell in cells([name, f"{name}:data=x"])} == {"mine.py:Walk"}


METRIC = """
from dataclasses import dataclass
from typing import ClassVar
from bench.metrics.base import Estimate, Metric

@dataclass(frozen=True)
class Ours(Metric):
    name: ClassVar[str] = {name!r}

    def measure(self, comparison):
        return Estimate(1.0, 0.1, "exact")
"""


def metric(folder: Path, name: str) -> str:
    file = folder / f"m_{name}.py"
    file.write_text(METRIC.format(name=name))
    return f"{file}:Ours"


TWICE = {
    "the same word twice": ["mmd", "mmd"],
    "one metric with other fields": ["kl_qp", "kl_qp:searched=100"],
    "a plugin named like one of ours": ["mmd", "{mmd}"],
    "all, and a plugin named like one of ours": ["all", "{mmd}", "mmd"],
    "a plugin named like a cost": ["{gradients}"],
    "a plugin without a name": ["{}"],
}


@pytest.mark.parametrize("case", TWICE)
def test_rows_that_could_not_be_told_apart_are_refused_before_the_run(
    case: str, fresh: Path
) -> None:
    made = {f"{{{name}}}": metric(fresh, name) for name in ("mmd", "gradients", "")}
    names = [made.get(name, name) for name in TWICE[case]]
    with pytest.raises(UserError, match=r"Two metrics are named|is a cost|has no name"):
        expand(validated({"problems": [NORMAL], "methods": ["exact"], "metrics": names}, "test"))


def test_the_costs_are_those_that_a_cell_has(tmp_path: Path) -> None:
    rows = run(cells(["exact"]), tmp_path).rows()
    assert {row["metric"] for row in rows} - {"offset"} <= set(COSTS)
    assert len({row["metric"] for row in rows}) >= len(COSTS)


BROKEN = {
    "does not import": "import nothing_of_that_name",
    "is named like a cost": METRIC.format(name="gradients"),
    "is named like one of ours": METRIC.format(name="mmd"),
    "is no class": "Ours = 3",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_metric_of_a_package_is_left_out_unless_it_is_named(
    case: str, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(fresh))
    package(fresh, "badly", {"bad": "badly_module:Ours"}, BROKEN[case], group="metrics")
    registry.entries.cache_clear()
    try:
        found, reasons = chosen_metrics(None)
        assert "bad" not in [chosen.name for chosen in found]
        assert len(reasons) == 1
        assert "bad" in reasons[0]
        with pytest.raises(UserError):
            chosen_metrics(["mmd", "bad"])
        assert chosen_metrics([OFFSET])[1] == ()
    finally:
        registry.entries.cache_clear()
        shutil.rmtree(fresh / "badly-1.0.dist-info")


def test_a_file_that_moves_has_the_same_hash_wherever_it_sorts(tmp_path: Path) -> None:
    suite = tmp_path / "m" / "suite"
    suite.mkdir(parents=True)
    (suite / "one.py").write_text("ONE = 1\n")
    found = set()
    for folder in ("a", "z"):  # before the suite by its path, and after it
        own = tmp_path / folder / "mine.py"
        own.parent.mkdir()
        own.write_text("TWO = 2\n")
        found.add(code_of([suite, own]))
    assert len(found) == 1
    (suite / "two.py").write_text("ONE = 1\n")
    assert code_of([suite, own]) not in found
