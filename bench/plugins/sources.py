"""What decides how a class behaves beside its fields: the code that it runs and the data that it
reads, as files whose content counts in the key of a cell.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.errors import PluginError
from bench.plugins.built_in import Entry
from bench.plugins.reached import imports, reached

# names that no module beside a plugin takes away
RESERVED = frozenset(
    (
        *("bench", "methods", "problems", "reports", "tests"),
        *("torch", "pyro", "numpy", "scipy", "sklearn", "arviz_stats", "pandas", "pyarrow"),
        *("pydantic", "typer", "rich", "jinja2", "matplotlib"),
    )
)
# the attribute by which a plugin declares more files that it reads
DATA = "data_files"


def code_places(entry: Entry, cls: type[Any]) -> frozenset[Path]:
    """The files and folders whose sources decide what a class does.

    Those are the files of its bases; of a plugin also its whole package, or the modules beside its
    file that it imports; and what all of these import of the suite.
    """
    places = {place for base in cls.__mro__ if (place := _home(base)) is not None}
    if ".py:" in entry.reference:
        places |= siblings(Path(entry.reference.rpartition(":")[0]))
    elif entry.distribution:
        places |= set(_package(entry.reference.partition(":")[0]))
        places |= set(_shipped(entry.distribution))
    return frozenset(places | reached(file for place in places for file in _modules(place)))


def _modules(place: Path) -> Iterable[Path]:
    return place.rglob("*.py") if place.is_dir() else [place]


def siblings(file: Path) -> set[Path]:
    """The modules and packages beside a plugin's file that it imports, directly or through each
    other, found by reading its source.
    """
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        for name in imports(waiting.pop()):
            place = beside(file.parent, name.partition(".")[0])
            if place is not None and place not in found and place != file:
                found.add(place)
                waiting += sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return found


def beside(folder: Path, name: str) -> Path | None:
    """The file or the package of that name in a folder; None where there is none, or the name is
    Python's own, ours or of a library that we need.
    """
    if name in sys.stdlib_module_names or name in RESERVED:
        return None
    if (folder / name / "__init__.py").is_file():
        return folder / name
    file = folder / f"{name}.py"
    return file if file.is_file() else None


def data_of(entry: Entry, instance: Any, fields: Mapping[str, Any]) -> dict[str, tuple[Path, str]]:
    """The files that an instance reads, with their hashes, by the words that name them.

    Those are the fields whose value is the path of a file, and what the class declares as
    ``data_files``, relative to its own folder.

    Raises:
        PluginError: if a declared file is not there, or a file cannot be read.
    """
    found = {name: Path(text) for name, text in _paths(fields)}
    declared = getattr(instance, DATA, ())
    if isinstance(declared, Mapping):  # names, and where the files are
        found |= declared
        declared = ()
    for name in [declared] if isinstance(declared, str | Path) else declared:
        path = _folder(type(instance)) / name
        if not path.is_file():
            raise PluginError(f"{entry.name} declares the data file {str(path)!r}; there is none.")
        found[str(name)] = path
    try:
        return {name: (path.resolve(), _hash(path)) for name, path in found.items()}
    except OSError as error:
        raise PluginError(f"{entry.name}: a file that it reads cannot be read: {error}.") from None


def fields_by_content(cls: type[Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that count as they stand: not those that name a file whose content counts."""
    from problems.base import CONTENT  # `list` and `show` do not wait for torch

    by_content = {field.name for field in dataclasses.fields(cls) if field.metadata.get(CONTENT)}
    return {
        name: value
        for name, value in fields.items()
        if not (name in by_content and isinstance(value, str) and is_file(value))
    }


def _paths(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The texts inside of fields that are paths of files, with the way to them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _paths(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _paths(item, f"{name}.{i}")
    elif isinstance(value, str | Path) and is_file(str(value)):
        yield name, str(value)


def is_file(text: str) -> bool:
    """Whether a text is the path of a file; one that no path can be is not."""
    try:
        return bool(text) and Path(text).is_file()
    except (OSError, ValueError):  # longer than a path may be, or with NUL
        return False


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(cls: type[Any]) -> Path:
    try:
        return Path(inspect.getfile(cls)).parent
    except (TypeError, OSError):
        return Path()


def _package(module: str) -> Iterable[Path]:
    """The folder of the package at the top of a module's name, as it was imported."""
    top = sys.modules.get(module.partition(".")[0])
    file = getattr(top, "__file__", None)
    if file is None:  # no package of its own, but a share of a namespace: its own folder then
        home = getattr(sys.modules.get(module), "__file__", None)
        return [Path(home).parent] if home else []
    return [Path(file).parent if Path(file).stem == "__init__" else Path(file)]


def _shipped(distribution: str) -> Iterable[Path]:
    """The Python files that a distribution put on the path by itself, outside of packages too."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    paths = (Path(str(file.locate())) for file in files if file.suffix == ".py")
    return [path for path in paths if path.is_file()]


def _home(base: type[Any]) -> Path | None:
    """The file of a class; None of Python's own classes."""
    if base.__module__.partition(".")[0] in sys.stdlib_module_names:
        return None
    try:
        return Path(inspect.getfile(base))
    except (TypeError, OSError):
        return None
