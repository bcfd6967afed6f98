"""Builds a reference: two routes, every check, and nothing stored unless all of them pass."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Generator, Tensor

from bench.errors import UserError
from bench.fitting.target import CountedTarget
from bench.plugins.spec import Spec
from bench.reference.agreement import ENOUGH, Sample, compare, shares
from bench.reference.bridge import LogZ, log_z
from bench.reference.careful import careful, wants_care
from bench.reference.certificate import certificate
from bench.reference.health import R_HAT, mixing, second_mixing, trajectories
from bench.reference.limits import ROUTES_AGREE, Check, below
from bench.reference.routes import Plan, batched, nuts
from bench.reference.run import Made, Run
from bench.reference.stan_route import for_stan, stan_nuts
from bench.reference.stein import stein
from bench.reference.tempered import tempered
from bench.seeds import seed_of
from methods.parts.sampling.adapt import Progress, silent
from methods.parts.sampling.hmc import frame_of
from methods.parts.sampling.learning import DENSE
from problems.base import Exact, Problem
from problems.parts.stored import UncertifiedError, draws_hash, files, stem_of

LOG_Z_STDERR = 0.05  # nats
LOG_Z_APART = 4.0  # standard errors between the halves of the bridge, or from an exact log Z
SPARE = 2.0  # multiple of the effective draws asked for at which the second route may end early
EXACT_DRAWS = 100_000  # of an exact truth that the reference is held against


class RefusedError(UserError):
    """A reference that failed its checks.

    Args:
        name: of the problem, with its settings.
        failed: the checks it failed.
        skipped: what was not tried after that, in words; empty if all was.
    """

    def __init__(self, name: str, failed: Sequence[Check], skipped: str = "") -> None:
        self.failed = tuple(failed)
        reasons = "".join(f"\n  {check}" for check in failed)
        super().__init__(
            f"The reference for {name} is refused, and nothing was stored.{reasons}{skipped}"
        )


def build(
    spec: Spec, seed: int, folder: Path, progress: Progress = silent, plan: Plan | None = None
) -> Path:
    """Build the reference of a problem, certify it and store it.

    Args:
        spec: the problem with its settings.
        seed: what all randomness derives from.
        folder: where the two files go; made if absent, and a reference of the same name there is
            replaced.
        progress: told what is being done, and the share of it that is done, in [0, 1].
        plan: how long to run.

    Returns:
        The certificate's path; the draws lie beside it.

    Raises:
        RefusedError: if any check fails, with all that failed; nothing is stored.
        UserError: if the sampler finds no point to start from, or no bridge to log Z.
    """
    problem: Problem = spec.build()
    try:
        made = _made(problem, seed, progress, plan or Plan())
    except (ValueError, ArithmeticError) as error:
        raise UserError(f"No reference can be built for {stem_of(problem)}: {error}") from error
    progress("storing", 1.0)
    return _store(problem, spec, seed, folder, made)


def _made(problem: Problem, seed: int, progress: Progress, plan: Plan) -> Made:
    run = careful(lambda plan: _first(problem, plan, seed, progress), plan)
    draws = _kept(run, plan)
    checks = [*mixing(run, draws), *trajectories(run), _stein(problem, draws)]
    _require(problem, checks, "\n  (The second route was not run.)")
    other = _witness(problem, run, plan, seed, progress)
    progress("comparing", 0.0)
    checks += [second_mixing(other, problem.modes), *trajectories(other)]
    checks += _compared(problem, run, other)
    if problem.modes:
        checks += [
            shares(f"{r.route}: mode balance", Sample(r.chains), problem.modes)
            for r in (run, other)
        ]
    progress("bridge sampling", 0.0)
    evidence = log_z(
        run.chains, problem.log_density, Generator().manual_seed(_seed(problem, seed, "bridge"))
    )
    checks += [below("log Z: standard error", evidence.stderr, LOG_Z_STDERR, "nats")]
    checks += [below("log Z: halves apart", evidence.apart, LOG_Z_APART, "standard errors")]
    exact = _exact(problem)
    if exact:
        checks += _against(
            exact, problem, run, evidence, Generator().manual_seed(_seed(problem, seed, "exact"))
        )
    _require(problem, checks)
    return Made(run, other, draws, tuple(checks), evidence, exact.log_z if exact else None)


def _witness(problem: Problem, run: Run, plan: Plan, seed: int, progress: Progress) -> Run:
    """The chains that the first are held against: of NUTS, or tempered where NUTS is no witness."""
    frame = frame_of(run.chains.flatten(0, 1), dense=problem.dim <= DENSE)

    def enough(other: Run) -> bool:
        return _enough(problem, run, other)

    def second(plan: Plan) -> Run:
        source = _seed(problem, seed, "nuts")
        if for_stan(problem):
            return stan_nuts(problem, plan, source, progress)
        return nuts(problem, plan, source, progress, frame, enough)

    other = careful(second, plan)
    if faults := _no_witness(problem, run, other):
        source = _seed(problem, seed, "tempered")
        return tempered(problem, plan, source, enough, progress, faults)
    return other


def _first(problem: Problem, plan: Plan, seed: int, progress: Progress) -> Run:
    """Longer runs help no chain that diverges: there the first attempt is the last."""

    def good(run: Run) -> bool:
        return wants_care(run, plan) or _passed(mixing(run, _kept(run, plan)))

    return batched(problem, plan, _seed(problem, seed, "hmc"), good, progress)


def _no_witness(problem: Problem, run: Run, other: Run) -> list[Check]:
    """What makes the second route unfit to be compared with; whether it agrees is not asked."""
    own = [second_mixing(other, problem.modes), *trajectories(other)]
    weak = _compared(problem, run, other)[1:]
    return [check for check in (*own, *weak) if not check.met]


def _compared(problem: Problem, run: Run, other: Run) -> list[Check]:
    """Whether the routes agree, and by how many effective draws that is told."""
    samples = Sample(run.chains), Sample(other.chains)
    return compare(ROUTES_AGREE, *samples, problem.coordinates, problem.modes)


def _enough(problem: Problem, run: Run, other: Run) -> bool:
    """Whether the second route is long enough to be compared, with room to spare; whether the two
    agree is not asked, which would choose among runs.
    """
    if not second_mixing(other, problem.modes, R_HAT - 0.5 * (R_HAT - 1)).met:
        return False
    return all(check.figure >= SPARE * ENOUGH for check in _compared(problem, run, other)[1:])


def _kept(run: Run, plan: Plan) -> Tensor:
    """Evenly spaced records of every chain, [chains, stored / chains, D]."""
    spacing = plan.records // (plan.stored // plan.chains)
    return run.chains[:, spacing - 1 :: spacing][:, : plan.stored // plan.chains]


def _stein(problem: Problem, draws: Tensor) -> Check:
    flat = draws.flatten(0, 1)
    return stein(flat, CountedTarget(problem).value_and_grad(flat)[1], problem.coordinates)


def _exact(problem: Problem) -> Exact | None:
    try:
        truth = problem.truth
    except UncertifiedError:  # it has no truth yet: that is what is being built
        return None
    return truth if isinstance(truth, Exact) else None


def _against(
    exact: Exact, problem: Problem, run: Run, evidence: LogZ, generator: Generator
) -> list[Check]:
    truth = Sample(exact.sample(EXACT_DRAWS, generator).unsqueeze(0), independent=True)
    away = abs(evidence.value - exact.log_z) / evidence.stderr
    return [
        *compare(
            "agreement with the exact truth",
            Sample(run.chains),
            truth,
            problem.coordinates,
            problem.modes,
        ),
        below(
            "log Z: from the exact one",
            away,
            LOG_Z_APART,
            f"standard errors; exact {exact.log_z:.6f}",
        ),
    ]


def _passed(checks: Sequence[Check]) -> bool:
    return all(check.met for check in checks)


def _require(problem: Problem, checks: Sequence[Check], skipped: str = "") -> None:
    if not _passed(checks):
        raise RefusedError(stem_of(problem), [check for check in checks if not check.met], skipped)


def _seed(problem: Problem, seed: int, purpose: str) -> int:
    """A seed of its own for each purpose."""
    return seed_of(stem_of(problem), seed, purpose)


def _store(problem: Problem, spec: Spec, seed: int, folder: Path, made: Made) -> Path:
    """Write both files; each appears whole or not at all."""
    flat = made.draws.flatten(0, 1)
    loc, scale = flat.mean(0), flat.std(0)
    unit = ((flat - loc) / scale).float()
    arrays = loc.numpy(), scale.numpy(), unit.numpy()
    content = certificate(
        problem,
        getattr(problem, "typed", spec.name),
        seed,
        made,
        loc + scale * unit.double(),
        draws_hash(*arrays),
    )
    folder.mkdir(parents=True, exist_ok=True)
    npz, path = files(stem_of(problem), folder)
    part = npz.with_name(f".{os.getpid()}-{npz.name}")
    np.savez_compressed(part, loc=arrays[0], scale=arrays[1], unit=arrays[2])
    part.replace(npz)
    part = path.with_name(f".{os.getpid()}-{path.name}")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
    return path
