"""Draws on disk, one compressed file a cell and a problem: whole or not there, and never the reason
that figures are lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

if TYPE_CHECKING:  # a run that does nothing does not wait for numpy
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 120  # letters of a file's name, of the 255 that file systems allow
# of the spread of a coordinate: how far single precision may move a draw
TOLERANCE = 1e-4
MORE = "more_"  # before the names of arrays for pictures
# what archives raise that were cut short or hold something else
BROKEN = (
    ValueError,
    LookupError,
    OSError,
    EOFError,
    RuntimeError,
    BadZipFile,
    zlib.error,
    MemoryError,
)


class DrawsFolder:
    """The folder of the draws of one run, one file for each cell and each truth.

    Args:
        path: the folder; made by the first draws that are kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, name: str) -> Path:
        """The file of a cell's key or of ``truth-<problem label>``; a name that is long, or that
        loses letters as a file's, ends in a hash of itself.
        """
        stem = _stem(name)
        if stem == name and len(stem) <= LONGEST:
            return self.path / f"{stem}.npz"
        digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:16]
        return self.path / f"{stem[: LONGEST - 20]}-{digest}.npz"

    def found(self, name: str) -> Path | None:
        """The file, under today's name or that of older versions; None where there is none."""
        old = self.path / f"{_stem(name)[:250]}.npz"
        return next((path for path in (self.file(name), old) if path.is_file()), None)

    def save(
        self,
        name: str,
        draws: NDArray[np.float64],
        coordinates: Sequence[str],
        facts: Mapping[str, Any] | None = None,
        log_q: NDArray[np.float64] | None = None,
        named: tuple[Sequence[str], NDArray[np.float64]] | None = None,
        more: Mapping[str, NDArray[Any]] | None = None,
    ) -> str:
        """Keep draws [n, D], and facts about where they come from; the file appears whole or not at
        all.

        Args:
            name: a cell's key, or ``truth-<problem label>``.
            draws: [n, D].
            coordinates: a label for each of the D.
            facts: plain values by name.
            log_q: the approximation's own log density at the draws, nats, [n]; None where it has
                none.
            named: the model's own parameters, entry by entry: names of columns and draws, [n, K];
                None where they are the coordinates.
            more: arrays of numbers by name, for pictures.

        Returns:
            Why they could not be kept; empty where they are.
        """
        import numpy as np

        path = self.file(name)
        part = path.with_name(f".{os.getpid()}-{path.name}")
        labels = _printable(coordinates)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                arrays: dict[str, Any] = {
                    "draws": _compact(draws),
                    "coordinates": np.array(labels),
                    "facts": np.array(json.dumps(dict(facts or {}))),
                }
                if log_q is not None:
                    arrays["log_q"] = log_q
                if named is not None:
                    arrays |= {"names": np.array(_printable(named[0])), "named": _compact(named[1])}
                arrays |= {f"{MORE}{name}": array for name, array in (more or {}).items()}
                np.savez_compressed(file, **arrays)
            part.replace(path)
        except OSError as error:
            return f"The draws could not be kept in {path}: {error.strerror or error}."
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        return ""

    def load(self, name: str) -> tuple[NDArray[np.float64], list[str]] | str | None:
        """Draws [n, D] and the coordinates' labels; None where none were kept, the reason as text
        where the file cannot be used.
        """
        import numpy as np

        path = self.found(name)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                data = np.load(file, allow_pickle=False)
                draws, labels = data["draws"], [str(label) for label in data["coordinates"].flat]
        except BROKEN as error:  # of one array in place of an archive too: it has no such index
            return f"{path} cannot be read ({type(error).__name__}: {error})."
        if draws.ndim != 2 or draws.dtype.kind not in "fiu" or 0 in draws.shape:
            return (
                f"{path} holds an array of shape {list(draws.shape)} and type {draws.dtype}; draws"
                " are numbers, [n, D]."
            )
        if len(labels) != draws.shape[1]:
            return f"{path} names {len(labels)} coordinates of {draws.shape[1]}."
        return draws.astype(np.float64), labels

    def named(self, name: str) -> tuple[NDArray[np.float64], list[str]] | None:
        """Draws [n, K] of the model's own parameters, and the names of the columns; None where none
        were kept, as where they are the coordinates.
        """
        import numpy as np

        path = self.found(name)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                data = np.load(file, allow_pickle=False)
                draws, names = data["named"], [str(each) for each in data["names"].flat]
        except BROKEN:
            return None
        sound = draws.ndim == 2 and draws.dtype.kind in "fiu" and draws.shape[1] == len(names)
        return (draws.astype(np.float64), names) if sound else None

    def more(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of numbers that were kept for pictures, by name; none where there are none, or
        they cannot be read.
        """
        import numpy as np

        path = self.found(name)
        try:
            with path.open("rb") if path else contextlib.nullcontext() as file:
                data: Mapping[str, Any] = np.load(file, allow_pickle=False) if file else {}
                return {key[len(MORE) :]: data[key] for key in data if key.startswith(MORE)}
        except BROKEN:
            return {}

    def log_q(self, name: str) -> NDArray[np.float64] | None:
        """The approximation's own log density at the draws, nats, [n]; None where none was kept."""
        import numpy as np

        path = self.found(name)
        try:
            with path.open("rb") if path else contextlib.nullcontext() as file:
                found = np.load(file, allow_pickle=False)["log_q"] if file else None
        except BROKEN:
            return None
        return None if found is None or found.ndim != 1 else found.astype(np.float64)

    def facts(self, name: str) -> dict[str, Any]:
        """What was kept beside draws; nothing where nothing was, or where it cannot be read."""
        import numpy as np

        path = self.found(name)
        try:
            with path.open("rb") if path else contextlib.nullcontext() as file:
                found = json.loads(str(np.load(file, allow_pickle=False)["facts"])) if file else {}
        except BROKEN:
            return {}
        return found if isinstance(found, dict) else {}


def _stem(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z.=_-]+", "-", name)


def _printable(labels: Sequence[str]) -> list[str]:
    return [str(label).encode("utf-8", "backslashreplace").decode() for label in labels]


def _compact(draws: NDArray[np.float64]) -> NDArray[np.float32] | NDArray[np.float64]:
    """Single precision where that keeps the draws and their spread, double where it would not: far
    from zero, and beyond 3.4e38.
    """
    import numpy as np

    wide = np.asarray(draws, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = wide.astype(np.float32)
        finite = np.isfinite(wide)
        if (np.isfinite(narrow) != finite).any():
            return wide
        usable = np.where(finite, wide, 0.0)
        moved = np.abs(np.where(finite, narrow, 0.0) - usable).max(0, initial=0.0)
        quarter = len(wide) // 4
        ordered = np.sort(usable, axis=0)
        spread = ordered[-1 - quarter] - ordered[quarter] if len(wide) else moved
    return narrow if (moved <= TOLERANCE * spread).all() else wide
