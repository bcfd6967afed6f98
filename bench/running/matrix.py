"""A matrix expanded into cells: problems x methods x seeds, and generative models x learners x
seeds.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from bench.errors import UserError
from bench.plugins import registry, spec
from bench.plugins.built_in import AMORTISED, BUILT_IN, ON_REQUEST, Group
from bench.plugins.presets import presets
from bench.plugins.spec import Spec
from bench.plugins.traits import MARK, having
from bench.provenance import version
from bench.running.chosen import ALL, chosen_metrics
from bench.running.matrix_file import (
    Item,
    Limits,
    Matrix,
    explained,
    overridden,
    read,
    validated,
)
from bench.running.settings import AT_DEFAULTS, Origin, settled
from methods.base import Budget

PROBLEMS: tuple[Group, ...] = ("problems", AMORTISED["problems"])
METHOD_OF: dict[Group, Group] = {"problems": "methods", AMORTISED["problems"]: AMORTISED["methods"]}
WORDS: dict[Group, str] = {"problems": "posteriors", AMORTISED["problems"]: "generative models"}
Chosen = tuple[Spec, Item | None]  # a problem or a method, and what its line in the matrix says

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


@dataclass(frozen=True)
class Cell:
    """One problem, one method, one seed; or one generative model, one learner, one seed. ``key`` is
    made of all that decides the result, and of nothing else.

    ``reference`` is the seal of the stored reference that is the truth, empty where the problem's
    own truth is. ``origin`` says where the method's settings come from, and is not part of the key.
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
    origin: Origin = AT_DEFAULTS

    @property
    def amortised(self) -> bool:
        """Whether a learner is to learn of a generative model."""
        return self.problem.entry.group == AMORTISED["problems"]

    @property
    def problem_settings(self) -> dict[str, Any]:
        """What tells this problem from others of its name: the fields that are not at their
        defaults, and another truth.
        """
        return {**self.problem.settings, **({"truth": "reference"} if self.reference else {})}

    @functools.cached_property
    def key(self) -> str:
        """Hash of all that decides the result of the cell: 24 hexadecimal digits."""
        parts = [self.problem.content, self.method.content, [m.content for m in self.metrics]]
        parts += [self.reference] if self.reference else []
        # not guard: what it ends is cut-short, and what it lets end does not depend on it
        budget = {f.name: getattr(self.budget, f.name) for f in dataclasses.fields(self.budget)}
        del budget["guard"]
        text = json.dumps([*parts, self.seed, self.draws, budget, version()])
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def metrics_of(matrix: Matrix) -> tuple[Spec, ...]:
    """The metrics that the cells are measured by: of posteriors and of generative models, as far as
    the matrix has either.
    """
    return tuple(found for group in _sides(matrix) for found in _metrics(matrix, group)[0])


def left_out(matrix: Matrix) -> tuple[str, ...]:
    """Why metrics of installed plugins are left out of a matrix that does not name them."""
    return tuple(why for group in _sides(matrix) for why in _metrics(matrix, group)[1])


def _metrics(matrix: Matrix, problems: Group) -> tuple[tuple[Spec, ...], tuple[str, ...]]:
    return chosen_metrics(matrix.metrics, "metrics" if problems == "problems" else "figures")


def expand(matrix: Matrix) -> list[Cell]:
    """The cells, one seed after the other, so that a run cut short has seen everything at least
    once.

    Raises:
        UserError: an unknown name, field or value; a problem that no method of the matrix is for,
            or a method that is for none of its problems.
    """
    sides = _sides(matrix)
    metrics = {group: _metrics(matrix, group)[0] for group in sides}
    problems = _told_apart(_specs(PROBLEMS, matrix.problems, sides))
    methods = settled(_told_apart(_methods(matrix, sides)), matrix.tuned)
    seals = {
        problem.content: _seal(problem) if matrix.truth == "reference" else ""
        for problem, _ in problems
    }
    cells = []
    for (problem, its), (method, own, origin) in itertools.product(problems, methods):
        if method.entry.group != METHOD_OF[problem.entry.group]:
            continue
        items = [item for item in (its, own) if item]
        seeds = next(
            (item.seeds for item in reversed(items) if item.seeds is not None), matrix.seeds
        )
        limits = _limits(matrix.budget, [item.budget for item in items])
        seal, by = seals[problem.content], metrics[problem.entry.group]
        cells += [
            Cell(problem, method, by, seed, matrix.draws, *limits, seal, origin)
            for seed in (range(seeds) if isinstance(seeds, int) else seeds)
        ]
    unique = {cell.key: cell for cell in cells}
    return sorted(unique.values(), key=lambda cell: cell.seed)


def _sides(matrix: Matrix) -> list[Group]:
    """``problems`` where the matrix has posteriors, ``models`` where it has generative models."""
    found: set[Group] = set()
    for item in matrix.problems:
        name = item.name if isinstance(item, Item) else spec.name_of(item)
        if item == ALL or (isinstance(item, str) and item.startswith(MARK)):
            found.add("problems")
        else:
            found.update(registry.find_any(PROBLEMS, name)[:1])
    return [group for group in PROBLEMS if group in found]


