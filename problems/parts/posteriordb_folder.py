"""The layout of posteriordb: which posteriors a folder holds, and what belongs to each.

Source: M. Magnusson et al., posteriordb: testing, benchmarking and developing Bayesian inference
algorithms, 2024, arXiv:2407.04967.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "POSTBENCH_POSTERIORDB"
INSIDE = "posterior_database"  # where a clone of the repository keeps it


@dataclass(frozen=True)
class Posterior:
    """One posterior of a folder, as its own files describe it.

    Args:
        name: such as ``eight_schools-eight_schools_noncentered``.
        program: the Stan program's file.
        data: the file of its data, JSON or a zip of it.
        draws: the file of its reference draws; None where it has none.
        certificate: what is said of those draws.
        keywords: of the posterior and of its model.
        dimensions: entries of each parameter, as its file says.
    """

    name: str
    program: Path
    data: Path
    draws: Path | None
    certificate: Mapping[str, Any]
    keywords: tuple[str, ...]
    dimensions: Mapping[str, int]


def home(folder: str) -> Path:
    """The folder that holds ``posteriors/``: the one named, or that of the environment.

    Raises:
        ValueError: if there is none.
    """
    told = folder or os.environ.get(VARIABLE, "")
    if not told:
        raise ValueError(
            f"a clone of posteriordb is needed: name it by folder=DIR, or set {VARIABLE}."
        )
    for place in (Path(told) / INSIDE, Path(told)):
        if (place / "posteriors").is_dir():
            return place
    raise ValueError(f"{told} is no clone of posteriordb: it holds no folder 'posteriors'.")


def names(folder: str) -> list[str]:
    """The posteriors of a folder, sorted."""
    return sorted(path.stem for path in (home(folder) / "posteriors").glob("*.json"))


def posterior(folder: str, name: str) -> Posterior:
    """What belongs to a posterior.

    Raises:
        ValueError: if there is none of that name, or a file that it needs is missing or broken.
    """
    root = home(folder)
    file = root / "posteriors" / f"{name}.json"
    if not file.is_file():
        known = names(folder)
        raise ValueError(f"there is no posterior {name!r} among the {len(known)} of {root}.")
    about = _object(file)
    model, data = _name(about, "model_name", file), _name(about, "data_name", file)
    said, what = (
        _info(root / of / "info" / f"{x}.info.json")
        for of, x in (("models", model), ("data", data))
    )
    stan = _mapping(_mapping(said.get("model_implementations")).get("stan"))
    program = stan.get("model_code") or f"models/stan/{model}.stan"
    table = what.get("data_file") or f"data/data/{data}.json"
    reference = about.get("reference_posterior_name")
    draws = root / "reference_posteriors" / "draws"
    info = draws / "info" / f"{reference}.info.json"
    return Posterior(
        name,
        _there(root / str(program), name),
        _there(root / str(table), name),
        _found(draws / "draws" / f"{reference}.json") if reference else None,
        _info(info) if reference else {},
        tuple(dict.fromkeys([*_words(about), *_words(said)])),
        {key: _count(size) for key, size in _mapping(about.get("dimensions")).items()},
    )


def _name(about: Mapping[str, Any], key: str, file: Path) -> str:
    """What a posterior's file says under a key that it must have.

    Raises:
        ValueError: if it does not.
    """
    found = about.get(key)
    if not isinstance(found, str) or not found:
        raise ValueError(f"the posterior {file.stem!r}: {file} lacks the key {key!r}.")
    return found


def _mapping(found: Any) -> Mapping[str, Any]:
    """What is an object in JSON; nothing where it is something else."""
    return found if isinstance(found, dict) else {}


def _words(about: Mapping[str, Any]) -> list[str]:
    """Keywords, be they one or a list."""
    found = about.get("keywords") or []
    return [str(word) for word in found] if isinstance(found, list) else [str(found)]


def _count(size: Any) -> int:
    """Entries of a parameter whose size is a number or a list of them; 1 where it is neither."""
    sizes = size if isinstance(size, list) else [size]
    return math.prod(int(n) if isinstance(n, int | float) else 1 for n in sizes)


def _info(file: Path) -> dict[str, Any]:
    """What a file says, if it is there."""
    return _object(file) if file.is_file() else {}


def text_of(file: Path) -> str:
    """The text of a JSON file, or of the one file in a zip.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        if file.suffix != ".zip":
            return file.read_text(encoding="utf-8")
        with zipfile.ZipFile(file) as archive:
            inside = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
            return archive.read(inside[0]).decode("utf-8")
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile, IndexError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(text_of(file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} must hold a JSON object.")
    return found


def _found(file: Path) -> Path | None:
    """The file, or its zip; None where neither is there."""
    packed = file.with_name(f"{file.name}.zip")
    return next((path for path in (file, packed) if path.is_file()), None)


def _there(file: Path, name: str) -> Path:
    found = _found(file)
    if found is None:
        raise ValueError(f"the posterior {name!r} needs {file}, which is not there.")
    return found
