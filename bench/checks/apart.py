"""Holds a plugin against the contract in a process of its own, which it can hang, fill or end
without harm; without a verdict it has failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.checks.finding import Finding, Outcome
from bench.errors import UserError
from bench.plugins import spec
from bench.plugins.built_in import Group
from bench.plugins.registry import group_of
from bench.processes.plain import text as plain
from bench.processes.pool import Gone, Pool
from bench.processes.wire import Message

WALL = 300.0  # seconds that one check may take
MANY = 40  # checks that a plugin is held against, at most
MEMORY = 4096.0  # MiB that the plugin may allocate
NO_VERDICT = "there is no verdict: "


@dataclass(frozen=True)
class Subject:
    """What is checked: its group without the last letter, its name, and where it comes from."""

    kind: str
    name: str
    package: str


def check_apart(
    text: str, group: Group | None = None, *, wall: float = WALL, memory: float = MEMORY
) -> Iterator[Subject | Finding]:
    """Yield what is checked, then its findings as they are made.

    Args:
        text: ``NAME[:field=value,...]`` or ``FILE.py:Class``. Not even its import is done here.
        group: where the name is looked for; None: where it is found first.
        wall: seconds that one check may take.
        memory: MiB that the plugin may allocate.

    Raises:
        UserError: if the class cannot be loaded, or does not take its fields.
    """
    names: list[str] = ["import"]
    with Pool([]) as pool:
        job = pool.start("bench.checks.apart:hold", (text, group), wall=MANY * wall, memory=memory)
        job.due = time.monotonic() + wall
        while True:
            for _, message in pool.events():
                job.due = time.monotonic() + wall
                if isinstance(message, Gone):
                    if names:  # what was left is not known to hold
                        why = f"the check took more than {wall:g} seconds" * message.overdue
                        yield Finding(names[0], "fail", NO_VERDICT + (why or message.why))
                    return
                if "refused" in message:
                    raise UserError(str(message["refused"]))
                if "subject" in message:
                    names = [str(name) for name in message["checks"]]
                    yield Subject(*(str(part) for part in message["subject"]))
                elif "finding" in message:
                    names = names[1:]
                    yield _finding(message["finding"])
                elif "fault" in message:
                    yield Finding(names[0] if names else "end", "fail", str(message["fault"]))
                    return


def _finding(said: Any) -> Finding:
    name, outcome, why = (str(part) for part in said)
    known: tuple[Outcome, ...] = ("pass", "skipped")
    return Finding(name, next((each for each in known if each == outcome), "fail"), why)


def hold(text: str, group: Group | None, send: Callable[[Message], None]) -> None:
    """Import the plugin and send what it is and what was found; runs in the process of its own."""
    from bench.checks.check import check, checks_of

    try:
        chosen = spec.parse(group or group_of(spec.name_of(text)), text)
        findings = check(chosen)
    except UserError as error:
        send({"refused": plain(error)})
        return
    subject = [chosen.entry.group[:-1], plain(chosen.name), plain(chosen.entry.package)]
    names = [each.name for each in checks_of(chosen.entry.group)]
    send({"subject": subject, "checks": names})
    for finding in findings:
        said: list[Any] = [finding.name, finding.outcome, plain(finding.why)]
        send({"finding": said})
