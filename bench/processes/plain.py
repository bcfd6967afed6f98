"""What strangers' code hands back, made plain: text that UTF-8 can hold, and floats.

Everything that crosses from a cell to the runner passes through here, in the cell; what cannot be
made plain is refused there, with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

LONGEST = 2000  # letters of a text that is kept whole
NAME = 200  # letters of a name
LARGEST = 2**63 - 1  # integer that SQLite holds


class NotPlainError(Exception):
    """A value that cannot be made plain; the message says what it is."""


def text(value: object, longest: int = LONGEST) -> str:
    """As text of UTF-8: lone surrogates are written as escapes, the end of a long one is left out.

    An object whose ``str`` raises is named by its type.
    """
    try:
        said = value if type(value) is str else str(value)
    except Exception:
        said = f"<{type(value).__name__} that cannot be shown>"
    said = said.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(said) <= longest:
        return said
    ending = f"... ({len(said):,} letters in all)"
    return said[: longest - len(ending)] + ending


def worded(error: BaseException) -> str:
    """An exception in one line: its type and its text."""
    return text(f"{type(error).__name__}: {text(error, LONGEST - NAME)}")


def number(value: Any) -> float:
    """A float from a float, an integer, or a scalar of numpy or torch.

    Raises:
        NotPlainError: if it is anything else, or an integer that no float can hold.
    """
    try:
        found = value.item() if hasattr(value, "item") and not isinstance(value, float) else value
        if isinstance(found, int | float) and not isinstance(found, bool):
            return float(found)
    except (OverflowError, ValueError, TypeError, RuntimeError):
        pass
    raise NotPlainError(f"{text(repr_of(value), 100)} is not a number")


def repr_of(value: object) -> str:
    """How Python shows it, with its type; the type alone where that raises."""
    try:
        return f"{value!r} ({type(value).__name__})"
    except Exception:
        return f"an object of type {type(value).__name__}"


def count(value: Any) -> int:
    """A whole number that the store can hold.

    Raises:
        NotPlainError: if it is not.
    """
    found = number(value)
    if math.isfinite(found) and found == int(found) and abs(int(found)) <= LARGEST:
        return int(found)
    raise NotPlainError(f"{text(repr_of(value), 100)} is not a whole number below 2^63")


def figures(values: Any) -> tuple[dict[str, float], list[str]]:
    """Figures by name, and what was left out: no numbers, and names that stand twice."""
    found: dict[str, float] = {}
    left_out: list[str] = []
    if not isinstance(values, Mapping):
        return {}, [f"{text(repr_of(values), 100)} is not a mapping"]
    for key, value in values.items():
        name = text(key, NAME)
        try:
            if name in found:
                raise NotPlainError(f"the name {name!r} stands twice")
            found[name] = number(value)
        except NotPlainError as error:
            left_out.append(f"{name}: {error}" if name not in found else str(error))
    return found, left_out
