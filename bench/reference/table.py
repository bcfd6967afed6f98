"""The stored references, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from problems.stored import UncertifiedError, files, read


@dataclass(frozen=True)
class Line:
    """One stored reference.

    Args:
        name: of its files.
        dim, draws: D, and how many draws.
        log_z, log_z_stderr: nats.
        r_hat, ess_bulk, ess_tail, divergent, e_fmi, agreement: the figures of the checks, the last in standard errors.
        sampler, date: how and when it was made.
        kibibytes: of both files.
    """

    name: str
    dim: int
    draws: int
    log_z: float
    log_z_stderr: float
    r_hat: float
    ess_bulk: float
    ess_tail: float
    divergent: float
    e_fmi: float
    agreement: float
    sampler: str
    date: str
    kibibytes: float


def table(folder: Path) -> list[Line]:
    """A line for each reference in the folder that can be read, by name; ``verify`` tells of the others."""
    lines = []
    for path in sorted(folder.glob("*.json")):
        npz, certificate = files(path.stem, folder)
        try:
            said = read(npz, certificate).certificate
        except UncertifiedError:
            continue
        lines.append(_line(path.stem, said, (npz.stat().st_size + certificate.stat().st_size) / 1024))
    return lines


def _line(name: str, said: Any, kibibytes: float) -> Line:
    route = said["sampler"]["route"]
    figures = {check["name"]: check["figure"] for check in said["checks"]}
    return Line(
        name,
        said["draws"]["dim"],
        said["draws"]["count"],
        said["log_z"]["value"],
        said["log_z"]["stderr"],
        figures[f"{route}: split R-hat"],
        figures[f"{route}: bulk ESS"],
        figures[f"{route}: tail ESS"],
        figures[f"{route}: share of divergent transitions"],
        figures[f"{route}: E-FMI"],
        figures["agreement of the routes"],
        route,
        said["made"]["date"],
        kibibytes,
    )
