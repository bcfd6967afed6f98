"""What there is to run: `postbench list` and `postbench show`."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.commands import terminal
from bench.errors import PluginError, unknown
from bench.plugins import registry, spec
from bench.plugins.built_in import GROUPS, Entry, Group
from bench.running.matrix import presets, read
from problems.base import Exact


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
        for name in presets():
            table.add_row(name, escape(read(name).description), "")
        console.print(table)


def _table(title: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        show_header=False,
        pad_edge=False,
    )
    table.add_column(style="cyan", no_wrap=True)
    return table


def _print_group(group: Group, console: Console) -> None:
    found, refused = registry.entries(group)
    broken = list(refused.values())
    table = _table(group)
    for name, entry in found.items():
        try:
            table.add_row(
                name,
                escape(_sentence(entry, found)),
                "" if entry.package == "postbench" else entry.package,
            )
        except PluginError as error:
            broken.append(str(error))
    console.print(table)
    for reason in broken:
        console.print(f"  {reason}", style="red", markup=False, soft_wrap=True)
    console.print()


def _sentence(entry: Entry, found: Mapping[str, Entry]) -> str:
    """The first sentence of the class; of its file, where that is one of ours and holds nothing
    else.
    """
    cls = registry.load(entry)
    home = entry.reference.rpartition(":")[0]
    alone = (
        entry.package == "postbench"
        and sum(other.reference.startswith(f"{home}:") for other in found.values()) == 1
    )
    text = inspect.getdoc(inspect.getmodule(cls) if alone else cls) or inspect.getdoc(cls) or ""
    return " ".join(text.split("\n\n")[0].split())


def print_one(name: str) -> None:
    """Prose, fields, defaults, and for a problem its dimension and truth.

    Raises:
        UserError: if there is nothing of that name.
    """
    console = terminal.console()
    if name in presets():
        console.print(presets()[name].read_text(encoding="utf-8"), markup=False, highlight=False)
        return
    chosen = spec.parse(registry.group_of(spec.name_of(name)), name)
    cls = registry.load(chosen.entry)
    console.print(
        f"[bold cyan]{escape(chosen.name)}[/]  {_origin(chosen.entry)}",
        highlight=False,
        soft_wrap=True,
    )
    for text in (inspect.getdoc(inspect.getmodule(cls)), inspect.getdoc(cls)):
        console.print(f"\n{text or ''}", markup=False, highlight=False)
    _print_fields(cls, console)
    if chosen.entry.group == "problems":
        _print_truth(chosen.build(), console)


def _origin(entry: Entry) -> str:
    return f"[dim]{entry.group[:-1]} of {escape(entry.package)}, {escape(entry.reference)}[/]"


def _print_fields(cls: type[Any], console: Console) -> None:
    hints = typing.get_type_hints(cls)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    if not fields:
        return
    table = Table(
        title="\nfields",
        title_justify="left",
        title_style="bold",
        box=None,
        show_header=False,
        pad_edge=False,
    )
    for field in fields:
        default = field.default if field.default is not dataclasses.MISSING else "required"
        table.add_row(
            f"[cyan]{field.name}[/]",
            f"= {escape(str(default))}",
            f"[dim]{escape(_type_name(hints[field.name]))}[/]",
        )
    console.print(table)


def _type_name(hint: Any) -> str:
    return (
        hint.__name__
        if isinstance(hint, type) and not typing.get_args(hint)
        else str(hint).replace("typing.", "")
    )


def _print_truth(problem: Any, console: Console) -> None:
    truth = problem.truth
    kind = "exact" if isinstance(truth, Exact) else "certified reference draws"
    log_z = "unknown" if truth.log_z is None else f"{truth.log_z:.8f} nats"
    if not isinstance(truth, Exact) and truth.log_z is not None and truth.log_z_stderr is not None:
        log_z = f"{truth.log_z:.4f} ± {truth.log_z_stderr:.4f} nats"
    console.print(
        f"\n[bold]dimension[/] {problem.dim}: {escape(', '.join(problem.coordinates))}",
        highlight=False,
    )
    console.print(f"[bold]truth[/] {kind}; log Z = {log_z}", highlight=False)
