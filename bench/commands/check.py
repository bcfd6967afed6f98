"""What `postbench check` does: every check of a plugin, printed as it is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from bench.checks.finding import Finding
from bench.commands import terminal

LONGEST = 2_000  # letters of a reason


def check_one(text: str) -> bool:
    """Print every check of a plugin; whether none failed."""
    from bench.checks.apart import Subject, check_apart

    console = terminal.console()

    def findings() -> Iterator[Finding]:
        for said in check_apart(text):
            if isinstance(said, Subject):
                console.print(terminal.words(f"{said.kind} {said.name}, from {said.package}"))
            else:
                yield said

    return print_findings(findings(), console)


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
