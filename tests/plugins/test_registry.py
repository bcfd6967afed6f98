"""Plugins come and go without a fork, and a bad one is named and harms nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.errors import PluginError, UserError
from bench.plugins import registry, spec
from bench.plugins.built_in import BUILT_IN, GROUPS, Group
from tests.helpers.cells import own

METHOD = (Path(__file__).parents[1] / "helpers" / "plugins" / "trouble.py").read_text()


def package(
    site: Path, distribution: str, points: dict[str, str], module: str = "", group: str = "methods"
) -> None:
    """A distribution as pip leaves it: metadata with entry points, and one module."""
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {target}\n" for name, target in points.items())
    (info / "entry_points.txt").write_text(f"[postbench.{group}]\n{lines}")
    if module:
        (site / f"{distribution}_module.py").write_text(module)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A site-packages of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.entries.cache_clear()
    yield tmp_path
    registry.entries.cache_clear()


@pytest.mark.parametrize("group", GROUPS)
def test_every_name_leads_to_a_class_of_that_name(group: Group) -> None:
    for name in BUILT_IN[group]:
        assert registry.load(registry.find(group, name)).name == name


def test_an_installed_plugin_is_found_and_credited(site: Path) -> None:
    package(site, "sound", {"stroll": "sound_module:Walk"}, METHOD)
    entry = registry.find("methods", "stroll")
    assert entry.package == "sound 1.0"
    assert registry.load(entry).__name__ == "Walk"
    assert registry.group_of("stroll") == "methods"


def test_an_installed_learner_is_found_and_credited(site: Path) -> None:
    learners = Path(__file__).parents[1] / "helpers" / "plugins" / "learners.py"
    package(site, "apt", {"odd": "apt_module:Odd"}, learners.read_text(), "learners")
    entry = registry.find("learners", "odd")
    assert entry.package == "apt 1.0"
    assert registry.load(entry).__name__ == "Odd"
    assert registry.group_of("odd") == "learners"


def test_a_class_that_a_file_does_not_have_is_said_beside_those_that_it_has() -> None:
    with pytest.raises(PluginError, match=r"has no Wlak; the classes that it defines: .*\bWalk\b"):
        registry.load(registry.find("methods", own("Wlak")))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_plugin_that_fails_to_import_is_named_with_its_package(
    site: Path, module: str, reason: str
) -> None:
    package(site, "broken", {"fragile": "broken_module:Walk"}, module)
    with pytest.raises(
        PluginError, match=rf"'fragile' of broken 1\.0 cannot be imported: {reason}"
    ):
        registry.load(registry.find("methods", "fragile"))
    assert registry.load(registry.find("methods", "exact")).name == "exact"


def test_two_plugins_of_one_name_are_refused_and_both_named(site: Path) -> None:
    package(site, "one", {"same": "one_module:Walk"}, METHOD)
    package(site, "two", {"same": "two_module:Walk"}, METHOD)
    with pytest.raises(PluginError, match=r"one 1\.0 and two 1\.0 both provide it"):
        registry.find("methods", "same")


def test_a_plugin_cannot_take_the_name_of_a_built_in(site: Path) -> None:
    package(site, "thief", {"exact": "thief_module:Walk"}, METHOD)
    assert registry.find("methods", "exact").package == "postbench"
    assert any("thief 1.0" in reason for reason in registry.entries("methods")[1].values())


@pytest.mark.parametrize(
    ("name", "group"), [("Normal", "problems"), ("Walk", "methods"), ("Offset", "metrics")]
)
def test_a_class_in_a_file_tells_its_group(name: str, group: Group) -> None:
    assert registry.group_of(own(name)) == group


def test_a_class_in_a_file_that_is_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="derives from none of"):
        registry.group_of(own("Iterator"))
    with pytest.raises(UserError, match="no file"):
        registry.group_of(f"{tmp_path}/absent.py:Walk")


def test_a_name_nobody_has_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'gaussian-vb'"):
        registry.group_of("gausian-vb")


def test_a_function_that_makes_a_problem_is_one() -> None:
    made = spec.parse("problems", own("make_normal:dimension=5"))
    assert registry.group_of(own("make_normal")) == "problems"
    assert made.settings == {"dimension": 5}
    assert made.build().dim == 5
    assert made.build().log_density(torch.zeros(2, 5, dtype=torch.float64)).shape == (2,)
    assert made.content != spec.parse("problems", own("make_normal")).content


def test_a_function_that_makes_no_problem_is_named() -> None:
    with pytest.raises(UserError, match=r"make_nothing\(\) returned a int"):
        spec.parse("problems", own("make_nothing"))
