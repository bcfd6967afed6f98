"""Settings of methods that a search has found: a TOML file each, written by `postbench tune`, read
by matrices.

They are in ``./tuned``, or in the folder that POSTBENCH_TUNED names, under the method's name with
the fields that were given: ``tuned/gaussian-vb covariance=full.toml``.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError

PLACE = ("POSTBENCH_TUNED", "tuned")


@dataclass(frozen=True)
class Tuned:
    """What a search has found.

    Args:
        method: the name of the method.
        fields: that differ from the defaults, those that were given included.
        problems: on which it searched, by their labels.
        gradients: the budget of each of its cells.
        file: where it was read from.
    """

    method: str
    fields: Mapping[str, Any]
    problems: tuple[str, ...]
    gradients: int
    file: Path

    @property
    def words(self) -> str:
        """For a table: tuned on what, and where that is written."""
        return f"tuned on {', '.join(self.problems)} at {self.gradients:,} gradients ({self.file})"


def folder() -> Path:
    """The folder of the files of tuned settings: that of the environment, or ./tuned."""
    return Path(os.environ.get(PLACE[0]) or PLACE[1])


def file_of(label: str) -> Path:
    """The file of a method with the fields that are given, by the label of both."""
    return folder() / f"{re.sub(r'[^A-Za-z0-9._=+ -]', '_', label)}.toml"


def read(file: Path, method: str) -> Tuned:
    """What a file says.

    Args:
        file: to read.
        method: that it must be of.

    Raises:
        UserError: if it is not there, no such file, or of another method.
    """
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
        said = Tuned(
            str(found["method"]),
            dict(found.get("fields", {})),
            tuple(map(str, found["problems"])),
            int(found["gradients"]),
            file,
        )
    except OSError as error:
        raise UserError(
            f"The tuned settings {file} cannot be read: {error.strerror or error}; `postbench tune"
            f" {method} -p PROBLEM` makes them."
        ) from None
    except (ValueError, KeyError, TypeError) as error:  # TOMLDecodeError is a ValueError
        raise UserError(
            f"{file} is no file of tuned settings: {type(error).__name__} {error}."
        ) from None
    if said.method != method:
        raise UserError(f"{file} holds settings of {said.method}, not of {method}.")
    return said


def write(file: Path, head: str, content: Mapping[str, Any], tables: Mapping[str, Any]) -> None:
    """Write a file that ``read`` reads; it appears whole or not at all.

    Args:
        file: where to.
        head: lines of comment.
        content: keys at the top.
        tables: by name the keys of a table, or a list of such.
    """
    lines = [*(f"# {line}" for line in head.splitlines()), *_keys(content)]
    for name, table in tables.items():
        many = isinstance(table, list)
        for each in table if many else [table]:
            lines += ["", f"[[{name}]]" if many else f"[{name}]", *_keys(each)]
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(file)


def _keys(content: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_value(value)}" for name, value in content.items()]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _value(value: Any) -> str:
    """As TOML: of strings, numbers, booleans and lists the same as JSON, or nearly."""
    if isinstance(value, float):
        return repr(value) if value == value and abs(value) != float("inf") else _unending(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def _unending(value: float) -> str:
    return "nan" if value != value else "inf" if value > 0 else "-inf"
