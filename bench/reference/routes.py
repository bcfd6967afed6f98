"""The two routes to one posterior: Pyro's NUTS, and Hamiltonian chains by the hundred that share no
code with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from bench.fitting.target import CountedTarget
from bench.plugins import spec
from bench.reference.framed import Framed
from bench.reference.run import Run
from methods.base import Budget, Draws
from methods.parts.sampling.adapt import Adapted, Progress, adapt
from methods.parts.sampling.hmc import DIVERGENT, JITTER, Frame
from problems.base import Problem

LOOKS = 8  # at the second route, evenly spaced: it ends at the first that finds it good
WIDE = 4.0  # its starts are uniform on (-WIDE, WIDE) in the frame


@dataclass(frozen=True)
class Plan:
    """How long the two routes to a reference run, and how many draws are kept.

    Args:
        chains: of the batched route.
        records: draws kept per chain of it.
        target_accept: of both routes; higher than for a quick look, so that steep places are not
            stepped over, and higher still where that is not enough (``careful.py``).
        steps: leapfrog steps and jumps of all batched chains at once, warm-up excluded; no attempt
            begins that would go beyond.
        nuts_chains, nuts_warmup, nuts_draws: of Pyro's NUTS.
        stored: nearly independent draws that are stored.

    Raises:
        ValueError: if ``stored`` is no multiple of ``chains``, or is more than half of the records.
    """

    chains: int = 100
    records: int = 1000
    target_accept: float = 0.95
    steps: int = 1_000_000
    nuts_chains: int = 4
    nuts_warmup: int = 400
    nuts_draws: int = 4000
    stored: int = 10_000

    def __post_init__(self) -> None:
        if self.stored % self.chains or 2 * self.stored > self.chains * self.records:
            most = self.chains * self.records // 2
            raise ValueError(
                f"Plan(stored={self.stored}) must be a multiple of chains = {self.chains}, and at"
                f" most {most}."
            )


def batched(
    problem: Problem, plan: Plan, seed: int, good: Callable[[Run], bool], progress: Progress
) -> Run:
    """Batched HMC, run again for twice as long until it is good.

    Each attempt is the burn-in of the next, so nothing of a start is left in the one that counts.

    Args:
        good: whether a run will do.

    Raises:
        ValueError: if the density is finite at too few points to start from.
    """
    started, target, generator = (
        time.perf_counter(),
        CountedTarget(problem),
        Generator().manual_seed(seed),
    )
    ready = adapt(target, plan.chains, plan.target_accept, generator, progress, wide=True)
    every, spent = 1, 0
    while True:
        run = _attempt(ready, plan, every, target, started, progress)
        spent += plan.records * every * ready.cost
        every *= 2
        if good(run) or spent + plan.records * every * ready.cost > plan.steps:
            return run


def _attempt(
    ready: Adapted,
    plan: Plan,
    every: int,
    target: CountedTarget,
    started: float,
    progress: Progress,
) -> Run:
    kept = torch.empty(plan.chains, plan.records, target.dim, dtype=torch.float64)
    energies, divergences, accept = Energies(), 0, 0.0
    for record in range(plan.records):
        for _ in range(every):
            moved = ready.advance()
            energies.add(moved.energy)
            divergences += int(moved.divergent.sum())
            accept += float(moved.accept.mean())
        kept[:, record] = ready.walkers.z
        if record % 20 == 0:
            progress(
                f"batched HMC: {plan.chains} chains of {plan.records * every:,} trajectories",
                record / plan.records,
            )
    settings = {
        "chains": plan.chains,
        "warmup": ready.warmup,
        "burn_in": plan.records * (every - 1),
        "records": plan.records,
        "trajectories_per_record": every,
        "target_accept": plan.target_accept,
        "step_size": ready.step,
        "step_jitter": JITTER,
        "mean_steps": ready.length,
        "jumps_accepted": ready.jumped if ready.proposal else 0.0,
        "divergent_above": DIVERGENT,
        "accept_rate": accept / (plan.records * every),
    }
    seconds = time.perf_counter() - started
    transitions = plan.chains * plan.records * every
    return Run(
        "batched-hmc",
        kept,
        transitions,
        divergences,
        energies.e_fmi,
        settings,
        target.gradients,
        seconds,
    )


class Energies:
    """E-FMI of every chain from running sums: the energies themselves would fill the memory."""

    def __init__(self) -> None:
        self._first: Tensor | None = None

    def add(self, energy: Tensor) -> None:
        """Of the next trajectory of every chain, [C]."""
        if self._first is None:
            self._first = self._last = energy
            self._count, self._sum, self._squares, self._jumps = (
                0,
                *torch.zeros(3, len(energy), dtype=torch.float64),
            )
        above = energy - self._first
        self._count += 1
        self._sum = self._sum + above
        self._squares = self._squares + above.square()
        self._jumps = self._jumps + (energy - self._last).square()
        self._last = energy

    @property
    def e_fmi(self) -> float:
        """E-FMI, the energy fraction of missing information: the least over the chains."""
        return float((self._jumps / (self._squares - self._sum.square() / self._count)).min())


def nuts(
    problem: Problem,
    plan: Plan,
    seed: int,
    progress: Progress,
    frame: Frame | None = None,
    good: Callable[[Run], bool] = lambda run: False,
) -> Run:
    """Pyro's NUTS, driven draw by draw, until its run is good.

    In a frame in which the posterior is round its trajectories take a few steps; in raw coordinates
    on scales far apart, or tied to each other, they take hundreds, and the warm-up hours. The frame
    decides nothing but the coordinates: each chain starts wide of what it shows.

    Args:
        frame: of the coordinates to walk in; None for those of the problem.
        good: whether a run of an eighth of the draws, or of two or more eighths, will do.

    Raises:
        ValueError: if no starting point has a finite density.
    """
    settings: dict[str, Any] = {
        "chains": plan.nuts_chains,
        "warmup": plan.nuts_warmup,
        "draws": plan.nuts_draws,
        "target_accept": plan.target_accept,
        **({"radius": WIDE} if frame else {}),
    }
    started, target = time.perf_counter(), CountedTarget(problem)
    unit = torch.eye(problem.dim, dtype=torch.float64)
    framed = Framed(target, frame or Frame(torch.zeros(problem.dim, dtype=torch.float64), unit))
    method = spec.make("methods", "pyro-nuts", settings).build()
    settings["max_tree_depth"] = method.max_tree_depth
    steps: Iterator[Draws] = method.run(framed, Budget(), Generator().manual_seed(seed))
    total = plan.nuts_warmup + plan.nuts_draws
    looks = [plan.nuts_warmup + share * plan.nuts_draws // LOOKS for share in range(1, LOOKS)]
    for done, draws in enumerate(steps, start=1):
        if done % 20 == 1:
            progress(f"Pyro NUTS: {plan.nuts_chains} chains of {total:,} draws", done / total)
        early = done in looks and done >= 2 * plan.nuts_warmup
        if done == total or early:
            run = _nuts_run(framed, draws, settings, started)
            if done == total or good(run):
                return run
    raise RuntimeError("Pyro NUTS ended before its last draw.")


def _nuts_run(framed: Framed, draws: Draws, settings: Mapping[str, Any], started: float) -> Run:
    """The run so far, its chains in the coordinates of the problem."""
    found = dict(draws.diagnostics)
    chains, count = draws.chains.shape[:2]
    adapted = {
        name: found[name] for name in ("step_size", "accept_rate", "steps_per_draw", "cut_short")
    }
    seconds = time.perf_counter() - started
    divergences = int(found["divergences"])
    return Run(
        "pyro-nuts",
        framed.restore(draws.chains),
        chains * count,
        divergences,
        found["e_fmi"],
        {**settings, "draws": count, **adapted},
        framed.target.gradients,
        seconds,
    )
