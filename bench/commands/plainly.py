"""What is set up before any command: an output that takes every letter, one Ctrl-C that counts, and
a folder for sockets.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import sys
from types import FrameType
from typing import IO

ASCII = {
    "±": "+-",
    "‖": "||",
    "–": "-",
    "—": "-",
    "×": "x",
    "★": "*",
    "○": "o",
    "●": "*",
    "·": "-",
    "…": "...",
    "≥": ">=",
    "≤": "<=",
    "−": "-",
    "²": "^2",
    "→": "->",
    "∞": "inf",
    "“": '"',
    "”": '"',
    "’": "'",
    "‘": "'",
    "✓": "v",
    "✗": "x",
}
HANDLER = "postbench-ascii"


LONGEST_FOLDER = 60  # letters of a folder in which sockets are made; their names have 107 in all


def take_any_text() -> None:
    """Let standard output and error take every letter: those that their encoding lacks are written
    in ASCII.
    """
    codecs.register_error(HANDLER, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=HANDLER)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    found = "".join(
        ASCII.get(letter) or letter.encode("ascii", "backslashreplace").decode("ascii")
        for letter in letters
    )
    return found, error.end


def drop(stream: IO[str]) -> None:
    """Send to nowhere what a stream still holds and all that follows."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def stop_once() -> None:
    """Let the first Ctrl-C stop what runs, and those after it do nothing: they would hit the
    clean-up.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)


def shorten_temporary_folder() -> None:
    """Make the sockets between processes in a folder whose name leaves room for theirs."""
    if len(os.environ.get("TMPDIR", "")) <= LONGEST_FOLDER:
        return
    import tempfile

    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.access(folder, os.W_OK | os.X_OK):
            tempfile.tempdir = folder
            return
