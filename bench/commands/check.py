"""What `postbench check` does: every check of a plugin, or of two problems that should be one,
printed as it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from bench.checks.finding import Finding
from bench.commands import terminal
from bench.errors import UserError
from bench.plugins.built_in import GROUPS, Group

LONGEST = 2_000  # letters of a reason


def named(words: Sequence[str]) -> tuple[Group | None, str]:
    """The group and the name among the words of a command: the name is the last, and the kind of
    thing that it is may stand before it. None where it does not.

    Raises:
        UserError: if there are others.
    """
    kinds = {group.removesuffix("s"): group for group in GROUPS}
    if len(words) > 2 or (len(words) == 2 and words[0] not in kinds):
        raise UserError(
            f"check takes one name, perhaps after {', '.join(kinds)}; got {' '.join(words)!r}."
        )
    return (kinds[words[0]] if len(words) == 2 else None), words[-1]


def check_one(text: str, group: Group | None = None) -> bool:
    """Print every check of a plugin, of that group where one is named; whether none failed."""
    from bench.checks.apart import Subject, check_apart

    console = terminal.console()

    def findings() -> Iterator[Finding]:
        for said in check_apart(text, group):
            if isinstance(said, Subject):
                console.print(terminal.words(f"{said.kind} {said.name}, from {said.package}"))
            else:
                yield said

    return print_findings(findings(), console)


def check_same(text: str, other: str) -> bool:
    """Print whether two problems are one posterior; whether they are."""
    from bench.checks.same import check_same, constant_of
    from bench.plugins import spec

    console = terminal.console()
    a, b = (spec.parse("problems", name) for name in (text, other))
    console.print(terminal.words(f"problem {text} and problem {other}"))
    problems = a.build(), b.build()
    same = print_findings(check_same(*problems, (text, other)), console)
    if same:
        console.print(
            terminal.words(
                f"log p of {text} less that of {other}: {constant_of(*problems):.10g} nats"
            ),
            highlight=False,
        )
    return same


def print_findings(findings: Iterable[Finding], console: Console) -> bool:
    """Print each finding as it comes, and how many passed and failed; whether none failed."""
    failed = passed = 0
    for finding in findings:
        style = {"pass": "green", "fail": "red"}.get(finding.outcome, "yellow")
        console.print(
            Text(f"  {finding.outcome:8}", style=style)
            + Text(f"{finding.name}: {terminal.words(finding.why, LONGEST)}", style="none"),
            soft_wrap=True,
        )
        failed, passed = failed + (finding.outcome == "fail"), passed + (finding.outcome == "pass")
    console.print(
        f"{passed} passed, {failed} failed", style="red" if failed else "green", highlight=False
    )
    return failed == 0
