"""A name with its fields, as typed: ``avb:contrast=full,lr=0.001``. Checked against the class, and
hashed by content.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
import typing
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pydantic

from bench.errors import UserError, unknown
from bench.plugins import registry
from bench.plugins.built_in import PROGRAMS, Entry, Group
from bench.plugins.reached import substance
from bench.plugins.sources import code_places, data_of, fields_by_content
from bench.provenance import code_of


class Word(str):
    """A value as typed on the command line: read as TOML where the field takes that, and as it
    stands otherwise.
    """


@dataclasses.dataclass(frozen=True)
class Spec:
    """A problem, method or metric with its settings, before it is built.

    Args:
        entry: where the name leads.
        settings: the fields that differ from their defaults, JSON-able.
        content: hash of the class's name, of all its fields, of the code that it runs and of the
            files that its fields name.
        shown: how it is called where ``file.py:Class`` would mean two; empty otherwise.
        places: files and folders of code that ``content`` was made of.
        data: files of data that it was made of.
    """

    entry: Entry
    settings: Mapping[str, Any]
    content: str
    shown: str = ""
    places: frozenset[Path] = dataclasses.field(default=frozenset(), compare=False, repr=False)
    data: frozenset[Path] = dataclasses.field(default=frozenset(), compare=False, repr=False)

    @property
    def name(self) -> str:
        """For people: the registered name, or ``file.py:Class``."""
        if self.shown:
            return self.shown
        return Path(self.entry.name).name if self.entry.file else self.entry.name

    @property
    def described(self) -> Mapping[str, Any]:
        """The settings that tables show beside the name."""
        hidden = getattr(registry.load(self.entry), "unshown", ())
        return {field: value for field, value in self.settings.items() if field not in hidden}

    def build(self) -> Any:
        """The problem, method or metric itself, made with these fields."""
        return registry.load(self.entry)(**_checked(self.entry, self.settings))


def parse(group: Group, text: str) -> Spec:
    """``NAME[:field=value,...]`` -> Spec; for NAME also ``FILE.py:Class`` or ``FILE.stan``.

    Raises:
        UserError: names the word that is wrong, what was expected, and how to list what exists.
    """
    name, rest = _split_name(text)
    settings: dict[str, Any] = {}
    for part in _split_fields(rest):
        field, equals, value = part.partition("=")
        if not equals or not field.strip():
            raise UserError(
                f"{text!r}: expected field=value after the colon, got {part!r}; for example"
                " avb:contrast=full."
            )
        settings[field.strip()] = Word(value.strip())
    return make(group, name, settings)


def name_of(text: str) -> str:
    """The name alone, without its fields."""
    return _split_name(text)[0]


def make(group: Group, name: str, settings: Mapping[str, Any]) -> Spec:
    """A checked Spec from a name and its fields.

    Raises:
        UserError: unknown name or field, a value of the wrong type or out of range.
    """
    entry = registry.find(group, name)
    values = _checked(entry, settings)
    cls = registry.load(entry)
    try:
        instance = cls(**values)
    except ModuleNotFoundError as error:  # an optional library
        raise UserError(f"{name}: {error}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{name}: {error} `postbench show {name}` lists its fields.") from error
    fields = {name: _plain(value) for name, value in _own(instance).items()}
    defaults = {f.name: _plain(_default(f)) for f in dataclasses.fields(cls) if f.init}
    changed = {field: value for field, value in fields.items() if value != defaults[field]}
    identity = Path(entry.reference).name  # a file that moves is still the same plugin
    places, data = code_places(entry, cls), data_of(entry, instance, _own(instance))
    parts: list[Any] = [identity, fields_by_content(cls, fields), code_of(places, read=substance)]
    if libraries := getattr(instance, "libraries", ()):
        parts.append({name: _version(name) for name in libraries})
    if entry.distribution:
        parts.append(entry.package)
    if data:
        parts.append({name: digest for name, (_, digest) in data.items()})
    text = json.dumps(parts, sort_keys=True)
    content = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return Spec(entry, changed, content, "", places, frozenset(path for path, _ in data.values()))


def _version(distribution: str) -> str:
    """Of an optional library, empty where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _own(instance: Any) -> dict[str, Any]:
    """The values of an instance's fields, by name."""
    return {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance) if f.init}


def _split_name(text: str) -> tuple[str, str]:
    if ".py:" in text:
        path, _, tail = text.partition(".py:")
        attribute, _, rest = tail.partition(":")
        return f"{path}.py:{attribute}", rest
    for ending in PROGRAMS:
        path, mark, rest = text.partition(f"{ending}:")
        if mark:
            return path + ending, rest
    name, _, rest = text.partition(":")
    return name, rest


def _split_fields(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        depth += (letter in "[({") - (letter in "])}")
        if letter == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part for part in [*parts, text[start:]] if part.strip()]


def _readings(value: Any) -> list[Any]:
    if not isinstance(value, Word):
        return [value]
    try:
        return [tomllib.loads(f"value = {value}")["value"], str(value)]
    except tomllib.TOMLDecodeError:
        return [str(value)]


def _checked(entry: Entry, settings: Mapping[str, Any]) -> dict[str, Any]:
    cls = registry.load(entry)
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls) if f.init}
    values = {}
    for field, value in settings.items():
        if field not in known:
            raise unknown(
                f"field of {entry.name}", field, known, f"`postbench show {entry.name}` lists them."
            )
        values[field] = _validated(entry, field, hints[field], value)
    return values


def _validated(entry: Entry, field: str, hint: Any, value: Any) -> Any:
    for reading in _readings(value):
        try:
            return pydantic.TypeAdapter(hint).validate_python(reading)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            several = first["type"] == "tuple_type"
            what = "it takes values in brackets, such as [1, 2]" if several else first["msg"]
    raise UserError(
        f"{entry.name}: field {field!r} cannot be {value!r}: {what}. `postbench show {entry.name}`"
        " lists what it takes."
    )


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=repr))
