"""How messages cross from one process to another: a length, and JSON, which loads no code.

What comes in is made by a process that runs strangers' code, so it is taken apart as it comes,
without waiting for the rest of a message, and anything that is no message is refused.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]
LENGTH = struct.Struct(">I")
LONGEST = 2**24  # bytes of a message
CHUNK = 2**16
# exit status of a process that could not write to the one it reports to
UNHEARD = 70


class JunkError(Exception):
    """What came in is no message; the text says what it was."""


def encode(message: Message) -> bytes:
    """A message as bytes. Its text must be free of lone surrogates, which UTF-8 cannot hold."""
    body = json.dumps(message, separators=(",", ":")).encode("utf-8")
    return LENGTH.pack(len(body)) + body


class Reader:
    """Takes bytes as they come, and gives messages as they are complete."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def midway(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._held)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Every message that is complete with these bytes.

        Raises:
            JunkError: at bytes that are no message.
        """
        self._held += data
        while len(self._held) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._held)
            if not 0 < length <= LONGEST:
                raise JunkError(f"{self._held[:20]!r} is no message")
            end = LENGTH.size + length
            if len(self._held) < end:
                return
            body, self._held = self._held[LENGTH.size : end], self._held[end:]
            yield _message(body)


def _message(body: bytes) -> Message:
    try:
        message = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise JunkError(f"{body[:20]!r} is no message") from None
    if not isinstance(message, dict):
        raise JunkError(f"{body[:20]!r} is no message")
    return message


def available(descriptor: int) -> bytes | None:
    """What can be read without waiting: empty at the end, None where there is nothing yet."""
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return None
    except OSError:  # a reset by the far end, which is gone
        return b""


def write(descriptor: int, data: bytes) -> None:
    """Write all of it, in as many pieces as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
