"""What is read in the text of a Stan program: the files that it includes, and the supports of its
parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

INCLUDE = re.compile(r"^\s*#include\s+[<\"]?([^\s<>\"]+)[>\"]?", re.MULTILINE)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
BLOCK = re.compile(r"(transformed\s+)?\bparameters\s*\{")
TYPE = re.compile(r"\s*(?:array\s+)?([a-z_]+)\s+(.*)", re.DOTALL)


def includes(file: Path, text: str) -> dict[str, Path]:
    """The files that a program includes, and those that they include, by the words that name them.

    They are looked for beside the program.

    Raises:
        ValueError: if one is not there, or cannot be read.
    """
    found: dict[str, Path] = {}
    waiting = [text]
    while waiting:
        for name in INCLUDE.findall(COMMENT.sub(" ", waiting.pop())):
            path = file.parent / name
            if name in found:
                continue
            if not path.is_file():
                raise ValueError(f"{file} includes {name!r}; there is no file {str(path)!r}.")
            found[name] = path
            waiting.append(path.read_text(encoding="utf-8"))
    return found


def expanded(text: str, included: Mapping[str, str]) -> str:
    """A program with the texts that it includes in their places, by the words that name them."""
    while (longer := INCLUDE.sub(lambda found: included[found[1]], COMMENT.sub(" ", text))) != text:
        text = longer
    return text


def supports(text: str) -> dict[str, str]:
    """The type of each parameter by its name, such as ``simplex`` or ``real``."""
    return {name: kind for block in _blocks(COMMENT.sub(" ", text)) for name, kind in _typed(block)}


def _blocks(text: str) -> Iterator[str]:
    """What stands between the braces of blocks of parameters, transformed ones left out."""
    for start in BLOCK.finditer(text):
        if start[1]:
            continue
        depth, end = 1, start.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield text[start.end() : end - 1]


def _typed(block: str) -> Iterator[tuple[str, str]]:
    for declaration in block.split(";"):
        bare = re.sub(r"<[^;]*?>(?=\s*[\[A-Za-z])", " ", _without_indices(declaration))
        found = TYPE.fullmatch(bare)
        if found:
            for name in found[2].split(","):
                yield name.strip(), found[1]


def _without_indices(text: str) -> str:
    while (shorter := re.sub(r"\[[^\[\]]*\]", " ", text)) != text:
        text = shorter
    return text
