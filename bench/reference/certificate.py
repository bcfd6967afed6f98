"""The certificate of a reference: how it was made, what was checked, and by which hashes it is
known again.
"""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bench.metrics.draws.chains import ess_mean, ess_sd
from bench.provenance import version
from bench.reference.run import Run
from problems.base import Problem
from problems.parts.stored import FORMAT, density_hash, density_values, seal, settings_of

if TYPE_CHECKING:
    from bench.reference.run import Made

PACKAGES = ("torch", "pyro-ppl", "numpy", "arviz-stats")


def certificate(
    problem: Problem, source: str, seed: int, made: Made, draws: Tensor, draws_sha256: str
) -> dict[str, Any]:
    """Everything a reader must know to trust the draws, or to make them again; fit for JSON.

    Args:
        source: what the problem is called on the command line.
        made: the runs, and the checks they passed.
        draws: as stored, [n, D].
        draws_sha256: their hash.
    """
    values, libraries = density_values(problem, draws), getattr(problem, "libraries", ())
    content = {
        "format": FORMAT,
        "problem": {
            "name": problem.name,
            "settings": settings_of(problem),
            "source": source,
            "dim": problem.dim,
            "coordinates": list(problem.coordinates),
        },
        "made": {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "seed": seed,
            "versions": {
                "postbench": version(),
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in (*PACKAGES, *libraries)},
            },
        },
        "sampler": _route(made.stored),
        "second": _route(made.other),
        "checks": [asdict(check) for check in made.checks],
        "moments": _moments(made.stored.chains),
        "log_z": {**asdict(made.log_z), "method": "bridge sampling", "exact": made.exact_log_z},
        "density": {"values": values, "sha256": density_hash(values)},
        "draws": {"count": len(draws), "dim": draws.shape[1], "sha256": draws_sha256},
    }
    return content | {"seal": seal(content)}


def _route(run: Run) -> dict[str, Any]:
    return {
        "route": run.route,
        **run.settings,
        "transitions": run.transitions,
        "divergences": run.divergences,
        "gradients": run.gradients,
        "seconds": round(run.seconds, 1),
    }


def _moments(chains: Tensor) -> dict[str, list[float]]:
    """Mean and standard deviation of each coordinate over the whole run, with their Monte Carlo
    errors.
    """
    flat = chains.flatten(0, 1)
    mean, sd = flat.mean(0), flat.std(0)
    kurtosis = ((flat - mean) / sd).pow(4).mean(0)
    return {
        "mean": mean.tolist(),
        "mean_stderr": (sd / ess_mean(chains).sqrt()).tolist(),
        "sd": sd.tolist(),
        "sd_stderr": (0.5 * sd * ((kurtosis - 1) / ess_sd(chains)).sqrt()).tolist(),
    }
