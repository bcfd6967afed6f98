"""Which files of the suite a file runs, found by following what it imports, and what in a file of
Python can decide a result.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

SUITE = Path(__file__).parents[2]
ROOMS = ("bench", "methods", "problems")
# folders whose tables decide what any file of the same package gives
TABLES = (".csv", ".stan")

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def reached(files: Iterable[Path]) -> set[Path]:
    """The files of the suite that some files import, directly or through each other, wherever in
    them; of a package the file that opens it, and the tables of a package of which any file is
    reached.

    A file of the suite that is among those given is in the answer; one from elsewhere is not.

    Args:
        files: of Python; of one that cannot be read as such, nothing is followed.
    """
    waiting = list(files)
    found = {path for path in waiting if path.is_relative_to(SUITE) and _package(path) in ROOMS}
    while waiting:
        new = _imported(waiting.pop()) - found
        found |= new
        waiting += new
    return found | {table for name in {_package(path) for path in found} for table in _tables(name)}


def imports(file: Path) -> Iterator[str]:
    """The names of all modules that a file imports, wherever in it; what is imported from a module
    may be a module too, and is named with it.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def substance(file: Path) -> bytes:
    """A file without what cannot decide a result: of Python's, docstrings, lines of comments and
    empty lines; all of any other.
    """
    content = file.read_bytes()
    if file.suffix != ".py":
        return content
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return content
    said, inside = _docstring_lines(tree), _string_lines(tree)
    lines = content.splitlines(keepends=True)
    kept = (
        line
        for number, line in enumerate(lines, start=1)
        if number not in said and (number in inside or _says_something(line))
    )
    return b"".join(kept)


def _says_something(line: bytes) -> bool:
    return not line.strip().startswith(b"#") and bool(line.strip())


def _docstring_lines(tree: ast.Module) -> set[int]:
    """The numbers of the lines that docstrings alone take up."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, _DOCUMENTED) or ast.get_docstring(node, clean=False) is None:
            continue
        said, after = node.body[0], node.body[1:2]
        first = getattr(node, "lineno", 0) < said.lineno
        if first and not any(said.end_lineno == other.lineno for other in after):
            found |= set(range(said.lineno, (said.end_lineno or said.lineno) + 1))
    return found


def _string_lines(tree: ast.Module) -> set[int]:
    """The numbers of the lines that begin inside of a text."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        ):
            found |= set(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return found


def _imported(file: Path) -> frozenset[Path]:
    """The files of the suite that a file names in its imports; one of the suite is read once."""
    return _imported_by_ours(file) if _package(file) in ROOMS else _followed(file)


@functools.cache
def _imported_by_ours(file: Path) -> frozenset[Path]:
    return _followed(file)


def _followed(file: Path) -> frozenset[Path]:
    found: set[Path] = set()
    for name in imports(file):
        words = name.split(".")
        if words[0] in ROOMS:
            ways = (SUITE.joinpath(*words[:count]) for count in range(1, len(words) + 1))
            found |= {path for way in ways if (path := _module(way)) is not None}
    return frozenset(found)


def _module(way: Path) -> Path | None:
    """The file of a module by its path without an ending; None where there is none."""
    for path in (way / "__init__.py", way.with_name(f"{way.name}.py")):
        if path.is_file():
            return path
    return None


def _package(path: Path) -> str:
    return path.relative_to(SUITE).parts[0] if path.is_relative_to(SUITE) else ""


@functools.cache
def _tables(package: str) -> tuple[Path, ...]:
    if package not in ROOMS:
        return ()
    return tuple(path for path in (SUITE / package).rglob("*") if path.suffix in TABLES)
