"""Whatever a plugin does while it is checked, there is a verdict, and no harm."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.checks.apart import Subject, check_apart
from bench.checks.finding import Finding
from bench.errors import UserError

HEAD = """
import ctypes, itertools, os, subprocess, sys, time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar
import torch
from methods.base import Approximation, Draws, Method
{at_import}

@dataclass(frozen=True)
class Mine(Method):
    name: ClassVar[str] = "mine"

    def run(self, target, budget, generator):
        {when_run}
        yield Draws(torch.zeros(1, 4, target.dim, dtype=torch.float64))
"""
# The memory that one asks for is more than its limit and less than any machine has.
# at import, when run, the check that fails, and what it says
FAULTS = {
    "os._exit(0) at import": ("os._exit(0)", "pass", "import", "no verdict: .* exit status 0"),
    "os._exit(0) when run": ("", "os._exit(0)", "yields", "no verdict: .* exit status 0"),
    "a hang at import": ("time.sleep(600)", "pass", "import", "no verdict: .*more than 20 s"),
    "a hang in C": ("", "sum(itertools.repeat(0))", "yields", "no verdict: .*more than 20 s"),
    "memory without end": ("", "torch.empty(2**29)", "yields", "memory|allocate"),
    "SIGKILL": ("", "os.kill(os.getpid(), 9)", "yields", "no verdict: .*SIGKILL"),
}


def found_in(text: str) -> tuple[list[Subject], list[Finding]]:
    said = list(check_apart(text, wall=20, memory=1024))
    subjects = [each for each in said if isinstance(each, Subject)]
    return subjects, [each for each in said if isinstance(each, Finding)]


@pytest.mark.parametrize("name", FAULTS)
def test_without_a_verdict_it_has_failed(tmp_path: Path, name: str) -> None:
    at_import, when_run, check, words = FAULTS[name]
    file = tmp_path / "mine.py"
    file.write_text(HEAD.format(at_import=at_import, when_run=when_run), encoding="utf-8")
    _, findings = found_in(f"{file}:Mine")
    failed = {finding.name: finding.why for finding in findings if finding.outcome == "fail"}
    assert re.search(words, failed[check]), failed


def test_what_cannot_be_loaded_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        found_in(str(tmp_path / "nowhere.py:Mine"))


def test_what_is_sound_passes_apart_as_well() -> None:
    plugins = Path(__file__).parents[1] / "helpers" / "plugins"
    (subject,), findings = found_in(f"{plugins / 'metrics.py'}:Sound")
    assert (subject.kind, subject.name) == ("metric", "metrics.py:Sound")
    assert {finding.outcome for finding in findings} == {"pass"}
    assert len(findings) == 12
