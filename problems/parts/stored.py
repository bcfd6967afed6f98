r"""References on disk: long, certified simulations of posteriors that no mathematics gives, and how
to tell they are intact.

A reference is two files. ``NAME.npz`` holds the draws as float32 multiples of a scale around a
centre, so that no digits are lost far from zero: :math:`z = loc + scale \cdot unit`. ``NAME.json``
is the certificate: how they were made, every check with figure and limit, hashes of the draws and
of the density, and a seal over it all. ``postbench reference build`` makes them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import os
import re
import shlex
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from problems.base import CONTENT, Problem, Reference
from problems.parts.certified import missing

SHIPPED = Path(__file__).parents[1] / "references"
OWN = Path("references")  # where a user's own are kept, beside the results
VARIABLE = "POSTBENCH_REFERENCES"  # environment variable with another place for them
FORMAT = 1  # of the certificates that this version writes and reads
DIGITS = 10  # of the log density that the certificate keeps
TOLERANCE = 1e-9  # relative: the last digits differ between machines
# points of the density's hash: stored draws, and draws moved three times as far out
NEAR, FAR = (16, 8)
LONGEST = 80  # letters of a file's name
# what to do about one that was harmed
RESTORE = "put both files back as they were, or make the reference again: `{}`"
# and about one of another density
UNDO = "undo the change of the problem, or make a reference of it as it is now: `{}`"
# what broken archives raise
BROKEN = (ValueError, KeyError, OSError, EOFError, RuntimeError, BadZipFile, zlib.error)


class UncertifiedError(Exception):
    """There is no reference that may be used; the message says why, and that of ``reference`` what
    makes one.
    """


class MissingReferenceError(UncertifiedError):
    """There is no reference yet, and nothing is wrong with that."""


@dataclass(frozen=True, eq=False)
class Stored:
    """What the two files of a stored reference hold: draws and certificate.

    Args:
        loc, scale: [D].
        unit: [n, D], float32.
        certificate: as JSON gives it.
    """

    loc: NDArray[np.float64]
    scale: NDArray[np.float64]
    unit: NDArray[np.float32]
    certificate: Mapping[str, Any]

    @property
    def draws(self) -> Tensor:
        """The stored draws in the coordinates of the problem, [n, D], float64."""
        return torch.from_numpy(self.loc + self.scale * self.unit.astype(np.float64))


def reference(problem: Problem) -> Reference:
    """The certified reference of a problem: what its ``truth`` returns where there is no exact one.

    Raises:
        UncertifiedError: if there is none, if it was tampered with, or if the density is no longer
            the one it was made for.
    """
    stem, command = stem_of(problem), build_command(problem)
    home = next(
        (folder for folder in folders() if any(path.is_file() for path in files(stem, folder))),
        None,
    )
    if home is None:
        places = ", ".join(str(folder) for folder in folders())
        raise MissingReferenceError(
            f"There is no certified reference for {stem!r} (looked in {places}); `{command}` makes"
            " one."
        )
    found, stamp = (
        files(stem, home),
        tuple(path.stat().st_mtime_ns for path in files(stem, home) if path.is_file()),
    )
    try:
        truth = _reference(*found, stamp)
    except UncertifiedError as error:
        raise UncertifiedError(
            f"The reference {stem!r} cannot be used: {error}; {RESTORE.format(command)}."
        ) from None
    fault = density_fault(problem, truth.draws, truth.certificate)
    if fault:
        raise UncertifiedError(
            f"The reference {stem!r} in {home} is of another density: {fault};"
            f" {UNDO.format(command)}."
        )
    return truth


@functools.lru_cache(maxsize=16)
def _reference(npz: Path, certificate: Path, stamp: tuple[int, ...]) -> Reference:
    """Keyed by the times of the files' last change, too, so that one built anew is read anew."""
    stored = read(npz, certificate)
    for fault in (seal_fault(stored), draws_fault(stored)):
        if fault:
            raise UncertifiedError(f"{fault} ({npz.parent})")
    log_z = stored.certificate["log_z"]
    return Reference(stored.draws, log_z["value"], log_z["stderr"], stored.certificate)


