"""Names to classes: what ships with the suite, what installed packages add, and
``FILE.py:Class``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import inspect
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.errors import PluginError, UserError, unknown
from bench.plugins.built_in import (
    BUILT_IN,
    GROUPS,
    ON_REQUEST,
    PROGRAMS,
    Entry,
    Group,
    is_program,
)
from bench.plugins.files import load_file, member
from bench.plugins.sources import is_file

BASES: dict[Group, tuple[str, str]] = {
    "problems": ("problems.base", "Problem"),
    "methods": ("methods.base", "Method"),
    "metrics": ("bench.metrics.base", "Metric"),
    "models": ("problems.generative.base", "GenerativeModel"),
    "learners": ("methods.amortised.base", "Learner"),
    "figures": ("bench.metrics.amortised.base", "PairMetric"),
}


@functools.cache
def entries(group: Group) -> tuple[dict[str, Entry], dict[str, str]]:
    """All names of a group: those that can be used, and those refused because two packages claim
    them, each with the reason.
    """
    found = {
        name: Entry(group, name, reference, "postbench")
        for name, reference in BUILT_IN[group].items()
    }
    plugins = [_entry(group, point) for point in metadata.entry_points(group=f"postbench.{group}")]
    claims = Counter(plugin.name for plugin in plugins)
    refused = {}
    for plugin in plugins:
        if plugin.name in BUILT_IN[group] | ON_REQUEST[group]:
            refused[f"{plugin.name} ({plugin.package})"] = (
                f"The {group[:-1]} {plugin.name!r} of {plugin.package} is refused: postbench has"
                " one of that name. Rename the plugin."
            )
        elif claims[plugin.name] > 1:
            owners = " and ".join(sorted(p.package for p in plugins if p.name == plugin.name))
            refused[plugin.name] = (
                f"The {group[:-1]} {plugin.name!r} is refused: {owners} both provide it. "
                "Uninstall one, or name it by FILE.py:Class."
            )
        else:
            found[plugin.name] = plugin
    return found, refused


def _entry(group: Group, point: metadata.EntryPoint) -> Entry:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
    return Entry(group, point.name, point.value, package, point.dist.name if point.dist else "")


def has(group: Group, name: str) -> bool:
    """Whether a name, or a class in ``FILE.py:Class``, is of a group; one that two packages claim
    is, too.

    Raises:
        UserError: if there is no such file, or it cannot be imported.
    """
    if ".py:" in name:
        loaded = _resolve(find(group, name))
        if inspect.isfunction(loaded):
            return group == "problems"
        return isinstance(loaded, type) and issubclass(loaded, _base(group))
    if group == "problems" and is_program(name):
        return True
    found, refused = entries(group)
    return name in found or name in refused or name in ON_REQUEST[group]


def find(group: Group, name: str) -> Entry:
    """The entry of a name or of ``FILE.py:Class``.

    Raises:
        UserError: if there is none, with the nearest names; if the file does not exist; if two
            packages claim the name.
    """
    if ".py:" in name:
        path, _, attribute = name.rpartition(":")
        if not is_file(path):
            raise UserError(f"There is no file {path!r} (from {name!r}); expected FILE.py:Class.")
        file = Path(path).resolve()
        return Entry(group, f"{file}:{attribute}", f"{file}:{attribute}", f"the file {path}")
    if group == "problems" and is_program(name):
        if not is_file(name):
            raise UserError(f"There is no file {name!r}; a program is named by its path.")
        file = Path(name).resolve()
        return Entry(group, str(file), str(file), f"the file {name}")
    if name in ON_REQUEST[group]:
        return Entry(group, name, ON_REQUEST[group][name], "postbench")
    found, refused = entries(group)
    if name in found:
        return found[name]
    if name in refused:
        raise PluginError(refused[name])
    raise unknown(
        group[:-1],
        name,
        found,
        f"`postbench list {group}` shows them all; a class of your own is FILE.py:Class.",
    )


def find_any(groups: Sequence[Group], name: str) -> list[Group]:
    """Those of some groups that have a name.

    Raises:
        UserError: if none has, with the nearest names of all of them; if there is no such file.
    """
    having = [group for group in groups if has(group, name)]
    if not having and ".py:" in name:
        bases = " nor from ".join(".".join(BASES[group]) for group in groups)
        raise PluginError(f"{name} derives neither from {bases}.")
    if not having:
        raise unknown(
            " or ".join(group[:-1] for group in groups),
            name,
            list(dict.fromkeys(known for group in groups for known in entries(group)[0])),
            f"`postbench list {groups[0]}` and `list {groups[-1]}` show them all; a class of your"
            " own is FILE.py:Class.",
        )
    return having


def shipped(name: str) -> list[Entry]:
    """The entries of a name of the suite, in every group that has it; none where the name has
    fields.
    """
    return [entries(group)[0][name] for group in GROUPS if name in BUILT_IN[group]]


def load(entry: Entry) -> type[Any]:
    """The class an entry leads to.

    Raises:
        PluginError: if its import fails or it is not a class of its group; names the plugin and its
            package.

    A function that makes a problem counts as a class of problems, its parameters as the fields.
    """
    if is_program(entry.reference):
        return _program(entry)
    loaded, base = _resolve(entry), _base(entry.group)
    if entry.group == "problems" and inspect.isfunction(loaded):
        return _made(entry, loaded)
    if not (
        isinstance(loaded, type) and issubclass(loaded, base) and dataclasses.is_dataclass(loaded)
    ):
        raise PluginError(
            f"The {entry.group[:-1]} {entry.name!r} of {entry.package} is not a dataclass that"
            f" derives from {base.__module__}.{base.__name__}."
        )
    return loaded


@functools.cache
def _made(entry: Entry, make: Any) -> type[Any]:
    from bench.plugins.delegate import from_function

    try:
        return from_function(make)
    except (TypeError, NameError) as error:
        raise PluginError(
            f"The problem {entry.name!r} of {entry.package} cannot be made: {error}"
        ) from error


@functools.cache
def _program(entry: Entry) -> type[Any]:
    """The class that reads a program, bound to its file."""
    from bench.plugins.delegate import bound

    reads = PROGRAMS[Path(entry.reference).suffix]
    return bound(_resolve(dataclasses.replace(entry, reference=reads)), entry.reference)


def group_of(name: str) -> Group:
    """The group that has this name, or that the class in ``FILE.py:Class`` belongs to.

    Raises:
        UserError: if there is none.
    """
    if is_program(name):
        return "problems"
    if ".py:" in name:
        loaded = _resolve(find("methods", name))
        if inspect.isfunction(loaded):
            return "problems"
        for group in GROUPS:
            if isinstance(loaded, type) and issubclass(loaded, _base(group)):
                return group
        raise PluginError(
            f"{name} derives from none of {', '.join(map('.'.join, BASES.values()))}."
        )
    for group in GROUPS:
        if name in entries(group)[0] or name in entries(group)[1]:
            return group
    known = [known for group in GROUPS for known in entries(group)[0]]
    raise unknown(
        "problem, method, metric, model, learner or figure",
        name,
        known,
        "`postbench list` shows them all; a class of your own is FILE.py:Class.",
    )


def _resolve(entry: Entry) -> Any:
    module, _, attribute = entry.reference.rpartition(":")
    try:
        with contextlib.chdir("."):  # whatever directory the module goes to, the run stays here
            home = (
                load_file(Path(module))
                if module.endswith(".py")
                else importlib.import_module(module)
            )
        return member(home, attribute)
    except (
        Exception,
        SystemExit,
    ) as error:  # anything may go wrong while a stranger's module is imported
        raise PluginError(
            f"The {entry.group[:-1]} {entry.name!r} of {entry.package} cannot be imported:"
            f" {type(error).__name__}: {error}"
        ) from error


def _base(group: Group) -> type[Any]:
    module, name = BASES[group]
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
