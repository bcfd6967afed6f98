"""Checks stored references again, in seconds: files, seal, hashes, density, moments, Stein
identities.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from bench.checks.finding import Finding
from bench.errors import PluginError, UserError
from bench.fitting.target import CountedTarget
from bench.plugins import registry, spec
from bench.reference.bridge import log_z
from bench.reference.limits import below, together
from bench.reference.stein import stein
from bench.reference.table import stems
from problems.base import Problem
from problems.parts.stored import (
    RESTORE,
    UNDO,
    Stored,
    UncertifiedError,
    build_command,
    density_fault,
    density_hash,
    draws_fault,
    files,
    folders,
    read,
    seal_fault,
    settings_of,
    stem_of,
)

HALVES = 2  # of the draws, which bridge sampling treats as chains
LOG_Z_APART = 4.5  # standard errors between the certified log Z and the one found anew
ROUNDING = 1e-9  # nats; where both errors vanish, as for a Gaussian
BESIDE_EXACT = (
    "banana",
    "copula",
    "crescents",
    "eight-schools",
    "eight-schools-signed",
    "gp-regression",
    "linear-regression",
    "state-space",
    "student-t",
)  # shipped although the truth is known: the certificate is tested by it


def verify(names: Sequence[str] | None, folder: Path) -> Iterator[Finding]:
    """Check references again; each finding's name begins with the reference's.

    Args:
        names: problems, ``NAME[:field=value,...]`` or ``FILE.py:Class``; None for every reference
            in the folder.
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


def absent() -> Iterator[Finding]:
    """Problems of the suite whose reference is nowhere though they need one, or are shipped with
    one; each fails.
    """
    for problem in _defaults():
        stem = stem_of(problem)
        if any(path.is_file() for folder in folders() for path in files(stem, folder)):
            continue
        try:
            _ = problem.truth
        except UncertifiedError as error:
            yield Finding(f"{stem}: files", "fail", str(error))
        else:
            if stem in BESIDE_EXACT:
                yield Finding(
                    f"{stem}: files",
                    "fail",
                    f"the shipped reference is gone; {RESTORE.format(build_command(problem))}",
                )


def _all(folder: Path) -> dict[str, Problem | None]:
    found = stems(folder)
    known = {stem_of(problem): problem for problem in _defaults()} if found else {}
    return {stem: known.get(stem) for stem in found}


def _defaults() -> Iterator[Problem]:
    """Every problem of the suite and its plugins, at its defaults."""
    for entry in registry.entries("problems")[0].values():
        try:
            yield registry.load(entry)()
        except (
            PluginError,
            TypeError,
        ):  # a broken plugin is reported elsewhere; one with required fields has no default
            continue


def _verified(stem: str, problem: Problem | None, folder: Path) -> Iterator[Finding]:
    command = build_command(problem) if problem else "postbench reference build NAME"
    if stem not in stems(folder):
        yield Finding(
            f"{stem}: files",
            "fail",
            f"there is no reference of that name in {folder}; `{command}` makes one",
        )
        return
    try:
        subject = Subject(read(*files(stem, folder)), problem)
    except UncertifiedError as error:
        yield Finding(f"{stem}: files", "fail", f"{error}; {RESTORE.format(command)}")
        return
    yield Finding(f"{stem}: files", "pass", "draws and certificate are there")
    harmed = ""
    for name, why, look, remedy in CHECKS:
        try:
            if harmed:
                raise _InapplicableError(
                    f"the {harmed} cannot be relied on, so this would say nothing"
                )
            fault = look(subject)
        except _InapplicableError as error:
            yield Finding(f"{stem}: {name}", "skipped", str(error))
            continue
        yield Finding(
            f"{stem}: {name}",
            "fail" if fault else "pass",
            f"{fault}; {remedy.format(command)}" if fault else why,
        )
        if fault and name in ("certificate", "draws"):
            harmed = name
        elif name == "certificate":
            command = subject.command


