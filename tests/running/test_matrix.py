"""Words become cells, content becomes keys, and a mistake becomes a sentence."""

import re
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.plugins import spec
from bench.plugins.built_in import BUILT_IN, STANDARD
from bench.running.matrix import Matrix, expand, metrics_of, presets, read, validated
from tests.helpers.cells import NORMAL, OFFSET, cells, own


def matrix(**more: object) -> Matrix:
    return validated({"problems": [NORMAL], "methods": ["exact"], **more}, where="test")


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
        == keys(own("Walk"), title="other", budget={"wall": 99, "memory": 9, "guard": 9})
    )
    assert keys(own("Walk")) != keys(own("Walk:steps=21"))


def test_the_same_cell_twice_is_one_cell() -> None:
    assert len(keys(own("Walk"), own("Walk:steps=20"))) == 1


def test_editing_a_plugin_changes_its_key(tmp_path: Path) -> None:
    text = Path(own("Walk").rpartition(":")[0]).read_text()
    found = []
    for folder, more in (("a", ""), ("b", ""), ("c", "\nCHANGED = True\n")):
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
    "one where several go": (
        {"methods": ["avb:hidden=128"]},
        r"'hidden' cannot be '128'.*values in brackets, such as \[1, 2\]",
    ),
    "no such class": ({"methods": [own("Wlak")]}, r"Wlak.*cannot be imported"),
    "not a method": (
        {"methods": [own("Normal")]},
        r"derives neither from methods.base.Method nor from methods.amortised.base.Learner",
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
    "no seeds": ({"seeds": 0}, r"seeds: expected a number of seeds, .*got 0"),
    "negative seeds": ({"seeds": -3}, r"seeds: expected .*got -3"),
    "an empty list of seeds": ({"seeds": []}, r"seeds: expected .*at least one seed.*got \[\]"),
    "a seed that the store cannot hold": ({"seeds": [2**63]}, r"seeds: expected .*2\^63 - 1"),
    "a negative seed": ({"seeds": [-1]}, r"seeds: expected .*got \[-1\]"),
    "a thousand million seeds": ({"seeds": 10**9}, r"seeds: expected .*got 1000000000"),
    "a seed of a method": ({"methods": [{"name": "exact", "seeds": []}]}, r"seeds: expected"),
    "seeds that are words": ({"seeds": "three"}, r"seeds: expected .*got 'three'"),
    "endless fitting": ({"budget": {"seconds": float("inf")}}, r"seconds: .*got inf"),
    "longer than timers count": ({"budget": {"seconds": 2e6}}, r"seconds: .*1000000"),
    "endless wall": ({"budget": {"wall": float("inf")}}, r"wall: .*got inf"),
    "no guard": ({"budget": {"guard": 0}}, r"guard: .*greater than 0, got 0"),
    "gradients past all counting": ({"budget": {"gradients": 10**30}}, r"gradients: "),
    "a title that leads elsewhere": ({"title": "../../x"}, r"title: expected .*no / or"),
    "a title that is a path": ({"title": "/abs/x"}, r"title: expected .*no / or"),
    "an empty title": ({"title": ""}, r"title: expected .*not empty"),
    "a title of dots": ({"title": ".."}, r"title: expected"),
    "NUL in a title": ({"title": "a\0b"}, r"title: expected .*no control characters"),
    "a surrogate in a title": ({"title": "a\udc80b"}, r"title: expected"),
    "a title of a thousand letters": ({"title": "a" * 1000}, r"title: expected .*200 bytes"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_itself_and_the_way_out(mistake: str) -> None:
    change, message = MISTAKES[mistake]
    content = {"problems": [NORMAL], "methods": [own("Walk")], "metrics": [OFFSET], **change}
    with pytest.raises(UserError) as caught:
        expand(validated(content, where="test"))
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_a_mistake_in_the_seeds_is_told_once() -> None:
    with pytest.raises(UserError) as caught:
        validated({"problems": [NORMAL], "methods": ["exact"], "seeds": "many"}, where="test")
    assert len(str(caught.value).splitlines()) == 1


def test_without_words_a_few_metrics_are_measured_and_all_means_all() -> None:
    few, every = (
        [metric.name for metric in metrics_of(matrix(metrics=chosen))] for chosen in (None, ["all"])
    )
    assert set(few) >= set(STANDARD["metrics"])
    assert set(few) & set(BUILT_IN["metrics"]) == set(STANDARD["metrics"])
    assert set(every) >= set(BUILT_IN["metrics"])


def test_all_and_one_more_are_all_and_one_more() -> None:
    found = [metric.name for metric in metrics_of(matrix(metrics=["all", OFFSET, "kl_qp"]))]
    assert len(found) == len(set(found)) > len(BUILT_IN["metrics"])


def test_without_words_a_method_runs_to_its_own_end_under_a_guard() -> None:
    (cell,) = cells(["exact"], budget={})
    assert (cell.budget.seconds, cell.budget.gradients, cell.budget.guard) == (None, None, 900)
    assert cell.wall == 2 * 900 + 120
    (cell,) = cells(["exact"], budget={"seconds": 3, "guard": 2})
    assert cell.wall == 2 * 3 + 120


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


@pytest.mark.parametrize("preset", sorted({*presets()} - {"posteriordb"}))
def test_every_preset_expands(preset: str) -> None:
    matrix = read(preset)
    assert matrix.title == preset
    assert matrix.description
    assert expand(matrix)


def test_all_stands_for_what_the_matrix_does_not_name_otherwise() -> None:
    content = {"problems": ["ring-2d"], "seeds": 1, "metrics": ["mmd"]}
    methods = ["avb:iterations=7", {"name": "pyro-hmc", "fields": {"draws": 9}}, "all"]
    found = expand(validated({**content, "methods": methods}, where="test"))
    assert [cell.method.name for cell in found].count("avb") == 1
    assert {cell.method.name for cell in found} == set(BUILT_IN["methods"])
    everywhere = expand(
        validated({**content, "problems": ["all"], "methods": ["exact"]}, where="test")
    )
    assert [cell.problem.name for cell in everywhere] == list(BUILT_IN["problems"])
