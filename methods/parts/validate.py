"""Checks of a method's fields: errors that name the field, its value and its default."""

from __future__ import annotations

import math
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


def trained(method: Any) -> None:
    """Check the fields of a method that descends on the weights of a network: ``hidden``,
    ``iterations``, ``every``, ``lr``, ``clip``, ``scale``, ``final_lr``, ``anneal``, ``average``.

    Raises:
        ValueError: if one lies outside its range.
    """
    widths = len(method.hidden) > 0 and min(method.hidden) >= 1
    require(method, "hidden", widths, "be one width or more, each at least 1")
    for field in ("iterations", "every"):
        require(method, field, getattr(method, field) >= 1, "be at least 1")
    for field in ("lr", "clip", "scale"):
        require(method, field, 0 < getattr(method, field) < math.inf, "be positive and finite")
    for field in ("final_lr", "anneal"):
        require(method, field, 0 <= getattr(method, field) <= 1, "lie in [0, 1]")
    require(method, "average", 0 <= method.average < 1, "lie in [0, 1)")
