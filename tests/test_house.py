"""Imports run one way: problems <- methods <- bench <- reports; the harness names no implementation."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {"problems": 0, "methods": 1, "bench": 2, "reports": 3}
ROOF = {"bench/cli.py", "bench/command.py"}  # the command joins all rooms
FILES = sorted(
    str(path.relative_to(ROOT)) for room in FLOORS for path in (ROOT / room).rglob("*.py")
)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("file", FILES)
def test_no_import_goes_up_the_stairs(file: str) -> None:
    room = file.split("/")[0]
    for name in imported(ROOT / file):
        other = name.split(".")[0]
        if other not in FLOORS or file in ROOF:
            continue
        assert FLOORS[other] <= FLOORS[room], f"{file} imports {name}"
        if room == "bench" and other in ("methods", "problems"):
            # problems.parts.stored is no problem: it reads the references that the harness writes
            assert name in ("methods.base", "problems.base", "problems.parts.stored"), (
                f"{file} names the implementation {name}"
            )
        if room == "reports":
            assert name in ("bench.store", "bench.errors") or other == "reports", (
                f"{file} imports {name}"
            )


def test_the_store_needs_no_torch() -> None:
    assert not any(
        name.split(".")[0] in ("torch", "pyro", "problems", "methods")
        for name in imported(ROOT / "bench/store.py")
    )