def read(npz: Path, certificate: Path) -> Stored:
    """Both files, hashes not yet checked.

    Raises:
        UncertifiedError: if one is missing or is not what its name says.
    """
    for path in (npz, certificate):
        if not path.is_file():
            raise UncertifiedError(f"{path.name} is missing from {path.parent}")
    try:
        content = json.loads(certificate.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no table of names and values")
    except (ValueError, OSError) as error:
        raise UncertifiedError(
            f"{certificate.name} in {certificate.parent} cannot be read: {error}"
        ) from None
    try:
        with npz.open("rb") as file, np.load(file, allow_pickle=False) as data:
            return Stored(
                data["loc"].astype(float),
                data["scale"].astype(float),
                data["unit"].astype(np.float32),
                content,
            )
    except BROKEN as error:
        raise UncertifiedError(f"{npz.name} in {npz.parent} cannot be read: {error}") from None


def folders() -> list[Path]:
    """Where references are looked for, in order: the user's own, then those that ship."""
    return [Path(os.environ.get(VARIABLE) or OWN), SHIPPED]


def files(stem: str, folder: Path) -> tuple[Path, Path]:
    """Where draws and certificate of that name are, or would be."""
    return folder / f"{stem}.npz", folder / f"{stem}.json"


def stem_of(problem: Problem) -> str:
    """The name of the files: the problem's name, and the settings that differ from the defaults.

    What a function made is named as the function named it, for that is where its own ``truth``
    looks.
    """
    problem = inner if isinstance(inner := getattr(problem, "inner", None), Problem) else problem
    parts = [
        problem.name,
        *_contents(problem),
        *(f"{name}={json.dumps(value)}" for name, value in settings_of(problem).items()),
    ]
    stem = re.sub(r"[^0-9A-Za-z.=_-]+", "-", "-".join(parts))
    return (
        stem
        if len(stem) <= LONGEST
        else f"{stem[: LONGEST - 13]}-{hashlib.sha256(stem.encode()).hexdigest()[:12]}"
    )


def build_command(problem: Problem) -> str:
    """The command that makes the reference of a problem, as a shell takes it.

    A problem whose name is a field is one of many that functions make: it is named by the function
    where that is known (``made_by``), else the function is left open.
    """
    problem = getattr(problem, "made_by", problem)
    if typed := getattr(problem, "typed", ""):
        return f"postbench reference build {shlex.quote(typed)}"
    if any(field.name == "name" for field in _fields(problem)):
        model = getattr(problem, "model", None)  # of a stranger's library: its file is known
        module = sys.modules.get(getattr(model, "__module__", ""))
        path = getattr(module, "__file__", None)
        place = shlex.quote(os.path.relpath(path)) if path else "FILE.py"
        return f"postbench reference build {place}:FUNCTION"
    kind = type(problem)
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    # if not, it was loaded by its path
    imported = Path(file).stem in ("", "__init__", kind.__module__.rpartition(".")[2])
    name = problem.name if imported else f"{os.path.relpath(file)}:{kind.__name__}"
    settings = ",".join(f"{field}={_typed(value)}" for field, value in settings_of(problem).items())
    return f"postbench reference build {shlex.quote(f'{name}:{settings}' if settings else name)}"


def _typed(value: Any) -> str:
    """As the command line reads it."""
    return (
        value if isinstance(value, str) and re.fullmatch(r"[\w.-]+", value) else json.dumps(value)
    )


def _contents(problem: Problem) -> list[str]:
    """The names of the files that a problem is made of, where they are other than its own name."""
    paths = (getattr(problem, field.name) for field in _fields(problem) if _by_content(field))
    return [Path(path).stem for path in paths if path and Path(path).stem != problem.name]


def settings_of(problem: Problem) -> dict[str, Any]:
    """The fields that differ from their defaults and can be written down."""
    found: dict[str, Any] = {}
    for field in _fields(problem):
        value = getattr(problem, field.name)
        kept = field.init and field.name != "name" and not _by_content(field)
        if kept and value != _default(field) and _writable(value):
            found[field.name] = json.loads(json.dumps(value))
    return found


def _fields(problem: Problem) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(problem) if dataclasses.is_dataclass(problem) else ()


def _by_content(field: dataclasses.Field[Any]) -> bool:
    """Whether a field is a path, and counts by what the file holds."""
    return bool(field.metadata.get(CONTENT))


def _default(field: dataclasses.Field[Any]) -> Any:
    return (
        field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    )


def _writable(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_writable, value))
    return value is None or isinstance(value, bool | int | float | str)


