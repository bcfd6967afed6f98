"""How a check is stated and run: a name, the reason it exists, and a function that raises where the
contract is broken.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

Outcome = Literal["pass", "fail", "skipped"]
S = TypeVar("S")
T = TypeVar("T")
_HERE = Path(__file__).parents[1]
Subject = TypeVar("Subject", contravariant=True)


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        name: of the check.
        outcome: ``skipped`` where the check does not apply.
        why: why the check exists, where it passes; what was seen and what was expected, where it
            fails; the reason, where it is skipped.
    """

    name: str
    outcome: Outcome
    why: str


class UnmetError(Exception):
    """The contract is broken; the message says what was seen and what was expected."""


class InapplicableError(Exception):
    """There is nothing to check; the message says why."""


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One rule of the contract.

    Args:
        name: a few words.
        why: what goes wrong for whom where the rule is broken.
        hold: raises UnmetError where the subject breaks the rule, InapplicableError where it has
            none of it.
    """

    name: str
    why: str
    hold: Callable[[Subject], None]


def expect(met: bool, seen: str) -> None:
    """Raise UnmetError with what was seen unless the expectation is met."""
    if not met:
        raise UnmetError(seen)


def findings(subject: S, checks: Sequence[Check[S]]) -> Iterator[Finding]:
    """Run the checks in order; each starts and ends in the same surroundings."""
    from bench.fitting.surroundings import kept  # who reads findings alone needs no torch

    for check in checks:
        with kept(), warnings.catch_warnings():
            # the contract has no word on warnings, and they would break up the table
            warnings.simplefilter("ignore")
            finding = _finding(check, subject)
        yield finding


def _finding(check: Check[S], subject: S) -> Finding:
    try:
        check.hold(subject)
    except UnmetError as error:
        return Finding(check.name, "fail", str(error))
    except InapplicableError as error:
        return Finding(check.name, "skipped", str(error))
    except (
        Exception,
        SystemExit,
    ) as error:  # a stranger's code may raise anything, and the other checks stand
        return Finding(check.name, "fail", worded(error))
    return Finding(check.name, "pass", check.why)


def worded(error: BaseException) -> str:
    """An exception in one line, with the last place in the plugin's own code that it passed, or
    else the last of all.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and _HERE not in Path(frame.filename).parents
    ]
    place = "".join(
        f" ({Path(frame.filename).name}, line {frame.lineno})" for frame in (own or frames)[-1:]
    )
    return f"raised {type(error).__name__}: {error}{place}"


class once(Generic[S, T]):  # noqa: N801 - reads like functools.cached_property
    """An attribute that is worked out when first asked for. What raised then is inapplicable to all
    who ask later.
    """

    def __init__(self, compute: Callable[[S], T]) -> None:
        self._compute = compute
        self._name = compute.__name__

    def __get__(self, owner: S, kind: type[Any] | None = None) -> T:
        store = vars(owner).setdefault("_once", {})
        if self._name not in store:
            store[self._name] = InapplicableError(
                f"needs the {self._name.replace('_', ' ')}, which could not be had; see above"
            )
            try:
                store[self._name] = self._compute(owner)
            except InapplicableError as error:  # not broken: all who ask are told the same
                store[self._name] = error
        if isinstance(store[self._name], InapplicableError):
            raise store[self._name]
        found: T = store[self._name]
        return found
