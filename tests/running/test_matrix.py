"""Words become cells, content becomes keys, and a mistake becomes a sentence."""

import re
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.plugins import spec
from bench.running.matrix import expand, presets, read, validated
from tests.helpers.cells import NORMAL, OFFSET, cells, own


def keys(*methods: str, **more: object) -> list[str]:
    return [cell.key for cell in cells(methods, **more)]


def test_seeds_come_in_turn_so_that_a_short_run_has_seen_everything() -> None:
    chosen = cells([own("Walk"), "exact"], seeds=2)
    assert [(cell.method.name, cell.seed) for cell in chosen] == [
        ("trouble.py:Walk", 0), ("exact", 0), ("trouble.py:Walk", 1), ("exact", 1),
    ]  # fmt: skip


def test_a_method_may_have_seeds_and_a_budget_of_its_own() -> None:
    item = {"name": own("Walk"), "fields": {"steps": 3}, "seeds": [7], "budget": {"seconds": 2}}
    walk, *others = sorted(
        cells([item, "exact"], seeds=3), key=lambda cell: cell.method.name != "trouble.py:Walk"
    )
    assert (walk.seed, walk.budget.seconds, walk.method.settings) == (7, 2, {"steps": 3})
    assert [cell.seed for cell in others] == [0, 1, 2]


@pytest.mark.parametrize(
    "change",
    [{"draws": 200}, {"seeds": [1]}, {"budget": {"seconds": 5}}, {"metrics": [own("Lame")]}],
)
def test_whatever_decides_the_result_decides_the_key(change: dict[str, object]) -> None:
    assert keys(own("Walk")) != keys(own("Walk"), **change)


def test_what_does_not_decide_the_result_does_not() -> None:
    assert (
        keys(own("Walk"))
        == keys(own("Walk:steps=20"))
        == keys(own("Walk"), title="other", budget={"wall": 99, "memory": 9})
    )
    assert keys(own("Walk")) != keys(own("Walk:steps=21"))


def test_the_same_cell_twice_is_one_cell() -> None:
    assert len(keys(own("Walk"), own("Walk:steps=20"))) == 1


def test_editing_a_plugin_changes_its_key(tmp_path: Path) -> None:
    text = Path(own("Walk").rpartition(":")[0]).read_text()
    found = []
    for folder, more in (("a", ""), ("b", ""), ("c", "\n# changed\n")):
        path = tmp_path / folder / "trouble.py"
        path.parent.mkdir()
        path.write_text(text + more)
        found.append(spec.parse("methods", f"{path}:Walk").content)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("Walk:nap=1e-3,steps=5", {"nap": 0.001, "steps": 5}),
        ("Trouble:how=3", {"how": "3"}),
        ("Trouble:how=raise", {}),
    ],
)
def test_values_are_read_as_the_field_takes_them(text: str, settings: dict[str, object]) -> None:
    assert spec.parse("methods", own(text)).settings == settings


MISTAKES = {
    "unknown problem": (
        {"problems": ["eight-scools"]},
        r"'eight-scools'.*'eight-schools'.*postbench list problems",
    ),
    "unknown metric": ({"metrics": ["kl_pp"]}, r"'kl_pp'.*'kl_qp'"),
    "unknown field": ({"methods": [own("Walk:step=3")]}, r"'step'.*'steps'.*postbench show"),
    "wrong value": (
        {"methods": [own("Walk:steps=many")]},
        r"'steps' cannot be 'many'.*valid integer.*postbench show",
    ),
    "value out of range": ({"problems": [f"{NORMAL}:dimension=0"]}, r"must be at least 1, got 0"),
    "no equals sign": ({"methods": [own("Walk:steps")]}, r"expected field=value.*'steps'"),
    "no such file": ({"methods": ["nowhere.py:Walk"]}, r"no file 'nowhere.py'"),
    "no such class": ({"methods": [own("Wlak")]}, r"Wlak.*cannot be imported"),
    "not a method": (
        {"methods": [own("Normal")]},
        r"not a dataclass that derives from methods.base.Method",
    ),
    "unknown key": ({"sedes": 3}, r"key in test named 'sedes'.*'seeds'"),
    "unknown budget key": ({"budget": {"second": 3}}, r"'budget.second'.*'budget.seconds'"),
    "negative budget": (
        {"budget": {"seconds": -3}},
        r"budget.seconds: input should be greater than 0, got -3",
    ),
    "own budget": (
        {"methods": [{"name": "exact", "budget": {"secs": 3}}]},
        r"'budget.secs'.*'budget.seconds'",
    ),
    "no methods": ({"methods": []}, r"methods: list should have at least 1 item"),
    "draws": ({"draws": 2}, r"draws: .*greater than or equal to 10, got 2"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_itself_and_the_way_out(mistake: str) -> None:
    change, message = MISTAKES[mistake]
    content = {"problems": [NORMAL], "methods": [own("Walk")], "metrics": [OFFSET], **change}
    with pytest.raises(UserError) as caught:
        expand(validated(content, where="test"))
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "not TOML"),
        ("problems = 3", "problems"),
        ("problems = ['a']", "methods: field required"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.toml.*{message}"):
        read(str(path))


@pytest.mark.parametrize(
    ("source", "message"), [("quik", "Did you mean 'quick'"), ("absent.toml", "cannot be read")]
)
def test_a_source_that_is_not_there(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(source)


@pytest.mark.parametrize("preset", presets())
def test_every_preset_expands(preset: str) -> None:
    matrix = read(preset)
    assert matrix.title == preset
    assert matrix.description
    assert expand(matrix)
