"""Writes a small plugin that works and passes its checks: a start is easier to change than an empty
file.
"""

from __future__ import annotations

import ast
import keyword
import re
import sys
from importlib import resources
from pathlib import Path
from string import Template
from typing import Literal, get_args

from bench.commands import terminal
from bench.errors import UserError, unknown
from bench.plugins.built_in import BUILT_IN, Group
from bench.plugins.sources import RESERVED

Kind = Literal["method", "problem", "metric", "learner", "model"]
GROUP: dict[Kind, Group] = {
    "method": "methods",
    "problem": "problems",
    "metric": "metrics",
    "learner": "learners",
    "model": "models",
}
LONGEST = 30


def new(kind: Kind, name: str, folder: Path) -> Path:
    """Write ``my_name.py`` with the class ``MyName`` for the name ``my-name``; its docstring says
    how to run it.

    Args:
        kind: of plugin.
        name: letters, digits and hyphens.
        folder: made where it does not exist.

    Returns:
        The file.

    Raises:
        UserError: an unknown kind; a name that is not sensible or taken; a file that exists or
            cannot be written.
    """
    if kind not in get_args(Kind):
        raise unknown("kind of plugin", kind, get_args(Kind), "")
    text = _text(kind, name)
    path = folder / f"{_module(name)}.py"
    if path.exists():
        raise UserError(f"{path} exists and is left as it is; choose another name or folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open(
            "x", encoding="utf-8"
        ) as file:  # never over a file that came to be in between
            file.write(text)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


def _text(kind: Kind, name: str) -> str:
    _must_be_sensible(kind, name)
    template = Template(
        (resources.files("bench") / "templates" / f"{kind}.py.tmpl").read_text(encoding="utf-8")
    )
    words = re.split("[-_]", name)
    cls = "".join(word[:1].upper() + word[1:] for word in words)
    values = {
        "name": name,
        "module": _module(name),
        "file": f"{_module(name)}.py",
        "title": " ".join(words).capitalize(),
    }
    if cls in _names(template.substitute(values, cls="OfTheUser")):
        raise UserError(
            f"{name!r} would make a class {cls}, a name that the file needs for something else;"
            " choose another."
        )
    return template.substitute(values, cls=cls)


def _module(name: str) -> str:
    return name.lower().replace("-", "_")


def _must_be_sensible(kind: Kind, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", name) or len(name) > LONGEST:
        raise UserError(
            f"{name!r} is no name for a {kind}: expected a letter first, then letters and digits,"
            f" words joined by single hyphens, {LONGEST} characters at most; for example my-{kind}."
        )
    if name in BUILT_IN[GROUP[kind]]:
        raise UserError(
            f"The suite has a {kind} named {name!r}; choose another name, or two could not stand in"
            " one table."
        )
    module = _module(name)
    if keyword.iskeyword(module) or module in RESERVED or module in sys.stdlib_module_names:
        raise UserError(
            f"{name!r} would make a file {module}.py, which stands in the way of Python's"
            f" {module!r}; choose another."
        )


def _names(source: str) -> set[str]:
    """Everything that the file defines or uses by a plain name."""
    nodes = list(ast.walk(ast.parse(source)))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    imported = {
        alias.name
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return used | imported | {node.name for node in nodes if isinstance(node, ast.ClassDef)}


def write_plugin(kind: str, name: str, folder: Path) -> None:
    """Write a plugin to start from, and say what to do with it."""
    from bench.commands.new import GROUP, new

    if kind not in GROUP:
        raise UserError(
            f"There is no kind of plugin named {kind!r}; expected one of {', '.join(GROUP)}."
        )
    path = new(kind, name, folder)
    terminal.console().print(
        f"{path} is written; its first lines say how to check it and run it.",
        soft_wrap=True,
        highlight=False,
    )
