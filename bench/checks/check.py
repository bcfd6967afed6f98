"""Holds any plugin against the contract of its group."""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.checks.finding import Check, Finding, findings
from bench.plugins.built_in import Group
from bench.plugins.spec import Spec


def check(spec: Spec) -> Iterator[Finding]:
    """Hold a plugin against the contract of its group, one finding after the other as they are
    made.

    A check that raises is a fail, and the rest go on. Random and torch-wide state is put back after
    each.

    Raises:
        UserError: if the class cannot be loaded or does not take its fields.
    """
    subject = spec.build()
    if spec.entry.group == "problems":
        from bench.checks.problem import check_problem

        yield from check_problem(subject, _name_of(spec))
    else:
        yield from findings(_lab(spec.entry.group)(subject), checks_of(spec.entry.group))


def checks_of(group: Group) -> tuple[Check[Any], ...]:
    """The checks of a group, in the order in which they are made."""
    found: tuple[Check[Any], ...] = _home(group).CHECKS
    return found


HOMES: dict[Group, tuple[str, str]] = {
    "methods": ("method", "MethodLab"),
    "problems": ("problem", "ProblemLab"),
    "metrics": ("metric", "MetricLab"),
    "models": ("generative", "ModelLab"),
    "learners": ("learner", "LearnerLab"),
    "figures": ("figure", "FigureLab"),
}


def _home(group: Group) -> Any:
    """The module that holds the checks of a group."""
    return importlib.import_module(f"bench.checks.{HOMES[group][0]}")


def _lab(group: Group) -> Any:
    """What the checks of a group share, as a class."""
    return getattr(_home(group), HOMES[group][1])


def _name_of(spec: Spec) -> str:
    """The plugin as a shell takes it: a file as seen from here, and the fields that are set."""
    name = spec.entry.name
    if spec.entry.file:
        path, mark, rest = name.partition(".py:")
        file, here = Path(f"{path}.py" if mark else path), Path.cwd()
        name = f"{file.relative_to(here) if file.is_relative_to(here) else file}"
        name += f":{rest}" if mark else ""
    fields = ",".join(f"{field}={_typed(value)}" for field, value in spec.settings.items())
    return shlex.quote(f"{name}:{fields}" if fields else name)


def _typed(value: Any) -> str:
    """A field's value as the command line reads it."""
    return value if isinstance(value, str) else json.dumps(value)
