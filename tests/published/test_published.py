"""Published results: kept as they were measured, shown among a run's own under names that say so,
and stale exactly where the code has changed that makes their figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.commands.compare import as_label
from bench.errors import UserError
from bench.published import archive, beside
from bench.published.archive import SHIPPED, Published, read, write
from bench.running.collect import origins_of, traits_of
from bench.running.matrix import expand, validated
from bench.running.recipe import RECIPE, note_recipe
from bench.store import COSTS, Store, label
from reports.results import summarise
from tests.commands.test_output import said
from tests.helpers.cells import NORMAL, OFFSET, own, run
from tests.plugins.test_identity import forget, plugin

WALK = own("Walk")
Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Say:
    return lambda *words: said(list(words), tmp_path, monkeypatch, capsys)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    forget(tmp_path)


def published(folder: Path, methods: list[str], *problems: str, draws: int = 50) -> Store:
    """A run that can be published."""
    content = {"problems": list(problems) or [NORMAL], "methods": methods, "metrics": [OFFSET]}
    matrix = validated({**content, "seeds": 2, "draws": draws}, where="test")
    cells = expand(matrix)
    store = run(cells, folder)
    store.keep_current({cell.key: (cell.problem.name, cell.method.name) for cell in cells})
    note_recipe(matrix, cells, store)
    return store


def test_the_file_gives_back_every_cell_and_every_row_as_they_were(tmp_path: Path) -> None:
    store = published(tmp_path / "run", [WALK, "exact", own("Trouble")])
    assert write([store], tmp_path / "p.parquet") == 6
    (found,) = read(tmp_path / "p.parquet")
    assert list(found.cells) == store.cells()
    rows = [{"key": key, **row} for key, of in found.rows.items() for row in of]
    assert rows == store.rows()
    assert found.info["probe"] > 0


def test_fields_in_any_order_are_found_under_the_labels_that_the_store_gives(
    tmp_path: Path,
) -> None:
    mixture = "mixture-2d:separation=1.5,scale=0.4"  # in the order of the class, not of the names
    store = published(tmp_path / "run", [f"{WALK}:steps=7,nap=0.001"], mixture)
    write([store], tmp_path / "p.parquet")
    (found,) = read(tmp_path / "p.parquet")
    assert beside.stale(found) == {}
    matrix = validated(found.recipe["matrix"], where="test")
    cells, (cell, _) = expand(matrix), store.cells()
    problem = label(cell["problem"], cell["problem_settings"])
    method = label(cell["method"], cell["settings"])
    assert list(origins_of(cells)) == [method]
    assert list(traits_of(cells)) == [problem]
    assert store.has_draws(f"truth-{problem}")
    assert as_label(f"{WALK}:steps=7,nap=0.001") == method


def test_cells_are_stale_only_where_the_code_they_depend_on_has_changed(fresh: Path) -> None:
    first, second = plugin(fresh / "a"), plugin(fresh / "b", "theirs.py")
    store = published(fresh / "run", [first, second])
    write([store], fresh / "p.parquet")
    assert beside.stale(read(fresh / "p.parquet")[0]) == {}
    plugin(fresh / "b", "theirs.py", inside="pass  # a step of another length")
    forget(fresh)
    old = beside.stale(read(fresh / "p.parquet")[0])
    changed = {cell["key"] for cell in store.cells() if cell["method"] == "theirs.py:Walk"}
    assert set(old) == changed
    assert set(old.values()) == {"the code of its method has changed since"}


def test_a_problem_that_changed_marks_its_own_cells_and_no_others(fresh: Path) -> None:
    file = fresh / "space.py"
    source = Path(NORMAL.partition(":")[0]).read_text()
    file.write_text(source)
    store = published(fresh / "run", ["exact"], NORMAL, f"{file}:Normal")
    write([store], fresh / "p.parquet")
    file.write_text(f"{source}\nANOTHER = 1\n")
    forget(fresh)
    old = beside.stale(read(fresh / "p.parquet")[0])
    assert {cell["problem"] for cell in store.cells() if cell["key"] in old} == {"space.py:Normal"}
    assert set(old.values()) == {"the code of its problem has changed since"}


def test_what_cannot_be_made_here_says_so_instead_of_ending_the_command(fresh: Path) -> None:
    write([published(fresh / "run", [plugin(fresh / "a"), "exact"])], fresh / "p.parquet")
    (fresh / "a" / "mine.py").unlink()
    forget(fresh)
    old = beside.stale(read(fresh / "p.parquet")[0])
    assert len(old) == 2
    assert all("cannot be made here" in words and "mine.py" in words for words in old.values())


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Store, Published]:
    """A run of one method, the run that was published, and that as read on a machine that takes
    three times as long.
    """
    base = published(tmp_path / "base", [WALK, "exact"])
    write([base], tmp_path / "p.parquet")
    (found,) = read(tmp_path / "p.parquet")
    monkeypatch.setattr(beside, "probe", lambda: 3 * found.info["probe"])
    mine = published(tmp_path / "mine", [f"{WALK}:steps=7"])
    return mine, base, found


def test_seconds_are_scaled_by_the_probe_and_nothing_else_is_touched(
    placed: tuple[Store, Store, Published],
) -> None:
    mine, base, found = placed
    problem = label(base.cells()[0]["problem"], {})
    assert beside.place(mine, [(found, [problem])])
    before = {(row["key"], row["checkpoint"], row["metric"]): row for row in base.rows()}
    after = [row for row in mine.rows() if row["key"].startswith("published-")]
    assert len(after) == len(before)
    for row in after:
        key = row["key"].removeprefix("published-")
        old = before[key, row["checkpoint"], row["metric"]]
        clocked = row["metric"] in beside.CLOCKED
        assert row["value"] == (3 * old["value"] if clocked else old["value"])
        assert row["seconds"] == 3 * old["seconds"]
        assert {n: row[n] for n in ("gradients", "stderr", "kind", "draws", "final")} == {
            n: old[n] for n in ("gradients", "stderr", "kind", "draws", "final")
        }
    assert set(beside.CLOCKED) <= set(COSTS)


def test_published_methods_stand_beside_the_run_s_own_and_their_floor_is_the_floor(
    placed: tuple[Store, Store, Published],
) -> None:
    mine, base, found = placed
    problem = label(base.cells()[0]["problem"], {})
    beside.place(mine, [(found, [problem])])
    results = summarise(mine)
    own_label = label(mine.cells()[0]["method"], mine.cells()[0]["settings"])
    theirs = f"published:{base.cells()[0]['method']}"
    assert results.methods == [own_label, theirs, "exact"]
    assert results.has_floor(problem)
    assert results.published_as(problem, theirs) == "published"
    assert results.published_as(problem, own_label) == ""
    assert "multiplied by 3.00" in results.note
    assert "stale" not in results.note


def test_the_same_rows_are_placed_once_and_others_take_their_place(
    placed: tuple[Store, Store, Published],
) -> None:
    mine, base, found = placed
    problem = label(base.cells()[0]["problem"], {})
    assert beside.place(mine, [(found, [problem])])
    assert not beside.place(mine, [(found, [problem])])
    assert beside.place(mine, [(found, [])])
    assert summarise(mine).methods == ["trouble.py:Walk steps=7"]


def test_stale_rows_are_marked_in_the_table_and_counted_in_the_note(
    placed: tuple[Store, Store, Published], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, base, found = placed
    problem = label(base.cells()[0]["problem"], {})
    old = {c["key"]: "the code of its method has changed since" for c in found.cells[:1]}
    monkeypatch.setattr(beside, "stale", lambda _: old)
    beside.place(mine, [(found, [problem])])
    results = summarise(mine)
    theirs = f"published:{found.cells[0]['method']}"
    assert results.published_as(problem, theirs) == "published, stale"
    assert f"1 of {len(found.cells)} of these cells are stale" in results.note


def test_one_command_shows_a_method_of_one_s_own_among_published_rows(
    say: Say, tmp_path: Path
) -> None:
    write([published(tmp_path / "base", [WALK, "exact"])], tmp_path / "p.parquet")
    command = ["run", "-m", f"{WALK}:steps=7", "--against", "p.parquet", "--jobs", "0"]
    status, text = say(*command, "--seeds", "1")
    assert status == 0, text
    assert re.search(r"trouble\.py:Walk steps=7.*\n(.*\n)*.*exact \(noise floor\)", text), text
    assert "published:trouble.py:Walk" in text
    assert "Rows named published:… were measured on another machine" in " ".join(text.split())
    page = (tmp_path / "results" / "against-published" / "report.html").read_text()
    assert "2 seeds; published" in page
    again, second = say(*command, "--seeds", "1")
    assert again == 0
    assert "published:trouble.py:Walk" in second


def test_runs_in_one_file_are_told_apart_and_a_problem_comes_from_one_of_them(
    say: Say, tmp_path: Path
) -> None:
    """The first run has one problem, the second that and another, measured with more draws."""
    both = [
        published(tmp_path / "one", [WALK, "exact"]),
        published(tmp_path / "two", ["exact"], NORMAL, "ring-2d", draws=60),
    ]
    assert write(both, tmp_path / "p.parquet") == 4 + 4
    assert [list(found.cells) for found in read(tmp_path / "p.parquet")] == [
        store.cells() for store in both
    ]
    command = ["run", "-m", f"{WALK}:steps=7", "--against", "p.parquet", "--jobs", "0"]
    for words, cells, problems in (
        ([], {"one"}, {NORMAL}),
        (["-p", "ring-2d"], {"two"}, {"ring-2d"}),
        (["-p", NORMAL, "-p", "ring-2d"], {"two"}, {NORMAL, "ring-2d"}),
    ):
        status, text = say(*command, *words, "--seeds", "1")
        assert status == 0, text
        store = Store(tmp_path / "results" / "against-published", create=False)
        taken = {key.removeprefix("published-") for key in store.published()}
        from_runs = {
            name
            for name, run_of in zip(("one", "two"), both, strict=True)
            if taken & {cell["key"] for cell in run_of.cells()}
        }
        assert from_runs == cells
        assert len({c["problem"] for c in store.cells() if c["key"] in store.shown()}) == len(
            problems
        )


REFUSED = {
    "no method": ([], "--against needs the method"),
    "a preset": (["smoke", "-m", WALK], "leave out 'smoke'"),
    "a problem that was not published": (["-m", WALK, "-p", "funnel"], "published problem"),
    "another file": (["-m", WALK, "--against", "base"], "--against must be published or"),
    "a file that is not there": (["-m", WALK, "--against", "no.parquet"], "no published results"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_held_against_published_rows_is_refused(
    case: str, say: Say, tmp_path: Path
) -> None:
    words, sentence = REFUSED[case]
    write([published(tmp_path / "base", ["exact"])], tmp_path / "p.parquet")
    more = [] if "--against" in words else ["--against", "p.parquet"]
    status, text = say("run", *words, *more)
    assert status == 2
    assert sentence in " ".join(text.split())
    assert "Traceback" not in text


def test_a_run_that_is_not_complete_or_too_old_is_not_published(tmp_path: Path) -> None:
    store = published(tmp_path / "run", ["exact"])
    names = {cell["key"]: (cell["problem"], cell["method"]) for cell in store.cells()}
    store.keep_current({**names, "f" * 24: ("x", "y")})
    with pytest.raises(UserError, match="1 of 3 cells have not ended"):
        write([store], tmp_path / "p.parquet")
    bare = Store(tmp_path / "bare")
    with pytest.raises(UserError, match="before runs kept"):
        write([bare], tmp_path / "p.parquet")
    assert not (tmp_path / "p.parquet").exists()


def test_a_file_too_large_to_ship_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST", 100)
    with pytest.raises(UserError, match="100 at most"):
        write([published(tmp_path / "run", ["exact"])], tmp_path / "p.parquet")
    assert not (tmp_path / "p.parquet").exists()


def test_the_list_tells_methods_seeds_versions_and_what_is_stale(say: Say, fresh: Path) -> None:
    write([published(fresh / "base", [plugin(fresh / "a"), "exact"])], fresh / "p.parquet")
    plugin(fresh / "a", inside="pass  # otherwise")
    forget(fresh)
    status, text = say("published", "p.parquet")
    assert status == 0
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["mine.py:Walk"][-1] == "all"
    assert lines["exact"] == ["exact", "1", "2"]
    assert "Stale are 2 of 4 cells" in text
    assert "2 cells: the code of its method has changed since" in text


@pytest.mark.skipif(not SHIPPED.is_file(), reason="nothing was published yet")
def test_the_results_that_ship_are_small_and_say_where_they_come_from() -> None:
    assert SHIPPED.stat().st_size <= archive.MOST
    runs = read()
    assert [run_of.info["title"] for run_of in runs] == ["methods", "survey"]
    for found in runs:
        assert {"version", "commit", "processor", "packages", "finished", "probe"} <= set(
            found.info
        )
        assert re.fullmatch(r"[0-9a-f]{40}", found.info["commit"])
        recipe = found.info[RECIPE]
        for cell in found.cells:
            assert label(cell["problem"], cell["problem_settings"]) in recipe["problems"]
            assert label(cell["method"], cell["settings"]) in recipe["methods"]
        assert any(cell["method"] == "exact" for cell in found.cells)
