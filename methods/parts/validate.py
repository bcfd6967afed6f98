"""Checks of a method's fields: errors that name the field, its value and its default."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def require(method: Any, field: str, fits: bool, rule: str) -> None:
    """Raise ValueError unless the field fits.

    Args:
        method: instance of a dataclass, half built.
        field: name of the field.
        fits: whether its value is a good one.
        rule: what must hold, to be read after "must".
    """
    if not fits:
        default = next(known.default for known in fields(method) if known.name == field)
        kind = type(method).__name__
        raise ValueError(
            f"{kind}({field}=...) must {rule}, got {getattr(method, field)!r}; the default is"
            f" {default!r}."
        )
