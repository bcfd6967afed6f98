"""A matrix file or a command line, checked: what to run, how often, under which limits."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import ConfigDict, Field

from bench.errors import UserError, unknown
from bench.plugins.presets import presets

LONGEST = 1_000_000.0  # seconds, eleven days: beyond it timers of the system overflow
MOST = 2**53  # the largest count that a double holds exactly
MOST_SEEDS = 100_000
LONGEST_TITLE = 200  # bytes; a folder's name may have 255
LAST_SEED = 2**63 - 1  # the largest integer that the store holds


def _seeds(value: Any) -> Any:
    many = isinstance(value, list)
    whole = all(
        isinstance(seed, int) and not isinstance(seed, bool)
        for seed in (value if many else [value])
    )
    if whole and (
        (not many and 1 <= value <= MOST_SEEDS)
        or (many and value and all(0 <= seed <= LAST_SEED for seed in value))
    ):
        return value
    raise ValueError(
        f"expected a number of seeds, 1 to {MOST_SEEDS:,}, or a list of at least one seed, each 0"
        " to 2^63 - 1"
    )


def _title(value: str) -> str:
    """A title that can name a folder below ``results``."""
    if (
        value.strip()
        and value not in (".", "..")
        and not set(value) & {"/", "\\"}
        and all(letter.isprintable() for letter in value)
        and len(value.encode()) <= LONGEST_TITLE
    ):
        return value
    raise ValueError(
        "expected words that can name a folder: no / or \\, no control characters, not empty, not"
        f" . or .., {LONGEST_TITLE} bytes at most"
    )


Seeds = Annotated[int | list[int], pydantic.BeforeValidator(_seeds)]
Title = Annotated[str, pydantic.AfterValidator(_title)]


class _Table(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Table):
    """What a cell may spend. ``seconds`` and ``gradients`` are what a method plans by; ``guard``
    stops its fitting, ``wall`` and ``memory`` its process.

    Without ``seconds`` and ``gradients`` a method runs to its own end.
    """

    seconds: float | None = Field(
        default=None,
        gt=0,
        le=LONGEST,
        description="fitting time per cell, measuring excluded; results depend on the machine",
    )
    gradients: int | None = Field(
        default=None, gt=0, le=MOST, description="gradient evaluations per cell, by the row"
    )
    guard: float = Field(
        default=900.0,
        gt=0,
        le=LONGEST,
        description="seconds of fitting after which a cell is cut short, a safety net",
    )
    checkpoints: int = Field(
        default=8, ge=1, le=1000, description="measurements at log-spaced points of the fit"
    )
    wall: float | None = Field(
        default=None,
        gt=0,
        le=3 * LONGEST,
        description="seconds until the cell's process is killed;"
        " default 2 x the larger of seconds and guard, and 120",
    )
    memory: float = Field(default=4096, gt=0, le=2**30, description="MiB a cell may allocate")


class Item(_Table):
    """A problem or a method with fields, seeds and budget of its own."""

    name: str
    fields: dict[str, Any] = {}
    seeds: Seeds | None = None
    budget: dict[str, Any] = {}
    settings: Literal["defaults", "authors"] | None = Field(
        default=None, description="of a method: whose settings its fields are, for the report"
    )
    tuned: bool | str | None = Field(
        default=None, description="of a method: take the settings that `postbench tune` found"
    )


class Matrix(_Table):
    """A matrix file: what to run, how often, for how long, and what to measure."""

    title: Title = "custom"
    description: str = ""
    problems: list[str | Item] = Field(min_length=1)
    methods: list[str | Item] = Field(min_length=1)
    metrics: list[str] | None = None
    seeds: Seeds = 3

    @pydantic.field_validator("problems")
    @classmethod
    def _no_settings_of_problems(cls, items: list[str | Item]) -> list[str | Item]:
        for item in items:
            if isinstance(item, Item) and (item.settings, item.tuned) != (None, None):
                raise ValueError("settings and tuned are keys of a method, not of a problem")
        return items

    truth: Literal["exact", "reference"] = Field(
        default="exact", description="judge by the exact truth, or by stored references"
    )
    tuned: bool = Field(
        default=False, description="every method at the settings that `postbench tune` found"
    )
    draws: int = Field(
        default=4000,
        ge=10,
        description="draws of the approximation and of the truth that the metrics compare",
    )
    budget: Limits = Limits()


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
            "\n".join(explained(where, dict(problem)) for problem in error.errors())
        ) from None


def explained(where: str, error: Mapping[str, Any]) -> str:
    """One sentence for an error of pydantic: its place, what was expected, what came."""
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
    shown = "" if error["type"] == "missing" else f", got {_short(repr(error['input']))}"
    why = error["msg"].removeprefix("Value error, ")
    return f"{where}: {'.'.join(place)}: {why[:1].lower()}{why[1:]}{shown} (key {key!r})."


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _keys(place: Sequence[str], model: type[pydantic.BaseModel]) -> list[str]:
    if len(place) == 1:
        return list(model.model_fields)
    fields = Item.model_fields if place[0] in ("problems", "methods") else model.model_fields
    return [".".join([*place[:-1], name]) for name in fields]


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
