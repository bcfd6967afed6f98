"""The second route to the reference of a Stan program: Stan's own NUTS, which shares no line with
the first.
"""

from __future__ import annotations

import time
from typing import Any

from torch import Generator

from bench.fitting.target import CountedTarget
from bench.plugins import spec
from bench.reference.routes import Plan
from bench.reference.run import Run
from methods.base import Budget, Draws
from methods.parts.sampling.adapt import Progress
from problems.base import Problem

LIBRARY = "stanli"
ROUTE = "stan-nuts"


def for_stan(problem: Problem) -> bool:
    """Whether a problem is a Stan program, which Stan can sample itself.

    A problem of torch's that has a Stan twin is not: its reference must not depend on what is
    installed beside the suite.
    """
    return LIBRARY in getattr(problem, "libraries", ())


def stan_nuts(problem: Problem, plan: Plan, seed: int, progress: Progress) -> Run:
    """Stan's NUTS, in the program's own coordinates.

    Raises:
        ValueError: if Stan finds no starting point.
    """
    started, target = time.perf_counter(), CountedTarget(problem)
    settings: dict[str, Any] = {
        "chains": plan.nuts_chains,
        "warmup": plan.nuts_warmup,
        "draws": plan.nuts_draws,
        "target_accept": plan.target_accept,
    }
    method = spec.make("methods", ROUTE, settings).build()
    what = f"Stan's NUTS: {plan.nuts_chains} chains of {plan.nuts_draws:,} draws"
    progress(what, 0.0)
    latest: Draws | None = None
    for found in method.run(target, Budget(), Generator().manual_seed(seed)):
        if found is not None:
            latest = found
            progress(what, found.chains.shape[1] / plan.nuts_draws)
    assert latest is not None, "a run without a budget ends with its last draw"
    chains, count = latest.chains.shape[:2]
    said = dict(latest.diagnostics)
    adapted = {
        name: said[name] for name in ("step_size", "accept_rate", "steps_per_draw", "cut_short")
    }
    return Run(
        ROUTE,
        latest.chains,
        chains * count,
        int(said["divergences"]),
        said["e_fmi"],
        {**settings, **adapted, "max_tree_depth": method.max_tree_depth},
        target.gradients,
        time.perf_counter() - started,
    )
