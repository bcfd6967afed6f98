"""Where commands print: a terminal, a file or a pipe, whatever it can take; and how they write what
others wrote.
"""

from __future__ import annotations

import os
import sys
from typing import IO, Any

from rich.console import Console

from bench.commands.plainly import drop

WIDE = 140  # columns of output that goes to a file or a log; rich assumes 80, and cuts tables there
NARROW = 80  # columns below which a table of cells does not fit
LONGEST = 600  # letters of a text of others on the terminal


def console() -> Console:
    """A console as wide as the terminal or as COLUMNS says; wide enough for every table where
    neither is known.

    It takes every text as it stands: what is styled is a ``Text``, for a name in brackets is no
    style.
    """
    file: Any = Unfailing(sys.stdout)
    options: dict[str, Any] = {"markup": False, "highlight": False, "emoji": False}
    found = Console(file=file, **options)
    known = found.is_terminal or "COLUMNS" in os.environ
    return found if known else Console(file=file, width=WIDE, **options)


class Unfailing:
    """An output whose end may be gone (``| head -1``) or full: what cannot be written is dropped,
    and the work goes on.

    Args:
        stream: to write to.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text to the stream underneath; where that is closed, drop it."""
        try:
            self._stream.write(text)
        except OSError:
            drop(self._stream)
        return len(text)

    def flush(self) -> None:
        """Flush the stream underneath; where that is closed, do nothing."""
        try:
            self._stream.flush()
        except OSError:
            drop(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def words(text: object, most: int = LONGEST) -> str:
    r"""A text of others on one line: control characters are written as ``\x1b``, and what is long
    is cut.
    """
    found = str(text)
    more = len(found) - most
    cut = found[:most] + (f"... ({more:,} letters more)" if more > 0 else "")
    return visible(" ".join(cut.split()))


def visible(text: str) -> str:
    r"""A text with its control characters written as ``\x1b``, tabs excepted."""
    return "".join(letter if letter == "\t" else _visible(letter) for letter in text)


def _visible(letter: str) -> str:
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else "?"
