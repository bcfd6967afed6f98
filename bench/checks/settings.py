"""The fields of a plugin: a frozen dataclass with a name, and the same after use as before."""

from __future__ import annotations

import copy
import dataclasses
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from bench.checks.finding import expect
from bench.store import COSTS

_BY_IDENTITY: object = object.__eq__


def snapshot(subject: Any) -> dict[str, Any]:
    """A deep copy of each field; what cannot be copied stands for itself."""
    return {
        field.name: _copied(getattr(subject, field.name)) for field in dataclasses.fields(subject)
    }


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except (
        Exception
    ):  # a stranger's class may refuse, and the other fields are still worth watching
        return value


def must_be_unchanged(subject: Any, before: Mapping[str, Any]) -> None:
    """Compare the fields with a snapshot.

    Raises:
        UnmetError: if one differs.
    """
    for name, value in before.items():
        now = getattr(subject, name)
        seen = (
            f"the field {name} was {reprlib.repr(value)} before use and is {reprlib.repr(now)}"
            " after; expected no change"
        )
        expect(_equal(value, now), seen)


def _equal(a: Any, b: Any) -> bool:
    """By content, whatever it is made of."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor | np.ndarray):
        return bool(a.shape == b.shape and (a == b).all())
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, Sequence) and not isinstance(a, str):
        return len(a) == len(b) and all(map(_equal, a, b))
    if type(a).__eq__ is _BY_IDENTITY and hasattr(a, "__dict__"):
        return a is b or _equal(vars(a), vars(b))
    return bool(a == b) or bool(a != a and b != b)  # NaN is the same setting as NaN


def must_be_frozen(subject: Any) -> None:
    """A dataclass that lets no field be set.

    Raises:
        UnmetError: if it does.
    """
    cls = type(subject)
    expect(
        dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen,  # type: ignore[attr-defined]
        f"{cls.__name__} is not frozen; expected @dataclass(frozen=True)",
    )


def must_have_a_name(subject: Any) -> None:
    """A class attribute ``name`` that can be typed.

    Raises:
        UnmetError: if there is none, or it has letters that mean something on the command line.
    """
    cls = type(subject)
    name = getattr(cls, "name", None)
    expect(
        isinstance(name, str),
        f"{cls.__name__}.name is {name!r}; expected a class attribute `name: ClassVar[str] = ...`",
    )
    expect(
        bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(name))),
        f"{cls.__name__}.name is {name!r}; expected letters, digits, '-', '_' and '.', beginning"
        " with a letter or a digit",
    )
    expect(
        name not in COSTS,
        f"{cls.__name__}.name is {name!r}, which the tables give to a cost; expected another",
    )
    fields = {field.name for field in dataclasses.fields(cls)}
    expect(
        "name" not in fields,
        f"{cls.__name__}.name is a field; expected a class attribute: annotate it as ClassVar[str]",
    )
