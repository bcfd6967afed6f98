"""The stored references, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.reference.limits import (
    BULK_ESS,
    ENERGY,
    ROUTES_AGREE,
    SHARE_DIVERGENT,
    SPLIT_R_HAT,
    TAIL_ESS,
    of_route,
)
from problems.parts.stored import UncertifiedError, draws_fault, files, read, seal_fault


@dataclass(frozen=True)
class Line:
    """One stored reference as the table shows it.

    Args:
        name: of its files.
        dim, draws: D, and how many draws.
        log_z, log_z_stderr: nats.
        r_hat, ess_bulk, ess_tail, divergent, e_fmi, agreement: the figures of the checks, the last
            in standard errors.
        sampler, date: how and when it was made.
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


def table(folder: Path) -> tuple[list[Line], list[str]]:
    """A line for each reference in the folder, by name, and the names of those that were harmed;
    ``verify`` tells how.
    """
    lines, harmed = [], []
    for stem in stems(folder):
        try:
            stored = read(*files(stem, folder))
        except UncertifiedError:
            harmed.append(stem)
            continue
        if seal_fault(stored) or draws_fault(stored):
            harmed.append(stem)
        else:
            lines.append(_line(stem, stored.certificate))
    return lines, harmed


def stems(folder: Path) -> list[str]:
    """The names of the references of which a folder has one file or both, in order; none where
    there is no folder.
    """
    return sorted({path.stem for path in folder.glob("[!.]*") if path.suffix in (".npz", ".json")})


def _line(name: str, said: Any) -> Line:
    figures = {check["name"]: check["figure"] for check in said["checks"]}
    route = said["sampler"]["route"]
    return Line(
        name=name,
        dim=said["draws"]["dim"],
        draws=said["draws"]["count"],
        log_z=said["log_z"]["value"],
        log_z_stderr=said["log_z"]["stderr"],
        r_hat=figures[of_route(route, SPLIT_R_HAT)],
        ess_bulk=figures[of_route(route, BULK_ESS)],
        ess_tail=figures[of_route(route, TAIL_ESS)],
        divergent=figures[of_route(route, SHARE_DIVERGENT)],
        e_fmi=figures[of_route(route, ENERGY)],
        agreement=figures[ROUTES_AGREE],
        sampler=route,
        date=said["made"]["date"],
    )
