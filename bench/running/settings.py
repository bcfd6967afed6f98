"""Whose settings a method of a matrix has: its defaults, its authors', what a search has found, or
what the matrix says.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.plugins import registry, spec, tuned
from bench.plugins.space import space
from bench.plugins.spec import Spec
from bench.running.matrix_file import Item
from bench.store import label

DEFAULTS, AUTHORS, MATRIX = "defaults", "its authors'", "set in the matrix"
UNTUNED = "nothing to tune"


@dataclass(frozen=True)
class Origin:
    """Where the settings of a method come from, in words, and the file that they were read from."""

    words: str
    file: Path | None = None


AT_DEFAULTS = Origin(DEFAULTS)


def settled(
    methods: list[tuple[Spec, Item | None]], every: bool
) -> list[tuple[Spec, Item | None, Origin]]:
    """Each method with the settings that it is to have, and where they come from.

    Args:
        methods: as the matrix names them.
        every: whether the matrix wants all of them tuned.

    Raises:
        UserError: if a method is to be tuned and has no file of tuned settings; names all of them,
            and the commands that make the files.
    """
    missing: list[str] = []
    found = []
    for method, item in methods:
        wanted = item.tuned if item is not None and item.tuned is not None else every
        if method.entry.group == "learners":
            found.append((method, item, _said(method, item)))  # `tune` is for posteriors
        elif isinstance(wanted, str):
            found.append(_tuned(method, item, Path(wanted)))
        elif not wanted:
            found.append((method, item, _said(method, item)))
        elif not space(registry.load(method.entry), method.settings):
            found.append((method, item, Origin(f"{_said(method, item).words}: {UNTUNED}")))
        elif (file := tuned.file_of(label(method.name, method.settings))).is_file():
            found.append(_tuned(method, item, file))
        else:
            missing.append(label(method.name, method.settings))
    if missing:
        first = missing[0].replace(" ", ":", 1).replace(" ", ",")
        raise UserError(
            f"The matrix wants tuned settings, and there are none in {tuned.folder()} for"
            f" {', '.join(missing)}. `postbench tune {first} -p PROBLEM` makes them; tuned = false"
            " on a method's line leaves it as it is."
        )
    return found


def _said(method: Spec, item: Item | None) -> Origin:
    if item is not None and item.settings is not None:
        return Origin({"authors": AUTHORS, "defaults": DEFAULTS}[item.settings])
    return Origin(MATRIX if method.settings else DEFAULTS)


def _tuned(method: Spec, item: Item | None, file: Path) -> tuple[Spec, Item | None, Origin]:
    said = tuned.read(file, method.name)
    fields = {**said.fields, **method.settings}
    try:
        found = spec.make("methods", method.entry.name, fields)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    return dataclasses.replace(found, shown=method.shown), item, Origin(said.words, file)
