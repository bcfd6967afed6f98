"""Smaller steps where large ones diverge: a route is run once more before its reference is
refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bench.reference.health import BEFORE, diverges
from bench.reference.routes import Plan
from bench.reference.run import Run

CAREFUL = 0.99  # target acceptance of the second run


def careful(route: Callable[[Plan], Run], plan: Plan) -> Run:
    """The run of a route; where too many of its transitions diverge, another with smaller steps in
    its place.

    Small steps follow a bend of the density that large ones leave at a tangent. Nothing of the
    first run is kept but what its settings were and how often it diverged, among the settings of
    the second, and what it cost, which is added.

    Args:
        route: one of the two, all but the plan decided.
        plan: of the first run.
    """
    first = route(plan)
    if not wants_care(first, plan):
        return first
    second = route(replace(plan, target_accept=CAREFUL))
    before = {**first.settings, "transitions": first.transitions, "divergences": first.divergences}
    gradients, seconds = first.gradients + second.gradients, first.seconds + second.seconds
    return replace(
        second, settings={**second.settings, BEFORE: before}, gradients=gradients, seconds=seconds
    )


def wants_care(run: Run, plan: Plan) -> bool:
    """Whether smaller steps than the plan's should be tried: too many transitions diverged, and
    there is room.
    """
    return plan.target_accept < CAREFUL and diverges(run)
