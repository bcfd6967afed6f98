"""What a route hands over: its draws in the order they were made, and what it says of its own
health.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bench.reference.bridge import LogZ
from bench.reference.limits import Check


@dataclass(frozen=True, eq=False)
class Run:
    """What one route to a reference hands over: its draws, and how healthy its run was.

    Args:
        route: its name.
        chains: [chains, draws, D], float64.
        transitions: trajectories of all chains, all draws between the kept ones counted, warm-up
            excluded.
        divergences: how many of them.
        e_fmi: the least over the chains.
        settings: of the sampler, as given and as adapted; of the run that it was made in place of,
            where there was one.
        gradients: of the density, by the row, warm-up and such a run included.
        seconds: by the clock, likewise.
    """

    route: str
    chains: Tensor
    transitions: int
    divergences: int
    e_fmi: float
    settings: Mapping[str, Any]
    gradients: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Made:
    """A reference that passed every check, before it is written to disk.

    Args:
        stored, other: the two runs.
        draws: [chains, kept, D] of the first.
        checks: all of them, met.
        log_z: by bridge sampling.
        exact_log_z: the exact one, or None.
    """

    stored: Run
    other: Run
    draws: Tensor
    checks: tuple[Check, ...]
    log_z: LogZ
    exact_log_z: float | None
