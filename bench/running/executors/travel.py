"""What a cell takes along to another machine: the files of its plugins, and marks by which the code
there is told from other code.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.plugins import spec as specs
from bench.plugins.reached import ROOMS, SUITE
from bench.plugins.sources import is_file, siblings
from bench.plugins.spec import Spec
from bench.provenance import PACKAGES, SOURCES, code_of, version
from bench.running.matrix import Cell


@dataclasses.dataclass(frozen=True)
class Load:
    """A cell on its way.

    Args:
        cell: as the runner has it.
        files: SHA-256 of each file that its plugins need, by its path on the runner's machine.
        marks: of its problem, its method and its metrics, in this order.
    """

    cell: Cell
    files: Mapping[str, str]
    marks: tuple[Mapping[str, str], ...]


@functools.cache
def suite() -> dict[str, str]:
    """Version and code of the suite, and the versions of what its figures depend on."""
    packages = {name: metadata.version(name) for name in PACKAGES}
    code = code_of([SUITE / room for room in ROOMS])
    return {"postbench": version(), "the code of postbench": code, **packages}


def differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """What differs between two machines, in words, ours first; empty where nothing does."""
    return ", ".join(
        name if len(value) == 64 else f"{name} {theirs.get(name) or 'missing'} in place of {value}"
        for name, value in ours.items()
        if theirs.get(name) != value
    )


class Loads:
    """Cells made ready to travel; each plugin is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[dict[str, str], dict[str, str]]] = {}

    def of(self, cell: Cell) -> Load:
        """The cell with the files of its plugins and their marks."""
        found = [self._looked_at(spec) for spec in (cell.problem, cell.method, *cell.metrics)]
        files = {path: digest for needed, _ in found for path, digest in needed.items()}
        return Load(_absolute(cell), files, tuple(mark for _, mark in found))

    def _looked_at(self, spec: Spec) -> tuple[dict[str, str], dict[str, str]]:
        if spec.content not in self._known:
            files = {str(path): digest(path) for path in _needed(spec)}
            self._known[spec.content] = files, mark(spec)
        return self._known[spec.content]


def mark(spec: Spec) -> dict[str, str]:
    """By what a plugin is told from another of its name, whatever folder it lies in."""
    libraries = getattr(spec.build(), "libraries", ())
    versions = {f"the library {name}": _version(name) for name in libraries}
    package = {"the package": spec.entry.package} if spec.entry.distribution else {}
    return {
        "its code": _joined(code_of([place]) for place in spec.places),
        "the files that it reads": _joined(map(digest, spec.data)),
        **package,
        **versions,
    }


def moved(cell: Cell, files: Mapping[str, str]) -> Cell:
    """The same cell, of the same key, with the files of its plugins where they are here.

    Args:
        cell: as it came.
        files: where each file is, by its path on the runner's machine.
    """
    return dataclasses.replace(
        cell,
        problem=_moved(cell.problem, files),
        method=_moved(cell.method, files),
        metrics=tuple(_moved(metric, files) for metric in cell.metrics),
    )


def digest(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def strangers(cell: Cell, marks: Sequence[Mapping[str, str]]) -> str:
    """What of a cell's plugins is another here than where the marks were made, in words; empty
    where all are the same.
    """
    for spec, ours in zip((cell.problem, cell.method, *cell.metrics), marks, strict=True):
        here = specs.make(spec.entry.group, spec.entry.name, spec.settings)
        if found := differing(ours, mark(here)):
            return f"{spec.entry.group[:-1]} {spec.name}: {found}"
    return ""


def _needed(spec: Spec) -> Iterator[Path]:
    """The files that a plugin is made of or reads, but for those of the suite and of packages."""
    if spec.entry.file:
        file = Path(_file_of(spec))
        yield file
        for place in siblings(file) if file.suffix == ".py" else ():
            found = place.rglob("*") if place.is_dir() else [place]
            yield from (path for path in found if path.suffix in SOURCES and path.is_file())
    yield from (path for path in spec.data if not path.is_relative_to(SUITE))


def _file_of(spec: Spec) -> str:
    """The path of a plugin that is a file."""
    reference = spec.entry.reference
    return reference.rpartition(":")[0] if ".py:" in reference else reference


def _moved(spec: Spec, files: Mapping[str, str]) -> Spec:
    entry, settings = spec.entry, _mapped(spec.settings, lambda text: files.get(text, text))
    if entry.file:
        path = _file_of(spec)
        reference = files[path] + entry.reference.removeprefix(path)
        entry = dataclasses.replace(entry, name=reference, reference=reference)
    return dataclasses.replace(spec, entry=entry, settings=settings)


def _absolute(cell: Cell) -> Cell:
    """The same cell with every path of a file in its fields made absolute."""

    def whole(spec: Spec) -> Spec:
        return dataclasses.replace(spec, settings=_mapped(spec.settings, _whole))

    metrics = tuple(whole(metric) for metric in cell.metrics)
    return dataclasses.replace(
        cell, problem=whole(cell.problem), method=whole(cell.method), metrics=metrics
    )


def _mapped(value: Any, change: Any) -> Any:
    """A value of fields with every text in it changed."""
    if isinstance(value, Mapping):
        return {name: _mapped(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, change) for item in value)
    return change(value) if isinstance(value, str) else value


def _whole(text: str) -> str:
    """A path made absolute; a word that happens to be the name of a file stays."""
    path = "/" in text or "." in text
    return str(Path(text).resolve()) if path and is_file(text) else text


def _joined(digests: Iterator[str]) -> str:
    return hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
