"""Smaller steps where large ones diverge: tried once, only then, and told of in the certificate."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from bench.reference.build import _first
from bench.reference.careful import CAREFUL, careful
from bench.reference.health import diverges, trajectories
from bench.reference.routes import Plan, nuts
from bench.reference.run import Run
from methods.parts.sampling.adapt import silent
from problems.mixture import Mixture
from tests.helpers.reference_parts import run_of, shorten, walk

HASTY = 0.8


@dataclass(frozen=True)
class Valley(Mixture):
    """A valley that narrows to a tenth: steps that suit its wide part are too large for its end."""

    def log_density(self, z: Tensor) -> Tensor:
        width = 0.1 + 0.9 * torch.sigmoid(4 * (1.5 - z[..., 0]))
        return -0.5 * z[..., 0].square() - 0.5 * (z[..., 1] / width).square() - width.log()


def _told(run: Run) -> None:
    """That the run has small steps and passes, and that it says what came before."""
    before = run.settings["run_before"]
    assert run.settings["target_accept"] == CAREFUL
    assert before["target_accept"] == HASTY
    assert run.settings["step_size"] < before["step_size"]
    assert before["divergences"] >= 1e-3 * before["transitions"]
    divergent = trajectories(run)[0]
    assert divergent.met
    assert (
        f"before, with larger steps, {before['divergences']:,} of {before['transitions']:,}"
        in divergent.note
    )


def test_the_batched_route_takes_smaller_steps_through_a_narrow_valley(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorten(monkeypatch, 3)
    plan = Plan(chains=20, records=200, stored=2_000, target_accept=HASTY, steps=4_000)
    first = _first(Valley(), dataclasses.replace(plan, steps=0), 1, silent)
    assert diverges(first)
    run = careful(lambda plan: _first(Valley(), plan, 1, silent), plan)
    _told(run)
    assert run.settings["run_before"]["trajectories_per_record"] == 1  # no longer one was tried
    assert run.gradients > first.gradients


def test_nuts_takes_smaller_steps_through_a_narrow_valley() -> None:
    plan = Plan(nuts_chains=1, nuts_warmup=60, nuts_draws=100, target_accept=HASTY)
    _told(careful(lambda plan: nuts(Valley(), plan, 1, silent), plan))


@pytest.mark.parametrize(
    ("divergences", "accept", "runs"),
    [(0, HASTY, 1), (19, HASTY, 1), (20, HASTY, 2), (20, CAREFUL, 1), (20, 0.999, 1)],
)
def test_a_second_run_only_for_divergences_and_only_where_there_is_room(
    divergences: int, accept: float, runs: int
) -> None:
    asked: list[float] = []

    def route(plan: Plan) -> Run:
        asked.append(plan.target_accept)
        return run_of(walk(20, 1000, 0.2), divergences, e_fmi=0.1)

    run = careful(route, Plan(target_accept=accept))
    assert asked == [accept, CAREFUL][:runs]
    assert ("run_before" in run.settings) == (runs == 2)
    assert trajectories(run)[0].met == (divergences < 20)