def _methods(matrix: Matrix, sides: Sequence[Group]) -> list[Chosen]:
    """The methods of the matrix for its posteriors, and its learners for its generative models.

    Raises:
        UserError: if one of them is for nothing that the matrix has, or there is none for
            something that it has.
    """
    wanted = [METHOD_OF[side] for side in sides]
    found = list(_specs(tuple(METHOD_OF.values()), matrix.methods, wanted))
    for side, group in METHOD_OF.items():
        if side in sides and not any(method.entry.group == group for method, _ in found):
            raise UserError(
                f"The matrix has {WORDS[side]} and no {group[:-1]} for them: add one by -m;"
                f" `postbench list {group}` shows them."
            )
    return found


def _told_apart(found: Iterable[Chosen]) -> list[Chosen]:
    """The same, with those plugins of one name called by as much of their paths as tells them
    apart.
    """
    chosen = list(found)
    files = {spec.entry.name for spec, _ in chosen if spec.entry.file}
    shown = {}
    for name in files:
        others = [other for other in files if Path(other).name == Path(name).name and other != name]
        parts, most = Path(name).parts, max((len(Path(other).parts) for other in others), default=0)
        shown[name] = next(
            (
                "/".join(parts[-length:])
                for length in range(1, max(len(parts), most) + 1)
                if all(Path(other).parts[-length:] != parts[-length:] for other in others)
            ),
            name,
        )
    return [
        (
            dataclasses.replace(spec, shown=shown[spec.entry.name])
            if shown.get(spec.entry.name, spec.name) != spec.name
            else spec,
            item,
        )
        for spec, item in chosen
    ]


def _seal(problem: Spec) -> str:
    if problem.entry.group != "problems":
        raise UserError(
            f"--truth reference: {problem.name} is a generative model, which has no stored one."
        )
    from bench.plugins.referenced import key
    from problems.parts.stored import UncertifiedError

    try:
        return key(problem.build())
    except UncertifiedError as error:
        raise UserError(f"--truth reference: {error}") from None


def _specs(
    groups: Sequence[Group], items: Sequence[str | Item], wanted: Sequence[Group]
) -> Iterator[Chosen]:
    """What the lines of a matrix stand for, in those of two groups that it has use for.

    Raises:
        UserError: if a line is of neither group, or of one that it has no use for.
    """
    for item in items:
        if isinstance(item, str) and groups == PROBLEMS and item.startswith(MARK):
            for name in having(item.removeprefix(MARK).split("+")):
                yield spec.make("problems", name, {}), None
        elif item == ALL:
            every = ("problems",) if groups == PROBLEMS else wanted
            names = [(group, name) for group in every for name in _rest(group, items)]
            yield from ((spec.parse(group, name), None) for group, name in names)
        else:
            name = item.name if isinstance(item, Item) else spec.name_of(item)
            for group in _useful(registry.find_any(groups, name), name, wanted):
                yield from _meant(group, item)


def _useful(found: Sequence[Group], name: str, wanted: Sequence[Group]) -> Sequence[Group]:
    """The groups of a name that the matrix has use for; of two of problems the first."""
    useful = [group for group in found if group in wanted]
    if not useful:
        side = next(side for side, group in METHOD_OF.items() if group in found)
        raise UserError(
            f"{name} is a {found[0][:-1]}, which is for {WORDS[side]}; the matrix has none: add one"
            f" by -p; `postbench list {side}` shows them."
        )
    return useful[:1] if useful[0] in PROBLEMS else useful


def _meant(group: Group, item: str | Item) -> Iterator[Chosen]:
    if isinstance(item, Item):
        yield spec.make(group, item.name, item.fields), item
    elif item in ON_REQUEST[group]:
        yield from ((spec.make(group, item, fields), None) for fields in _every(group, item))
    else:
        yield spec.parse(group, item), None


def _every(group: Group, name: str) -> list[dict[str, Any]]:
    """The fields of all that a name stands for which is nothing without fields."""
    found = registry.load(registry.find(group, name))
    if not hasattr(found, "every"):
        raise UserError(f"{name} needs its fields; `postbench show {name}` lists them.")
    try:
        settings: list[dict[str, Any]] = found.every()
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    if not settings:
        raise UserError(f"{name}: nothing there can be used.")
    return settings


def _rest(group: Group, items: Sequence[str | Item]) -> list[str]:
    """What the suite has of a group and the matrix does not name otherwise."""
    named = {item.name if isinstance(item, Item) else spec.name_of(item) for item in items}
    return [name for name in BUILT_IN[group] if name not in named]


def _limits(common: Limits, own: Sequence[Mapping[str, Any]]) -> tuple[Budget, float, float]:
    """Budget, wall limit and memory of a cell: what the matrix says, unless the problem or the
    method says otherwise.
    """
    try:
        said: dict[str, Any] = functools.reduce(operator.or_, map(dict, own), {})
        limits = Limits.model_validate(common.model_dump() | said) if said else common
    except pydantic.ValidationError as error:
        problems = ({**dict(e), "loc": ("budget", *e["loc"])} for e in error.errors())
        raise UserError("\n".join(explained("budget", problem) for problem in problems)) from None
    wall = limits.wall or 2 * max(limits.seconds or 0.0, limits.guard) + 120
    budget = Budget(limits.seconds, limits.gradients, limits.checkpoints, limits.guard)
    return budget, wall, limits.memory
