"""Checks stored references again, in seconds: files, seal, hashes, density, moments, Stein identities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import registry, spec
from bench.checks.finding import Finding
from bench.errors import PluginError, UserError
from bench.reference.check import below, together
from bench.reference.stein import stein
from bench.target import CountedTarget
from problems.base import Problem
from problems.stored import (
    Stored,
    UncertifiedError,
    density_fault,
    density_hash,
    draws_fault,
    files,
    read,
    seal_fault,
    settings_of,
    stem_of,
)

Subject = tuple[Stored, Problem | None]


def verify(names: Sequence[str] | None, folder: Path) -> Iterator[Finding]:
    """Check references again; each finding's name begins with the reference's.

    Args:
        names: problems, ``NAME[:field=value,...]`` or ``FILE.py:Class``; None for every reference in the folder, and for
            every problem of the suite that has no truth without one.
        folder: where they are stored.

    Raises:
        UserError: if a name is of no problem.
    """
    if names is None:
        for stem, problem in _all(folder).items():
            yield from _verified(stem, problem, folder)
    else:
        for name in names:
            problem = spec.parse("problems", name).build()
            yield from _verified(stem_of(problem), problem, folder)


def _all(folder: Path) -> dict[str, Problem | None]:
    found: dict[str, Problem | None] = {}
    for path in sorted([*folder.glob("*.npz"), *folder.glob("*.json")]):
        found.setdefault(path.stem, None)
    for entry in registry.entries("problems")[0].values():
        problem = _default(entry)
        if problem is not None and (stem_of(problem) in found or _wants_reference(problem)):
            found[stem_of(problem)] = problem
    return dict(sorted(found.items()))


def _default(entry: registry.Entry) -> Problem | None:
    try:
        problem: Problem = registry.load(entry)()
    except (PluginError, TypeError):  # a broken plugin is reported elsewhere; one with required fields has no default
        return None
    return problem


def _wants_reference(problem: Problem) -> bool:
    try:
        _ = problem.truth
    except UncertifiedError:
        return True
    return False


def _verified(stem: str, problem: Problem | None, folder: Path) -> Iterator[Finding]:
    try:
        stored = read(*files(stem, folder))
        problem = problem or _rebuilt(stored.certificate["problem"])
    except UncertifiedError as error:
        yield Finding(f"{stem}: files", "fail", str(error))
        return
    yield Finding(f"{stem}: files", "pass", "draws and certificate are there")
    for name, why, look in CHECKS:
        try:
            fault = look((stored, problem))
        except _NoProblemError:
            source = stored.certificate["problem"]["source"]
            yield Finding(f"{stem}: {name}", "skipped", f"the problem is not registered; name it, as {source}")
            continue
        yield Finding(f"{stem}: {name}", "fail" if fault else "pass", fault or why)


def _rebuilt(said: dict[str, Any]) -> Problem | None:
    """The problem of a certificate, or None where the suite does not know it or its settings."""
    try:
        problem: Problem = spec.make("problems", said["name"], said["settings"]).build()
    except UserError:
        return None
    return problem if settings_of(problem) == said["settings"] else None


class _NoProblemError(Exception):
    """The density is out of reach."""


def _density(subject: Subject) -> str:
    stored, problem = subject
    said = stored.certificate["density"]
    if density_hash(said["values"]) != said["sha256"]:
        return "the certificate's values of the density do not have the hash it gives"
    return density_fault(_known(problem), stored.draws, stored.certificate)


def _moments(subject: Subject) -> str:
    draws, said = subject[0].draws, subject[0].certificate["moments"]
    mean, sd = (torch.tensor(said[name], dtype=torch.float64) for name in ("mean", "sd"))
    away = (draws.mean(0) - mean) / (sd / math.sqrt(len(draws)))
    unit = (draws - draws.mean(0)) / draws.std(0)
    spread = (draws.std(0) / sd).log() / ((unit.pow(4).mean(0) - 1) / (4 * len(draws))).sqrt()
    scores = torch.cat([away, spread]).abs().nan_to_num(nan=math.inf)
    j = int(scores.argmax())
    what = f"{'mean' if j < len(sd) else 'sd'} of {subject[0].certificate['problem']['coordinates'][j % len(sd)]}"
    check = below("distance from the certified moments", float(scores[j]), together(len(scores)), f"standard errors, {what}")
    return "" if check.met else str(check)


def _stein(subject: Subject) -> str:
    draws, problem = subject[0].draws, _known(subject[1])
    check = stein(draws, _gradient(problem, draws), problem.coordinates)
    return "" if check.met else str(check)


def _gradient(problem: Problem, draws: Tensor) -> Tensor:
    return CountedTarget(problem, compiled=False).value_and_grad(draws)[1]


def _known(problem: Problem | None) -> Problem:
    if problem is None:
        raise _NoProblemError
    return problem


CHECKS: tuple[tuple[str, str, Callable[[Subject], str]], ...] = (
    ("certificate", "sealed, and every check in it was met", lambda subject: seal_fault(subject[0])),
    ("draws", "shape and hash are those that were certified", lambda subject: draws_fault(subject[0])),
    ("density", "at the fixed points it is the one that was certified", _density),
    ("moments", "mean and sd of the draws are those of the run they come from", _moments),
    ("Stein identities", "the draws follow the density's own gradient", _stein),
)
