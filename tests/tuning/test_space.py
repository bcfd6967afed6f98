"""What of a method is searched: by the types and defaults of its fields, or as it says itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from bench.errors import UserError
from bench.plugins import registry
from bench.plugins.built_in import BUILT_IN
from bench.plugins.space import Choice, Within, space
from bench.plugins.spec import make
from methods.base import Method, Span


@dataclass(frozen=True)
class Many(Method):
    """Fields of every type."""

    kind: Literal["a", "b"] = "a"
    sure: bool = True
    batch: int = 64
    starts: int = 1
    lr: float = 1e-3
    decay: float = 0.9
    clip: float = 10.0
    offset: float = 0.0
    noise: int | None = None
    widths: tuple[int, ...] = (64, 64)
    words: str = "plain"
    name: ClassVar[str] = "many"

    def run(self, target: Any, budget: Any, generator: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Declaring(Many):
    search: ClassVar[dict[str, Any]] = {"lr": Span(1e-4, 1e-2, log=True), "widths": [(8,), (16,)]}


def share(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


def test_every_type_has_its_range_and_what_has_none_stays() -> None:
    assert space(Many) == {
        "kind": Choice(("a", "b")),
        "sure": Choice((True, False)),
        "batch": Choice((16, 32, 64, 128, 256), ordered=True),
        "starts": Choice((1, 2, 4), ordered=True),
        "lr": Within(1e-3 / 30, 0.03, "log"),
        "decay": Within(
            pytest.approx(share(math.log(9) - 2), rel=1e-3),  # type: ignore[arg-type]
            pytest.approx(share(math.log(9) + 2), rel=1e-3),  # type: ignore[arg-type]
            "odds",
        ),
        "clip": Within(1.0, 100.0, "log"),
    }


def test_a_field_that_is_given_is_not_searched() -> None:
    assert "lr" not in space(Many, {"lr": 0.1})


def test_a_method_that_says_what_to_search_is_taken_at_its_word() -> None:
    assert space(Declaring) == {
        "lr": Within(1e-4, 1e-2, "log"),
        "widths": Choice(((8,), (16,))),
    }


class Asked:
    """A trial that suggests an end of every range."""

    def __init__(self, last: bool) -> None:
        self.last = last

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return choices[-1 if self.last else 0]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return high if self.last else low

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return high if self.last else low


def refusal(name: str, fields: dict[str, Any]) -> str:
    """Why a method does not take these fields; empty where it does."""
    try:
        make("methods", name, fields)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", BUILT_IN["methods"])
def test_both_ends_of_every_field_of_a_method_that_ships_are_taken_by_it(
    name: str, last: bool
) -> None:
    """One field at a time: what a method takes beside other fields is its own affair."""
    for field, axis in space(registry.load(registry.find("methods", name))).items():
        refused = refusal(name, {field: axis.ask(Asked(last), field)})
        # a bound that another field's default sets is no fault of the range
        assert not refused or "must be at least" in refused, f"{field}: {refused}"


@pytest.mark.parametrize("name", BUILT_IN["methods"])
def test_the_defaults_lie_where_the_search_looks(name: str) -> None:
    cls = registry.load(registry.find("methods", name))
    for field, axis in space(cls).items():
        assert axis.place(getattr(cls(), field)) is not None, f"{name}: {field}"