def draws_fault(stored: Stored) -> str:
    """What is wrong with the draws, by shape and hash; empty if nothing is."""
    said = stored.certificate["draws"]
    shape = [said["count"], said["dim"]]
    if (
        list(stored.unit.shape) != shape
        or stored.loc.shape != stored.scale.shape
        or list(stored.loc.shape) != shape[1:]
    ):
        return f"the draws have the shape {list(stored.unit.shape)}, by the certificate {shape}"
    if draws_hash(stored.loc, stored.scale, stored.unit) != said["sha256"]:
        return "the draws are not those that were certified: their hash differs"
    return ""


def draws_hash(
    loc: NDArray[np.float64], scale: NDArray[np.float64], unit: NDArray[np.float32]
) -> str:
    """SHA-256 of the numbers, little-endian, whatever the compression."""
    parts = (loc.astype("<f8"), scale.astype("<f8"), unit.astype("<f4"))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def seal_fault(stored: Stored) -> str:
    """What is wrong with the certificate itself; empty if nothing is."""
    if stored.certificate.get("seal") != seal(stored.certificate):
        return "the certificate was changed after it was sealed"
    if stored.certificate.get("format") != FORMAT:
        return (
            f"the certificate has the format {stored.certificate.get('format')}, and this version"
            f" reads {FORMAT}"
        )
    if lacking := missing(stored.certificate):
        return lacking
    failed = [check["name"] for check in stored.certificate["checks"] if not check["met"]]
    return f"it did not pass: {', '.join(failed)}" if failed else ""


def seal(certificate: Mapping[str, Any]) -> str:
    """SHA-256 of all the rest of the certificate."""
    rest = {name: value for name, value in certificate.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def density_values(problem: Problem, draws: Tensor) -> list[str]:
    """The log density in nats, ten digits, at the origin, at stored draws, and at draws moved three
    times as far out.
    """
    rows = draws[:: max(1, len(draws) // NEAR)][:NEAR]
    centre = draws.mean(0)
    points = torch.cat([torch.zeros_like(rows[:1]), rows, centre + 3 * (rows[:FAR] - centre)])
    with torch.no_grad():
        return [f"{value:.{DIGITS}g}" for value in problem.log_density(points).tolist()]


def density_hash(values: Sequence[str]) -> str:
    """SHA-256 of the values as the certificate shows them."""
    return hashlib.sha256("\n".join(values).encode()).hexdigest()


def density_fault(problem: Problem, draws: Tensor, certificate: Mapping[str, Any]) -> str:
    """How the density differs from the certified one at the fixed points; empty if it does not."""
    if problem.dim != draws.shape[1]:
        return f"the problem has {problem.dim} coordinates, the reference {draws.shape[1]}"
    said = [float(value) for value in certificate["density"]["values"]]
    seen = [float(value) for value in density_values(problem, draws)]
    off = [
        (a, b)
        for a, b in zip(said, seen, strict=True)
        if not math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]
    where = f"at {len(off)} of {len(said)} fixed points the log density is not what was certified"
    return f"{where}, such as {off[0][1]:.{DIGITS}g} for {off[0][0]:.{DIGITS}g}" if off else ""
