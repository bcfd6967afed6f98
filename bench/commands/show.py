"""What there is to run: `postbench list` and `postbench show`.

What ships is read from its source, so that neither waits for torch; a plugin is imported.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.commands import terminal
from bench.errors import PluginError, UserError, unknown
from bench.plugins import facts, registry
from bench.plugins.built_in import GROUPS, Entry, Group
from bench.plugins.facts import EXACT, Facts
from bench.plugins.presets import presets
from bench.plugins.prose import REQUIRED, FieldProse, Prose, cited, opening, prose, source_of

# what groups of amortised inference are called above their tables
TITLES: dict[Group, str] = {
    "models": "models: data with latent variables, for learners",
    "learners": "learners: methods that learn q(z | x) for every x, for models",
    "figures": "figures: metrics of a learned decoder and encoder",
}


def print_list(what: str) -> None:
    """One table per group: name, first sentence, where it comes from; plugins that cannot be used
    are named below.

    Raises:
        UserError: if ``what`` is no group.
    """
    console, choices = terminal.console(), (*GROUPS, "presets")
    if what not in (*choices, "all"):
        raise unknown("list", what, choices, "")
    for group in GROUPS:
        if what in (group, "all"):
            _print_group(group, console)
    if what in ("presets", "all"):
        table = _table("presets")
        for name, path in presets().items():
            table.add_row(name, str(tomllib.loads(path.read_text("utf-8")).get("description", "")))
        console.print(table)


def print_posteriors(folder: Path) -> None:
    """The posteriors of a clone of posteriordb: dimension, whether there are draws, keywords.

    Raises:
        UserError: if the folder is no such clone.
    """
    found: Any = registry.load(registry.find("problems", "posteriordb"))
    try:
        posteriors, reasons = found.catalogue(str(folder))
    except ValueError as error:
        raise UserError(f"--posteriordb: {error}") from None
    table = _table(f"posteriors of {folder}")
    for each in posteriors:
        entries = sum(each.dimensions.values())
        table.add_row(
            terminal.words(each.name),
            f"{entries} parameters",
            "with draws" if each.draws else "",
            terminal.words(", ".join(each.keywords)),
        )
    console = terminal.console()
    console.print(table)
    for reason in reasons:
        console.print(f"  {terminal.words(reason)}", style="red", soft_wrap=True)


def print_traits(wanted: list[str]) -> None:
    """The problems that have all of some traits, each with its dimension and all that it is known
    for; every trait with its meaning, where that is what is wanted.

    Raises:
        UserError: if there is no such trait, or no problem has them all.
    """
    from bench.plugins import traits

    console = terminal.console()
    if wanted == ["any"]:
        table = _table("traits")
        for trait, meaning in traits.meanings().items():
            table.add_row(trait, meaning)
        console.print(table)
        return
    table, found = _table(", ".join(wanted)), registry.entries("problems")[0]
    for name in traits.having(wanted):
        table.add_row(name, ", ".join(sorted(traits.traits(found[name]))))
    console.print(table)


def _table(title: str) -> Table:
    table = Table(
        title=Text(title, "bold"),
        title_justify="left",
        box=None,
        show_header=False,
        pad_edge=False,
    )
    table.add_column(style="cyan", no_wrap=True)
    return table


def _print_group(group: Group, console: Console) -> None:
    found, refused = registry.entries(group)
    broken = list(refused.values())
    table = _table(TITLES.get(group, group))
    for name, entry in found.items():
        try:
            package = "" if entry.package == "postbench" else entry.package
            said = Text(terminal.words(_sentence(entry, found)))
            if paper := cited(_source(entry)):
                said.append(f"  {terminal.words(paper)}", "dim")
            table.add_row(terminal.words(name), said, terminal.words(package))
        except PluginError as error:
            broken.append(str(error))
    console.print(table)
    for reason in broken:
        console.print(f"  {terminal.words(reason)}", style="red", soft_wrap=True)
    console.print()


def _sentence(entry: Entry, found: Mapping[str, Entry]) -> str:
    """The first sentence of the class; of its file, where that is one of ours and holds nothing
    else.
    """
    home = entry.reference.rpartition(":")[0]
    if entry.package == "postbench":
        alone = sum(other.reference.startswith(f"{home}:") for other in found.values()) == 1
        return opening(entry, of_file=alone)
    return " ".join(_said(entry).text.split("\n\n")[0].split())


def _source(entry: Entry) -> str:
    """The paper that a method comes from; empty of all else."""
    if entry.group not in ("methods", "learners"):
        return ""
    if entry.package == "postbench":
        return source_of(entry)
    return str(getattr(registry.load(entry), "source", ""))


def print_one(name: str) -> None:
    """Prose, fields, defaults, and for a problem its dimension and truth; of a name that several
    groups have, all of them.

    Raises:
        UserError: if there is nothing of that name.
    """
    console = terminal.console()
    if name in presets():
        console.print(presets()[name].read_text(encoding="utf-8"))
        if not registry.shipped(name):
            return
    for i, (entry, fact) in enumerate(_found(name)):
        if i:
            console.print()
        _print_entry(entry, fact, console)


def _print_entry(entry: Entry, fact: Facts | str | None, console: Console) -> None:
    heading = Text.assemble(
        (terminal.words(_title(entry)), "bold cyan"),
        "  ",
        (terminal.words(f"{entry.group[:-1]} of {entry.package}, {entry.reference}"), "dim"),
    )
    console.print(heading, soft_wrap=True)
    said = _said(entry)
    for text in dict.fromkeys((said.module, said.text)):
        console.print(f"\n{_paragraphs(text)}")
    if paper := _source(entry):
        console.print(Text.assemble(("\nsource", "bold"), f" {terminal.words(paper)}"))
    if said.fields:
        _print_fields(said.fields, console)
    if isinstance(fact, str):
        console.print(f"\nIt cannot be made: {terminal.words(fact)}", style="red", soft_wrap=True)
    elif fact is not None:
        _print_truth(fact, console)


def _title(entry: Entry) -> str:
    return entry.name.rpartition("/")[2] if entry.file else entry.name


def _paragraphs(text: str) -> str:
    """A text of others of any length, its lines kept."""
    return "\n".join(terminal.visible(line) for line in text.splitlines())


def _found(name: str) -> list[tuple[Entry, Facts | str | None]]:
    """The entries of a name with its fields, perhaps; for a problem the facts, or why they cannot
    be had.
    """
    shipped = registry.shipped(name)
    facts_of: dict[Group, Facts | None] = {
        entry.group: facts.shipped(name) for entry in shipped if entry.group == "problems"
    }
    if shipped and None not in facts_of.values():
        return [(entry, facts_of.get(entry.group)) for entry in shipped]
    from bench.plugins import spec

    words = spec.name_of(name)
    entry = registry.find(registry.group_of(words), words)
    registry.load(entry)
    try:
        chosen = spec.parse(entry.group, name)
        fact = facts.worked_out(chosen.build()) if entry.group == "problems" else None
    except Exception as error:  # a first draft is shown as well, with what it raises
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return [(entry, said)]
    return [(entry, fact)]


def _said(entry: Entry) -> Prose:
    """What a class says of itself: read where it is ours, imported where it is a plugin's."""
    if entry.package == "postbench":
        return prose(entry)
    import inspect

    cls = registry.load(entry)
    module, text = inspect.getdoc(inspect.getmodule(cls)), inspect.getdoc(cls)
    return Prose(module or "", text or "", tuple(_fields(cls)))


