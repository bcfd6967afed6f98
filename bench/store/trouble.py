"""What can be wrong with a run's folder, each as one sentence with its path and the way out."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from bench.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreError(UserError):
    """A folder of results that cannot be read or written; the message is one sentence."""


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have, too long or with NUL, is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def no_room(error: BaseException) -> bool:
    """Whether a disk or a quota is full."""
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return isinstance(error, sqlite3.Error) and "is full" in str(error)


def full(place: Path) -> StoreError:
    """The error where there is no room left for results."""
    return StoreError(
        f"{place}: there is no room left on the disk or in the quota. Every cell that had ended"
        " before is kept; make room, and the same command continues."
    )


@contextlib.contextmanager
def explained(file: Path) -> Iterator[None]:
    """SQLite's errors about a file of results as sentences.

    Raises:
        StoreError: in place of what SQLite raises, breaches of constraints excepted: those are
            faults of the caller.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as error:
        raise _sentence(error, file) from error


def _sentence(error: sqlite3.Error, file: Path) -> StoreError:
    words = str(error)
    if no_room(error):
        return full(file)
    if "locked" in words:
        return StoreError(
            f"{file} is held by another program ({words}); try again when it has ended."
        )
    if "readonly" in words or "unable to open" in words:
        return StoreError(
            f"{file} cannot be opened or written ({words}); see to the permissions of the folder,"
            " or copy it to a place of your own."
        )
    if "disk I/O" in words:
        return StoreError(
            f"{file}: the disk failed ({words}). What had been written before is kept as far as the"
            " disk gives it back."
        )
    return StoreError(
        f"{file} is no file of results, or it was harmed ({words}); move it away, and the same run"
        " makes a new one."
    )
