"""The code of the suite that counts into a key: what a file imports and no more, and of a file what
can decide a result.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.plugins import reached as following
from bench.plugins import spec
from bench.plugins.built_in import BUILT_IN
from bench.plugins.reached import SUITE, reached, substance
from tests.plugins.test_identity import forget, plugin

HOUSE = {
    "methods/__init__.py": "",
    "methods/base.py": "STEP = 1\n",
    "methods/parts/__init__.py": "",
    "methods/parts/deep.py": "def late():\n    import methods.parts.later\n",
    "methods/parts/later.py": "",
    "methods/mine.py": "from methods.base import STEP\nfrom methods.parts import deep\n",
    "methods/other.py": "import methods.base\n",
    "methods/table.csv": "1,2\n",
    "problems/__init__.py": "",
    "problems/data.csv": "1,2\n",
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A suite of a few files in place of ours."""
    for name, text in HOUSE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(following, "SUITE", tmp_path)
    caches = (following._imported_by_ours, following._tables)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path
    for cache in caches:
        cache.cache_clear()


def test_a_file_reaches_what_it_imports_wherever_and_the_tables_of_that_package(
    house: Path,
) -> None:
    found = {path.relative_to(house).as_posix() for path in reached([house / "methods/mine.py"])}
    left = {"methods/other.py", "problems/__init__.py", "problems/data.csv"}
    assert found == set(HOUSE) - left


def test_a_file_from_elsewhere_reaches_what_it_imports_of_the_suite(house: Path) -> None:
    own = house / "plugins" / "walk.py"
    own.parent.mkdir()
    own.write_text("import torch\nfrom methods.other import walk\n")
    found = {path.relative_to(house).as_posix() for path in reached([own])}
    expected = {"methods/__init__.py", "methods/base.py", "methods/other.py", "methods/table.csv"}
    assert found == expected


WRITTEN = '''"""What it is."""

STEP = 1  # why


def walk():
    """One step."""
    text = """
    # no comment

    """
    # a comment
    return text, STEP
'''
# what is changed, into what, and whether that may decide a result
EDITS = {
    "the docstring of the module": ('"""What it is."""', '"""What it\nwas."""', False),
    "the docstring of a function": ('    """One step."""\n', "", False),
    "a comment": ("    # a comment\n", "    # another\n\n    # and one\n", False),
    "empty lines": ("\n\n\ndef", "\n\ndef", False),
    "a value": ("STEP = 1", "STEP = 2", True),
    "a name": ("return text, STEP", "return text", True),
    "a line that looks like a comment in a text": ("    # no comment\n", "", True),
    "an empty line in a text": ("comment\n\n", "comment\n", True),
}


@pytest.mark.parametrize("edit", EDITS)
def test_of_a_file_counts_what_can_decide_a_result(edit: str, tmp_path: Path) -> None:
    old, new, counts = EDITS[edit]
    assert WRITTEN.count(old) == 1
    file, other = tmp_path / "one.py", tmp_path / "two.py"
    file.write_text(WRITTEN)
    other.write_text(WRITTEN.replace(old, new))
    assert (substance(file) != substance(other)) == counts


def test_what_is_no_python_counts_whole(tmp_path: Path) -> None:
    for name in ("table.csv", "broken.py"):
        (tmp_path / name).write_text("a = = 1\n\n# 2\n")
        assert substance(tmp_path / name) == b"a = = 1\n\n# 2\n"


def test_a_docstring_beside_code_on_its_line_stays(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('"""What it is."""; STEP = 1\n')
    assert b"STEP" in substance(tmp_path / "one.py")


def test_a_method_of_the_suite_has_a_key_of_its_own_code(tmp_path: Path) -> None:
    avb, svgd = (
        {path.relative_to(SUITE).as_posix() for path in spec.parse("methods", name).places}
        for name in ("avb", "svgd")
    )
    assert {"methods/avb.py", "methods/base.py", "methods/parts/adversarial/game.py"} <= avb
    assert "methods/svgd.py" not in avb
    assert not any("adversarial" in name or "avb" in name for name in svgd)


def test_a_plugin_that_uses_a_part_of_the_suite_has_it_in_its_key(tmp_path: Path) -> None:
    name = plugin(tmp_path, inside="from methods.parts.bridge import log_evidence")
    assert SUITE / "methods" / "parts" / "bridge.py" in spec.parse("methods", name).places
    forget(tmp_path)


def test_nothing_that_counts_imports_the_suite_in_a_way_that_cannot_be_followed() -> None:
    """Imports of names made at run time, and relative ones, are not seen by reading a source."""
    modules = {
        reference.partition(":")[0] for names in BUILT_IN.values() for reference in names.values()
    }
    files = reached(SUITE / f"{name.replace('.', '/')}.py" for name in modules)
    assert len(files) > 150
    for file in (path for path in files if path.suffix == ".py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), file
            if isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
                names = [ast.unparse(word).strip("'\"").partition(".")[0] for word in node.args]
                assert not set(names) & set(following.ROOMS), file
