"""Dimension, coordinates and truth of the problems that ship, from a table: working them out needs
torch, and showing them does not.

``python -m bench.plugins.facts`` writes the table anew; a test holds it against the problems.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_suffix(".json")
EXACT, REFERENCE = "exact", "certified reference draws"
# where references of the user's own are: they come before those that ship, and change the truth
OWN = ("POSTBENCH_REFERENCES", "references")


@dataclass(frozen=True)
class Facts:
    """What `show` says of a problem.

    Args:
        dim: D.
        coordinates: their labels.
        kind: of its truth; empty where there is none.
        log_z, log_z_stderr: nats; None where unknown or exact.
        without: why there is no truth, and what makes one.
        traits: that the problem declares.
        transforms: what each parameter is, and how it gets to its coordinates, by its name.
    """

    dim: int
    coordinates: tuple[str, ...]
    kind: str = ""
    log_z: float | None = None
    log_z_stderr: float | None = None
    without: str = ""
    traits: tuple[str, ...] = ()
    transforms: Mapping[str, str] = field(default_factory=dict)


def shipped(name: str) -> Facts | None:
    """The facts of a problem of the suite, all fields at their defaults; None where they must be
    worked out.
    """
    content = _table().get(name)
    if content is None:
        return None
    tuples = {name: tuple(content[name]) for name in ("coordinates", "traits")}
    found = Facts(**{**content, **tuples})
    own = OWN[0] in os.environ or Path(OWN[1]).is_dir()
    return None if found.kind == REFERENCE and own else found


def worked_out(problem: Any) -> Facts:
    """The facts of a problem, from itself."""
    return replace(_of_truth(problem), transforms=dict(problem.transforms))


def _of_truth(problem: Any) -> Facts:
    from problems.base import Exact
    from problems.parts.stored import UncertifiedError

    dim, coordinates, traits = problem.dim, tuple(problem.coordinates), tuple(problem.traits)
    try:
        truth = problem.truth
    except UncertifiedError as error:
        return Facts(dim, coordinates, without=str(error), traits=traits)
    log_z = None if truth.log_z is None else float(truth.log_z)
    if isinstance(truth, Exact):
        return Facts(dim, coordinates, EXACT, log_z, traits=traits)
    stderr = truth.log_z_stderr
    spread = None if stderr is None else float(stderr)
    return Facts(dim, coordinates, REFERENCE, log_z, spread, traits=traits)


def _table() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write() -> None:
    from bench.plugins import spec
    from bench.plugins.built_in import BUILT_IN

    facts = {
        name: asdict(worked_out(spec.parse("problems", name).build()))
        for name in BUILT_IN["problems"]
    }
    lines = (f"{json.dumps(name)}: {json.dumps(fact)}" for name, fact in facts.items())
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
