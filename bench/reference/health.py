"""What a route's own chains must show before they are believed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.reference.agreement import within
from bench.reference.groups import UNMIXED, groups
from bench.reference.limits import (
    BULK_ESS,
    ENERGY,
    SHARE_DIVERGENT,
    SPLIT_R_HAT,
    TAIL_ESS,
    Check,
    above,
    below,
    of_route,
)
from bench.reference.run import Run
from problems.base import Modes

R_HAT = 1.01
ESS = 10_000
E_FMI = 0.2
DIVERGENT = 1e-3  # share of the transitions
BEFORE = "run_before"  # among a run's settings: what came of the run that it was made in place of
REMEMBERED = 0.05  # autocorrelation of successive stored draws of one chain


def mixing(run: Run, stored: Tensor) -> list[Check]:
    """Of the run whose draws are stored: split R-hat, effective draws, and the memory of the draws
    [chains, kept, D].
    """
    chains = run.chains
    memory = float(_lag_one(torch.cat([stored, stored.square()], -1)).max())
    return [
        _r_hat(run.route, chains),
        above(of_route(run.route, BULK_ESS), _ess(chains, method="bulk"), ESS),
        above(of_route(run.route, TAIL_ESS), _ess(chains, method="tail", prob=(0.05, 0.95)), ESS),
        below("stored draws: autocorrelation", memory, REMEMBERED, "of a coordinate or its square"),
    ]


def trajectories(run: Run) -> list[Check]:
    """Of every run: divergent transitions and the energies."""
    note = f"{run.divergences:,} of {run.transitions:,}"
    if before := run.settings.get(BEFORE):
        note += (
            f"; before, with larger steps, {before['divergences']:,} of {before['transitions']:,}"
        )
    energy = "the least over the chains"
    if math.isnan(run.e_fmi):
        energy = "the energy of a chain does not vary, or is not finite: it never moved"
    return [
        below(
            of_route(run.route, SHARE_DIVERGENT),
            run.divergences / run.transitions,
            DIVERGENT,
            note,
        ),
        above(of_route(run.route, ENERGY), run.e_fmi, E_FMI, energy),
    ]


def diverges(run: Run) -> bool:
    """Whether too many transitions were divergent."""
    return run.divergences >= DIVERGENT * run.transitions


def second_mixing(run: Run, modes: Modes | None, limit: float = R_HAT) -> Check:
    """Of the run that is only compared: split R-hat, within the named modes, for it may change
    modes too seldom.
    """
    return _r_hat(run.route, within(run.chains, modes), " within modes" if modes else "", limit)


def _r_hat(route: str, chains: Tensor, where: str = "", limit: float = R_HAT) -> Check:
    """Split, rank-normalised R-hat, the largest over the coordinates and their squares."""
    both = torch.cat([chains, chains.square()], -1).numpy()
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # a chain that never moves: NaN, which meets no limit
        figure = float(_arviz().rhat(both, chain_axis=0, draw_axis=1).max())
    note = "of a coordinate or its square"
    if not figure < limit:
        note += f"; {groups(chains) or UNMIXED}"
    return below(of_route(route, SPLIT_R_HAT + where), figure, limit, note)


def _ess(chains: Tensor, **kind: Any) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(_arviz().ess(chains.numpy(), chain_axis=0, draw_axis=1, **kind).min())


def _lag_one(chains: Tensor) -> Tensor:
    """Autocorrelation of successive draws of a chain, [chains, draws, D] -> [D]."""
    unit = (chains - chains.mean((0, 1))) / chains.flatten(0, 1).std(0)
    return (unit[:, 1:] * unit[:, :-1]).mean((0, 1))


def _arviz() -> Any:
    from arviz_stats.base.array import array_stats  # takes a second, and is needed here alone

    return array_stats
