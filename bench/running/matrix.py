"""A matrix expanded into cells: problems x methods x seeds."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from bench.errors import PluginError, UserError
from bench.plugins import spec
from bench.plugins.built_in import BUILT_IN, STANDARD, Group
from bench.plugins.registry import entries
from bench.plugins.spec import Spec
from bench.provenance import version
from bench.running.matrix_file import (
    Item,
    Limits,
    Matrix,
    explained,
    overridden,
    presets,
    read,
    validated,
)
from methods.base import Budget

__all__ = [
    "Cell",
    "Item",
    "Limits",
    "Matrix",
    "expand",
    "left_out",
    "metrics_of",
    "overridden",
    "presets",
    "read",
    "validated",
]
ALL = "all"  # every metric there is, named as a metric


@dataclass(frozen=True)
class Cell:
    """One problem, one method, one seed. ``key`` is made of all that decides the result, and of
    nothing else.

    ``reference`` is the seal of the stored reference that is the truth, empty where the problem's
    own truth is.
    """

    problem: Spec
    method: Spec
    metrics: tuple[Spec, ...]
    seed: int
    draws: int
    budget: Budget
    wall: float | None
    memory: float
    reference: str = ""

    @property
    def problem_settings(self) -> dict[str, Any]:
        """What tells this problem from others of its name: the fields that are not at their
        defaults, and another truth.
        """
        return {**self.problem.settings, **({"truth": "reference"} if self.reference else {})}

    @property
    def key(self) -> str:
        """Content hash, 24 hexadecimal digits."""
        parts = [self.problem.content, self.method.content, [m.content for m in self.metrics]]
        parts += [self.reference] if self.reference else []
        budget = dataclasses.asdict(self.budget)
        del budget["guard"]  # what it ends is cut-short, and no figure of a cell that it lets end
        text = json.dumps([*parts, self.seed, self.draws, budget, version()])
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def metrics_of(matrix: Matrix) -> tuple[Spec, ...]:
    """The metrics that every cell is measured by.

    Those chosen; every one there is where ``all`` is among them; ``STANDARD`` and those of
    installed plugins where none is chosen. Plugins that cannot be used are left out unless chosen.
    """
    return _metrics(matrix)[0]


def left_out(matrix: Matrix) -> tuple[str, ...]:
    """Why metrics of installed plugins are left out of a matrix that does not name them."""
    return _metrics(matrix)[1]


def _metrics(matrix: Matrix) -> tuple[tuple[Spec, ...], tuple[str, ...]]:
    named = [name for name in matrix.metrics or () if name != ALL]
    found = {name: spec.parse("metrics", name) for name in named}
    reasons: list[str] = []
    if matrix.metrics is None or ALL in matrix.metrics:
        usable, refused = entries("metrics")
        reasons += refused.values()
        for name in usable:
            if name in found or (matrix.metrics is None and not _by_default(name)):
                continue
            try:
                found[name] = spec.parse("metrics", name)
            except PluginError as error:
                reasons.append(str(error))
    return tuple(found.values()), tuple(reasons)


def _by_default(name: str) -> bool:
    return name in STANDARD or name not in BUILT_IN["metrics"]


def expand(matrix: Matrix) -> list[Cell]:
    """The cells, one seed after the other, so that a run cut short has seen everything at least
    once.

    Raises:
        UserError: an unknown name, field or value.
    """
    metrics = metrics_of(matrix)
    problems, methods = (
        list(_specs("problems", matrix.problems)),
        list(_specs("methods", matrix.methods)),
    )
    seals = {
        problem.content: _seal(problem) if matrix.truth == "reference" else ""
        for problem, _ in problems
    }
    cells = []
    for problem, method in itertools.product(problems, methods):
        seeds = next(
            (item.seeds for _, item in (method, problem) if item and item.seeds is not None),
            matrix.seeds,
        )
        limits = _limits(matrix.budget, [item.budget for _, item in (problem, method) if item])
        for seed in range(seeds) if isinstance(seeds, int) else seeds:
            cells.append(
                Cell(
                    problem[0],
                    method[0],
                    metrics,
                    seed,
                    matrix.draws,
                    *limits,
                    seals[problem[0].content],
                )
            )
    unique = {cell.key: cell for cell in cells}
    return sorted(unique.values(), key=lambda cell: cell.seed)


def _seal(problem: Spec) -> str:
    from bench.plugins.referenced import key
    from problems.parts.stored import UncertifiedError

    try:
        return key(problem.build())
    except UncertifiedError as error:
        raise UserError(f"--truth reference: {error}") from None


def _specs(group: Group, items: Sequence[str | Item]) -> Iterator[tuple[Spec, Item | None]]:
    for item in items:
        if isinstance(item, str):
            yield spec.parse(group, item), None
        else:
            yield spec.make(group, item.name, item.fields), item


def _limits(common: Limits, own: Sequence[Mapping[str, Any]]) -> tuple[Budget, float, float]:
    """Budget, wall limit and memory of a cell: what the matrix says, unless the problem or the
    method says otherwise.
    """
    try:
        limits = Limits.model_validate(
            functools.reduce(operator.or_, map(dict, own), common.model_dump())
        )
    except pydantic.ValidationError as error:
        problems = ({**dict(e), "loc": ("budget", *e["loc"])} for e in error.errors())
        raise UserError("\n".join(explained("budget", problem) for problem in problems)) from None
    wall = limits.wall or 2 * max(limits.seconds or 0.0, limits.guard) + 120
    budget = Budget(limits.seconds, limits.gradients, limits.checkpoints, limits.guard)
    return budget, wall, limits.memory
