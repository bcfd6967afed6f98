"""Checks of a problem's settings: errors that name the setting, its value and its default."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any


def bad_setting(problem: Any, name: str, rule: str) -> ValueError:
    """The error for a setting that breaks a rule: what was given, what is wanted, and the default
    to go back to.

    Args:
        problem: instance of a dataclass, half built.
        name: of the field that is wrong.
        rule: what must hold, to be read after "must".
    """
    default = next(field.default for field in fields(problem) if field.name == name)
    kind = type(problem).__name__
    return ValueError(
        f"{kind}({name}=...) must {rule}, got {getattr(problem, name)!r}; the default is"
        f" {default!r}."
    )


def require_positive(problem: Any, *names: str) -> None:
    """Raise ValueError unless each named setting is a positive, finite number."""
    for name in names:
        if not 0 < getattr(problem, name) < math.inf:
            raise bad_setting(problem, name, "be positive and finite")


def require_finite(problem: Any, *names: str) -> None:
    """Raise ValueError unless each named setting is a finite number."""
    for name in names:
        if not math.isfinite(getattr(problem, name)):
            raise bad_setting(problem, name, "be finite")


def require_correlation(problem: Any, name: str) -> None:
    """Raise ValueError unless the named setting lies in (-1, 1)."""
    if not -1 < getattr(problem, name) < 1:
        raise bad_setting(problem, name, "lie in (-1, 1)")


def require_whole(problem: Any, **lowest: int) -> None:
    """Raise ValueError unless each named setting is a whole number no smaller than the value given
    for it.
    """
    for name, least in lowest.items():
        value = getattr(problem, name)
        if not isinstance(value, int) or value < least:
            raise bad_setting(problem, name, f"be a whole number, {least} or more")