class _InapplicableError(Exception):
    """There is nothing to look at; the message says why."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A stored reference under verification, with its problem where that is known.

    Args:
        stored: as read.
        named: its problem where that is known, or None: then the certificate says which.
    """

    stored: Stored
    named: Problem | None

    @property
    def problem(self) -> Problem:
        """The problem; _InapplicableError where the suite does not know it or its settings."""
        said = self.stored.certificate["problem"]
        problem = self.named or self._rebuilt(said)
        if problem is None:
            raise _InapplicableError(
                "the problem is not registered; name it, as in `postbench reference verify"
                f" {said['source']}`"
            )
        return problem

    @property
    def command(self) -> str:
        """What makes the reference anew, as the sealed certificate has it where its problem is not
        known.
        """
        try:
            return build_command(self.problem)
        except _InapplicableError:
            return (
                "postbench reference build"
                f" {shlex.quote(self.stored.certificate['problem']['source'])}"
            )

    def _rebuilt(self, said: Mapping[str, Any]) -> Problem | None:
        try:
            problem: Problem = spec.make("problems", said["name"], said["settings"]).build()
        except UserError:
            return None
        return problem if settings_of(problem) == said["settings"] else None


def _density(subject: Subject) -> str:
    said = subject.stored.certificate["density"]
    if density_hash(said["values"]) != said["sha256"]:
        return "the certificate's values of the density do not have the hash it gives"
    return density_fault(subject.problem, subject.stored.draws, subject.stored.certificate)


def _moments(subject: Subject) -> str:
    draws, certificate = subject.stored.draws, subject.stored.certificate
    mean, sd = (
        torch.tensor(certificate["moments"][name], dtype=torch.float64) for name in ("mean", "sd")
    )
    away = (draws.mean(0) - mean) / (sd / math.sqrt(len(draws)))
    unit = (draws - draws.mean(0)) / draws.std(0)
    spread = (draws.std(0) / sd).log() / ((unit.pow(4).mean(0) - 1) / (4 * len(draws))).sqrt()
    scores = torch.cat([away, spread]).abs().nan_to_num(nan=math.inf)
    j = int(scores.argmax())
    what = (
        f"{'mean' if j < len(sd) else 'sd'} of {certificate['problem']['coordinates'][j % len(sd)]}"
    )
    check = below(
        "distance from the certified moments",
        float(scores[j]),
        together(len(scores)),
        f"standard errors, {what}",
    )
    return "" if check.met else str(check)


def _stein(subject: Subject) -> str:
    draws, problem = subject.stored.draws, subject.problem
    if problem.dim != draws.shape[1]:
        raise _InapplicableError(
            f"the problem has {problem.dim} coordinates, the draws have {draws.shape[1]}"
        )
    gradient = CountedTarget(problem, compiled=False).value_and_grad(draws)[1]
    check = stein(draws, gradient, problem.coordinates)
    return "" if check.met else str(check)


def _log_z(subject: Subject) -> str:
    """Bridge sampling anew, from the stored draws: any half of them is as good as the other."""
    stored, problem = subject.stored, subject.problem
    if problem.dim != stored.draws.shape[1]:
        raise _InapplicableError("the draws are not of this problem")
    said = stored.certificate["log_z"]
    draws = stored.draws[: len(stored.draws) // HALVES * HALVES].reshape(HALVES, -1, problem.dim)
    try:
        found = log_z(draws, problem.log_density, Generator().manual_seed(0))
    except ArithmeticError as error:
        return str(error)
    away = abs(found.value - said["value"]) / math.hypot(found.stderr, said["stderr"], ROUNDING)
    note = f"standard errors; certified {said['value']:.4f}, found {found.value:.4f}"
    check = below("distance from the certified log Z", away, LOG_Z_APART, note)
    return "" if check.met else str(check)


CHECKS: tuple[tuple[str, str, Callable[[Subject], str], str], ...] = (
    (
        "certificate",
        "sealed, and every check in it was met",
        lambda subject: seal_fault(subject.stored),
        RESTORE,
    ),
    (
        "draws",
        "shape and hash are those that were certified",
        lambda subject: draws_fault(subject.stored),
        RESTORE,
    ),
    ("density", "at the fixed points it is the one that was certified", _density, UNDO),
    ("moments", "mean and sd of the draws are those of the run they come from", _moments, RESTORE),
    ("log Z", "bridge sampling from the stored draws finds the one certified", _log_z, RESTORE),
    ("Stein identities", "the draws follow the density's own gradient", _stein, RESTORE),
)
