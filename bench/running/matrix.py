"""A matrix file or a command line, expanded into cells: problems x methods x seeds."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import operator
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import ConfigDict, Field

from bench.errors import UserError, unknown
from bench.plugins import spec
from bench.plugins.built_in import Group
from bench.plugins.registry import entries
from bench.plugins.spec import Spec
from bench.provenance import version
from methods.base import Budget

Seeds = int | list[int]


class _Table(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Table):
    """What a cell may spend. ``seconds`` and ``gradients`` stop the method; ``wall`` and ``memory``
    stop the process.
    """

    seconds: float | None = Field(
        default=60.0, gt=0, description="fitting time per cell, measuring excluded"
    )
    gradients: int | None = Field(
        default=None, gt=0, description="gradient evaluations per cell, by the row"
    )
    checkpoints: int = Field(
        default=8, ge=1, description="measurements at log-spaced points of the budget"
    )
    wall: float | None = Field(
        default=None,
        gt=0,
        description="seconds until the cell's process is killed; default 2 x seconds + 60",
    )
    memory: float = Field(default=4096, gt=0, description="MiB a cell may allocate")


class Item(_Table):
    """A problem or a method with fields, seeds and budget of its own."""

    name: str
    fields: dict[str, Any] = {}
    seeds: Seeds | None = None
    budget: dict[str, Any] = {}


class Matrix(_Table):
    """A matrix file: what to run, how often, for how long, and what to measure."""

    title: str = "custom"
    description: str = ""
    problems: list[str | Item] = Field(min_length=1)
    methods: list[str | Item] = Field(min_length=1)
    metrics: list[str] | None = None
    seeds: Seeds = 3
    truth: Literal["exact", "reference"] = Field(
        default="exact", description="judge by the exact truth, or by stored references"
    )
    draws: int = Field(
        default=4000,
        ge=10,
        description="draws of the approximation and of the truth that the metrics compare",
    )
    budget: Limits = Limits()


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
        text = json.dumps(
            [*parts, self.seed, self.draws, dataclasses.asdict(self.budget), version()]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def presets() -> dict[str, Path]:
    """The matrices that ship with the suite, by name."""
    folder = Path(str(resources.files("bench") / "presets"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read(source: str) -> Matrix:
    """A preset by name, or a TOML file by path.

    Raises:
        UserError: no such preset or file; not TOML; an unknown key or a wrong value, named with its
            place in the file.
    """
    found = presets()
    path = found.get(source, Path(source))
    if source not in found and path.suffix != ".toml":
        raise unknown(
            "preset",
            source,
            found,
            "`postbench list presets` shows them; a matrix of your own is a .toml file.",
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"The matrix file {source!r} cannot be read: {error.strerror or error}."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"The matrix file {source!r} is not TOML: {error}.") from None
    return validated({"title": path.stem, **content}, where=source)


def validated(content: Mapping[str, Any], where: str) -> Matrix:
    """A checked Matrix; ``where`` names the source in errors.

    Raises:
        UserError: as ``read``.
    """
    try:
        return Matrix.model_validate(content)
    except pydantic.ValidationError as error:
        raise UserError(
            "\n".join(_explained(where, dict(problem)) for problem in error.errors())
        ) from None


def _explained(where: str, error: Mapping[str, Any]) -> str:
    place = [str(part) for part in error["loc"] if part not in ("str", "Item", "int", "list[int]")]
    key, model = place[-1], Limits if place[0] == "budget" else Matrix
    if error["type"] == "extra_forbidden":
        return str(
            unknown(
                f"key in {where}",
                ".".join(place),
                _keys(place, model),
                "docs/matrix.md explains each.",
            )
        )
    shown = "" if error["type"] == "missing" else f", got {error['input']!r}"
    return (
        f"{where}: {'.'.join(place)}: {error['msg'][:1].lower()}{error['msg'][1:]}{shown} (key"
        f" {key!r})."
    )


def _keys(place: Sequence[str], model: type[pydantic.BaseModel]) -> list[str]:
    if len(place) == 1:
        return list(model.model_fields)
    fields = Item.model_fields if place[0] in ("problems", "methods") else model.model_fields
    return [".".join([*place[:-1], name]) for name in fields]


def metrics_of(matrix: Matrix) -> tuple[Spec, ...]:
    """The metrics that every cell is measured by: those chosen, or all there are."""
    chosen = matrix.metrics if matrix.metrics is not None else list(entries("metrics")[0])
    return tuple(spec.parse("metrics", name) for name in chosen)


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


def _limits(common: Limits, own: Sequence[Mapping[str, Any]]) -> tuple[Budget, float | None, float]:
    """Budget, wall limit and memory of a cell: what the matrix says, unless the problem or the
    method says otherwise.
    """
    try:
        limits = Limits.model_validate(
            functools.reduce(operator.or_, map(dict, own), common.model_dump())
        )
    except pydantic.ValidationError as error:
        problems = ({**dict(e), "loc": ("budget", *e["loc"])} for e in error.errors())
        raise UserError("\n".join(_explained("budget", problem) for problem in problems)) from None
    wall = limits.wall or (2 * limits.seconds + 60 if limits.seconds else None)
    return Budget(limits.seconds, limits.gradients, limits.checkpoints), wall, limits.memory


def overridden(matrix: Matrix, changes: Mapping[str, Any]) -> Matrix:
    """The matrix with what the command line says in place of what the file says.

    Args:
        changes: keys of a matrix file; what is None or empty was not said.
    """
    said = {name: value for name, value in changes.items() if value not in (None, [])}
    budget = {name: value for name, value in said.pop("budget", {}).items() if value is not None}
    content = matrix.model_dump() | said
    content["budget"] |= budget
    for item in (*content["problems"], *content["methods"]):
        if isinstance(item, dict):
            item["seeds"] = None if "seeds" in said else item["seeds"]
            item["budget"] = {
                name: value for name, value in item["budget"].items() if name not in budget
            }
    if "problems" in said or "methods" in said:
        content |= {"title": "custom", "description": ""}
    return validated(content, where="command line")
