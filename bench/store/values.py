"""Numbers and texts on their way into the store and out of it: the one place where they are
coerced, and refused where they are none.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

LARGEST = 2**63 - 1  # integer that SQLite holds
# A float this large or larger in absolute value has a full set of digits; below it the bytes of a
# small integer are read.
LEAST = {4: 1.2e-38, 8: 1e-300}
READINGS = {2: ("<e",), 4: ("<f", "<i"), 8: ("<d", "<q")}


def number(value: Any, what: str = "value") -> float | None:
    """A number as a Python float; None stays None, and NaN becomes it.

    Takes whatever is one real number: Python's, numpy's and torch's scalars, arrays of one element
    and no axis.

    Args:
        what: it is, for the message.

    Raises:
        TypeError: if it is none: a text, bytes, an array with axes, a complex number.
        OverflowError: if it is an integer too large for a float.
    """
    if value is None:
        return None
    if isinstance(value, str | bytes | bytearray) or getattr(value, "ndim", 0) != 0:
        raise TypeError(f"{what} must be a number, got {_shown(value)}.")
    try:
        found = float(value)
    except OverflowError as error:
        raise OverflowError(f"{what} is an integer too large for a float: {error}.") from None
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be a number, got {_shown(value)}.") from error
    return None if math.isnan(found) else found


def count(value: Any, what: str) -> int:
    """A whole number that the store holds.

    Raises:
        TypeError: if it is no number, or not a whole one.
        OverflowError: if it is beyond 64 bits.
    """
    try:
        found = int(value)
        whole = not isinstance(value, str | bytes) and found == value
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise TypeError(f"{what} must be a whole number, got {_shown(value)}.")
    if abs(found) > LARGEST:
        raise OverflowError(f"{what} must lie within 64 bits, got {_shown(value)}.")
    return found


def plain(text: object) -> str:
    r"""A text that every file and terminal can take: lone surrogates are written as ``\udc80``."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def plain_json(value: Any) -> Any:
    """The same of all texts and keys inside of what JSON holds; keys that are no texts become
    such.
    """
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return value


def as_json(value: Any) -> str:
    """JSON of plain texts; what JSON does not know is written as its ``repr``."""
    return json.dumps(plain_json(value), sort_keys=True, default=lambda other: plain(repr(other)))


def from_json(text: str) -> Any:
    """What ``as_json`` wrote; of older stores too, whose texts may hold surrogates."""
    found = json.loads(text)
    return plain_json(found) if "\\ud" in text.lower() else found


def decoded(stored: Any) -> float | None:
    """A number as it was stored, by versions that kept numpy's scalars as their bytes too.

    Raises:
        TypeError: if it is none.
    """
    if not isinstance(stored, bytes):
        return number(stored, "the stored value")
    for form in READINGS.get(len(stored), ()):
        found = float(struct.unpack(form, stored)[0])
        if found == 0 or abs(found) >= LEAST.get(len(stored), 0.0) or form[1] in "iq":
            return found
    if len(stored) in READINGS:
        return None  # NaN of any width
    raise TypeError(f"the stored value is no number: {len(stored)} bytes")


def _shown(value: Any) -> str:
    text = plain(repr(value))
    return f"{text if len(text) <= 80 else f'{text[:80]}...'} ({type(value).__name__})"
