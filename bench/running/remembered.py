"""The keys of a matrix as they were worked out last, so that a run that has nothing to do need not
load a single plugin to know it.

They hold as long as nothing has changed that they were made of: the matrix itself, the code of the
suite and of the plugins, the files of data that fields name, and what is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.plugins.built_in import GROUPS
from bench.plugins.reached import ROOMS, SUITE
from bench.provenance import code_of, version
from bench.running.matrix_file import Matrix

if TYPE_CHECKING:
    from bench.running.matrix import Cell

FILE = ".matrix.json"


def remember(
    folder: Path, matrix: Matrix, cells: Sequence[Cell], left_out: Collection[str]
) -> None:
    """Keep the keys of a matrix in the folder of its run; where it cannot be written, nothing.

    Args:
        folder: of the run.
        matrix: what was expanded.
        cells: what it was expanded to.
        left_out: why metrics of plugins were left out.
    """
    if matrix.truth == "reference":  # the seals of references are read anew every time
        return
    specs = {id(s): s for cell in cells for s in (cell.problem, cell.method, *cell.metrics)}
    places = sorted({str(place) for spec in specs.values() for place in spec.places})
    data = {str(path) for spec in specs.values() for path in spec.data}
    data |= {str(cell.origin.file) for cell in cells if cell.origin.file is not None}
    content = {
        "request": _request(matrix),
        "places": places,
        "code": _code(places),
        "data": {path: _digest(path) for path in sorted(data)},
        "keys": [cell.key for cell in cells],
        "left_out": list(left_out),
    }
    keep(folder, content)


def remembered(folder: Path, matrix: Matrix) -> tuple[list[str], list[str]] | None:
    """The keys of a matrix and why metrics were left out, if they were kept and nothing has changed
    since; None where they must be worked out.
    """
    kept = recalled(folder)
    if matrix.truth == "reference":
        return None
    try:
        same = (
            kept["request"] == _request(matrix)
            and kept["code"] == _code(kept["places"])
            and all(_digest(path) == digest for path, digest in kept["data"].items())
        )
        return ([*map(str, kept["keys"])], [*map(str, kept["left_out"])]) if same else None
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        return None


def keep(folder: Path, content: Mapping[str, Any]) -> None:
    """Put facts beside those that are kept of a run; where they cannot be written, nothing."""
    part = folder / f"{FILE}.part"
    with contextlib.suppress(OSError):
        part.write_text(json.dumps({**recalled(folder), **content}), encoding="utf-8")
        part.replace(folder / FILE)


def recalled(folder: Path) -> dict[str, Any]:
    """What ``keep`` kept; empty where there is nothing, or nothing that can be read."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, no JSON, no name of a file
        return {}
    return found if isinstance(found, dict) else {}


def _request(matrix: Matrix) -> str:
    """Hash of the matrix, of the folder that its paths start from, and of what is installed."""
    points = [
        (point.group, point.name, point.value, point.dist.version if point.dist else "")
        for group in GROUPS
        for point in metadata.entry_points(group=f"postbench.{group}")
    ]
    text = json.dumps([matrix.model_dump(mode="json"), str(Path.cwd()), sorted(points), version()])
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _code(places: Collection[str]) -> str:
    return code_of([*(SUITE / room for room in ROOMS), *map(Path, places)])


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
