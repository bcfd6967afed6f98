"""The third route: tempered chains, where NUTS is no witness, be it that its chains do not mix,
that they diverge, or that they never saw a mode.

It shares the leapfrog steps with the first route, and not the jumps; what it says of modes far
apart comes from its ladder of temperatures (``methods/parts/sampling/ladder.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator

from bench.fitting.target import CountedTarget
from bench.reference.limits import Check
from bench.reference.routes import Energies, Plan
from bench.reference.run import Run
from methods.parts.sampling.adapt import Progress
from methods.parts.sampling.ladder import Ladder, laddered
from problems.base import Problem

ROUTE = "tempered-hmc"
LEVELS = 8  # temperatures
RECORDS = 1_000  # draws kept per chain
DOUBLINGS = 4  # of the trajectories between two of them, until the run is good
INSTEAD_OF = "instead_of"  # among the settings: the route that was no witness, and why


def tempered(
    problem: Problem,
    plan: Plan,
    seed: int,
    good: Callable[[Run], bool],
    progress: Progress,
    faults: Sequence[Check],
) -> Run:
    """Tempered chains, run again for twice as long until they are good.

    Args:
        good: whether a run will do.
        faults: what NUTS failed; kept among the settings.

    Raises:
        ValueError: if the density is finite at too few points to start from.
    """
    started, target = time.perf_counter(), CountedTarget(problem)
    source = Generator().manual_seed(seed)
    ladder = _ready(laddered(target, plan.chains, LEVELS, plan.target_accept, source), progress)
    for doubling in range(DOUBLINGS + 1):
        run = _attempt(ladder, plan, 1 << doubling, target, started, progress, faults)
        if good(run):
            break
    return run


def _ready(steps: Any, progress: Progress) -> Ladder:
    while True:
        try:
            progress("tempered HMC: adapting", next(steps)[1])
        except StopIteration as end:
            ladder: Ladder = end.value
            return ladder


def _attempt(
    ladder: Ladder,
    plan: Plan,
    every: int,
    target: CountedTarget,
    started: float,
    progress: Progress,
    faults: Sequence[Check],
) -> Run:
    kept = torch.empty(plan.chains, RECORDS, target.dim, dtype=torch.float64)
    energies, divergences = Energies(), 0
    ladder.forget()
    for record in range(RECORDS):
        for _ in range(every):
            moved = ladder.advance()
            energies.add(moved.energy)
            divergences += int(moved.divergent.sum())
        kept[:, record] = ladder.z
        if record % 20 == 0:
            what = f"tempered HMC: {plan.chains} chains of {RECORDS * every:,} trajectories"
            progress(what, record / RECORDS)
    settings = {
        "chains": plan.chains,
        "levels": LEVELS,
        "warmup": ladder.warmup,
        "burn_in": RECORDS * (every - 1),
        "trajectories_per_record": every,
        "target_accept": plan.target_accept,
        "step_size": ladder.step,
        "mean_steps": ladder.length,
        "swaps_refused": ladder.figures["swaps_refused"],
        "log_z": ladder.evidence.log_z,
        "log_z_stderr": ladder.evidence.stderr,
        INSTEAD_OF: [str(fault) for fault in faults],
    }
    transitions, seconds = plan.chains * RECORDS * every, time.perf_counter() - started
    return Run(
        ROUTE, kept, transitions, divergences, energies.e_fmi, settings, target.gradients, seconds
    )
