"""What a class of ours says of itself, read from its source: `list` and `show` need no torch."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import re
from dataclasses import dataclass
from pathlib import Path

from bench.plugins.built_in import Entry

SUITE = Path(__file__).parents[2]
REQUIRED = "required"


@dataclass(frozen=True)
class FieldProse:
    """A field of a dataclass, as texts.

    Args:
        name: of the field.
        default: as Python prints it, or ``required``.
        kind: its annotation.
    """

    name: str
    default: str
    kind: str


@dataclass(frozen=True)
class Prose:
    """What a class says of itself.

    Args:
        module: docstring of its file.
        text: its own docstring, or that of the nearest base that has one.
        fields: in the order of the dataclass.
    """

    module: str
    text: str
    fields: tuple[FieldProse, ...]


def prose(entry: Entry) -> Prose:
    """The prose of an entry that ships with the suite.

    Raises:
        LookupError: if its source is not where the entry leads.
    """
    module, _, name = entry.reference.partition(":")
    tree = _tree(module)
    bases = _bases(module, name)
    texts = (ast.get_docstring(node) for _, node in bases)
    fields: dict[str, FieldProse] = {}
    for home, node in reversed(bases):
        fields |= {field.name: field for field in _fields(home, node)}
    return Prose(
        inspect.cleandoc(ast.get_docstring(tree) or ""),
        next((text for text in texts if text), ""),
        tuple(fields.values()),
    )


def opening(entry: Entry, of_file: bool) -> str:
    """The first paragraph of what an entry that ships says of itself, or its file does, on one
    line; found without reading the rest of the source.
    """
    module, _, name = entry.reference.partition(":")
    lines = _source(module).splitlines(keepends=True)
    if of_file:
        first = next((i for i, line in enumerate(lines) if _imports(line)), len(lines))
        part = "".join(lines[:first])
    else:
        first = next((i for i, line in enumerate(lines) if line.startswith(f"class {name}(")), 0)
        rest = (i for i, line in enumerate(lines[first + 1 :], first + 1) if line[:1] not in " \n)")
        part = "".join(lines[first : next(rest, len(lines))])
    try:
        tree = ast.parse(part)
        text = ast.get_docstring(tree if of_file else tree.body[0])  # type: ignore[arg-type]
    except (SyntaxError, TypeError, IndexError):  # cut in the wrong place
        text = None
    if not text:
        said = prose(entry)
        text = (said.module if of_file else "") or said.text
    return " ".join(text.split("\n\n")[0].split())


def source_of(entry: Entry) -> str:
    """The paper that a class that ships names as its ``source``; empty where it names none."""
    module, _, name = entry.reference.partition(":")
    for _, node in _bases(module, name):
        for line in node.body:
            if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "source":
                return str(ast.literal_eval(line.value)) if line.value else ""
    return ""


def cited(source: str) -> str:
    """A source in short, ``Kucukelbir et al. 2017, arXiv:1603.00788``: the first author's surname,
    the year and where it is; as it stands where it cannot be told apart.

    Args:
        source: ``Authors, year, arXiv or DOI``; of several, the first, before a semicolon, counts.
    """
    found = re.match(r"(.+?),? \(?((?:17|18|19|20)\d\d)\)?,?\s*(.*)", source.split(";")[0].strip())
    if found is None:
        return source
    authors, year, place = found.groups()
    first, *others = re.split(r", and |, | and | & ", authors)
    surname = re.sub(r"^(?:\w\.[- ]?)+", "", first).strip()
    if len(others) == 1:
        surname += " & " + re.sub(r"^(?:\w\.[- ]?)+", "", others[0]).strip()
    short = f"{surname}{' et al.' if len(others) > 1 else ''} {year}"
    return f"{short}, {place}".rstrip(", .")


def _imports(line: str) -> bool:
    return line.startswith(("from ", "import "))


@functools.cache
def _source(module: str) -> str:
    path = SUITE.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise LookupError(f"There is no source of {module} in {SUITE}.")


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module))


def _bases(module: str, name: str) -> list[tuple[str, ast.ClassDef]]:
    """A class and its bases within the suite, the nearest first, each with the module it stands
    in.
    """
    home, node = _find(module, name)
    if node is None:
        return []
    found = [(home, node)]
    for base in node.bases:
        if isinstance(base, ast.Name):
            found += [each for each in _bases(home, base.id) if each not in found]
    return found


def _find(module: str, name: str) -> tuple[str, ast.ClassDef | None]:
    """Where a name of a module leads: to a class in it, or in one that it imports from."""
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name and (
                    SUITE / node.module.split(".")[0]
                ).is_dir():
                    return _find(node.module, alias.name)
    return module, None


def _fields(module: str, node: ast.ClassDef) -> list[FieldProse]:
    """The fields that a class itself declares."""
    found = []
    for line in node.body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        kind = _kind(module, line.annotation)
        if kind.startswith(("ClassVar", "typing.ClassVar")):
            continue
        default = _value(module, line.value)
        if default is not None:
            found.append(FieldProse(line.target.id, default, kind))
    if _is_dataclass(node):
        return found
    return []


def _kind(module: str, annotation: ast.expr) -> str:
    """An annotation; in place of a name for a choice of words the words."""
    text = ast.unparse(annotation)
    named = _constant(module, text) if isinstance(annotation, ast.Name) else None
    return named if named is not None and named.startswith("Literal[") else text


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(each) for each in node.decorator_list)


def _value(module: str, node: ast.expr | None) -> str | None:
    """A default as Python prints it: of a literal, or of a constant of the module; None where the
    field is no argument.
    """
    if node is None:
        return REQUIRED
    if isinstance(node, ast.Name):
        return _constant(module, node.id)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("field"):
        given = {word.arg: word.value for word in node.keywords}
        if isinstance(shown := given.get("init"), ast.Constant) and shown.value is False:
            return None
        return _value(module, given["default"]) if "default" in given else REQUIRED
    try:  # our own source: a literal, or arithmetic such as math.pi / 2
        return str(eval(ast.unparse(node), {"__builtins__": {}, "math": math}))
    except NameError:
        return ast.unparse(node)


def _constant(module: str, name: str) -> str | None:
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return _value(module, node.value)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return _value(module, node.value)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _constant(node.module, alias.name)
    return name
