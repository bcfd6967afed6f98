"""One run at a time in a folder: a second one is told so, and does not compute everything twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from bench.store.trouble import StoreError, full, no_room

FILE = ".lock"


class Lock:
    """Held while a run writes to its folder; the system lets go of it when the process ends,
    however it ends.

    Use as a context. Where the file system knows no locks there is none.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._file: IO[str] | None = None

    def __enter__(self) -> Lock:
        """Take the lock on the folder, so that no second run writes there.

        Raises:
            StoreError: if another process holds it, or the folder cannot be written.
        """
        try:
            self._file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            if no_room(error):
                raise full(self.path.parent) from error
            raise StoreError(
                f"{self.path.parent} cannot be written ({error.strerror or error}); choose another"
                " folder."
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder()
            self._close()
            raise StoreError(
                f"Another run is at work in {self.path.parent} ({holder}); wait until it has ended,"
                " or choose another folder by --out."
            ) from None
        except OSError:  # a file system without locks: better none than no run
            return self
        with contextlib.suppress(OSError):  # who holds it is a courtesy
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _holder(self) -> str:
        if self._file is None:
            return "unknown"
        self._file.seek(0)
        return self._file.read(200).strip() or "unknown"

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
