"""Holds any plugin against the contract of its group."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.checks.finding import Check, Finding
from bench.plugins.built_in import Group
from bench.plugins.spec import Spec


def check(spec: Spec) -> Iterator[Finding]:
    """Hold a method, a problem or a metric against the contract, one finding after the other as
    they are made.

    A check that raises is a fail, and the rest go on. Random and torch-wide state is put back after
    each.

    Raises:
        UserError: if the class cannot be loaded or does not take its fields.
    """
    subject = spec.build()
    if spec.entry.group == "methods":
        from bench.checks.method import check_method

        yield from check_method(subject)
    elif spec.entry.group == "problems":
        from bench.checks.problem import check_problem

        yield from check_problem(subject, _name_of(spec))
    else:
        from bench.checks.metric import check_metric

        yield from check_metric(subject)


def checks_of(group: Group) -> tuple[Check[Any], ...]:
    """The checks of a group, in the order in which they are made."""
    if group == "methods":
        from bench.checks.method import CHECKS as METHOD

        return METHOD
    if group == "problems":
        from bench.checks.problem import CHECKS as PROBLEM

        return PROBLEM
    from bench.checks.metric import CHECKS as METRIC

    return METRIC


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