def _fields(cls: type[Any]) -> Iterator[FieldProse]:
    import dataclasses
    import typing

    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.init:
            default = REQUIRED if field.default is dataclasses.MISSING else str(field.default)
            yield FieldProse(field.name, default, _type_name(hints[field.name]))


def _type_name(hint: Any) -> str:
    plain = isinstance(hint, type) and not hasattr(hint, "__args__")
    return hint.__name__ if plain else str(hint).replace("typing.", "")


def _print_fields(fields: tuple[FieldProse, ...], console: Console) -> None:
    console.print()
    table = _table("fields")
    for field in fields:
        default = Text(f"= {terminal.words(field.default)}")
        table.add_row(field.name, default, Text(terminal.words(field.kind), "dim"))
    console.print(table)


def _print_truth(fact: Facts, console: Console) -> None:
    labels = terminal.words(", ".join(fact.coordinates))
    console.print(Text.assemble(("\ndimension", "bold"), f" {fact.dim}: {labels}"))
    if fact.transforms:
        table = _table("parameters")
        for name, words in fact.transforms.items():
            table.add_row(terminal.words(name), terminal.words(words))
        console.print(table)
    if fact.without:
        why = f" none yet. {terminal.words(fact.without)}"
        console.print(Text.assemble(("truth", "bold"), why), soft_wrap=True)  # holds a command
        return
    log_z = "unknown" if fact.log_z is None else f"{fact.log_z:.8f} nats"
    if fact.kind != EXACT and fact.log_z is not None and fact.log_z_stderr is not None:
        log_z = f"{fact.log_z:.4f} ± {fact.log_z_stderr:.4f} nats"
    console.print(Text.assemble(("truth", "bold"), f" {fact.kind}; log Z = {log_z}"))
