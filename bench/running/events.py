"""What is told of a cell while it runs, and how it crosses from its process to the runner."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.processes.plain import LARGEST, NAME, text
from bench.processes.wire import JunkError, Message
from bench.store import Row, Status

STATUSES = typing.get_args(Status)


@dataclass(frozen=True)
class Started:
    """Event: a cell has a process of its own now, or another one after its first was lost."""


@dataclass(frozen=True)
class Doing:
    """Event: what the cell is about to do, such as ``measuring mmd``, in case it never returns."""

    what: str


@dataclass(frozen=True)
class Measured:
    """Event: the rows of metrics that one checkpoint has gained."""

    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Ended:
    """Event: the cell is over; nothing follows."""

    status: Status
    reason: str = ""
    diagnostics: Mapping[str, float] = field(default_factory=dict)


Event = Doing | Measured | Ended


def packed(event: Event) -> Message:
    """An event as a message; what it holds is plain already."""
    if isinstance(event, Doing):
        return {"doing": event.what}
    if isinstance(event, Measured):
        return {"rows": [vars(row) for row in event.rows]}
    return {"ended": vars(event)}


def unpacked(message: Message) -> Event:
    """An event from a message, every part of which is looked at: a stranger may have sent it.

    Raises:
        JunkError: if it is no event.
    """
    try:
        if "doing" in message:
            return Doing(_text(message["doing"]))
        if "rows" in message:
            return Measured(tuple(_row(row) for row in message["rows"]))
        return _ended(message["ended"])
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise JunkError(f"{text(message, 60)} is no event ({text(error, NAME)})") from None


def _ended(said: Mapping[str, Any]) -> Ended:
    figures = {_text(name): _float(value) for name, value in said["diagnostics"].items()}
    return Ended(_status(said["status"]), _text(said["reason"]), figures)


def _row(said: Mapping[str, Any]) -> Row:
    names = {each.name for each in dataclasses.fields(Row)}
    if said.keys() != names:
        raise ValueError(f"a row has the fields {', '.join(sorted(names))}")
    return Row(
        checkpoint=_count(said["checkpoint"]),
        final=bool(said["final"]),
        seconds=_float(said["seconds"]),
        gradients=_count(said["gradients"]),
        evaluations=_count(said["evaluations"]),
        draws=_count(said["draws"]),
        metric=_text(said["metric"]),
        value=None if said["value"] is None else _float(said["value"]),
        stderr=None if said["stderr"] is None else _float(said["stderr"]),
        kind=None if said["kind"] is None else _text(said["kind"]),
        status=_status(said["status"]),
        reason=_text(said["reason"]),
    )


def _status(value: Any) -> Status:
    if value not in STATUSES:
        raise ValueError(f"{value!r} is no status")
    found: Status = value
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return text(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
        raise ValueError(f"{value!r} is no count")
    return value
