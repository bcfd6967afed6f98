"""Holds any plugin against the contract of its group."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.finding import Finding
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

        yield from check_problem(subject)
    else:
        from bench.checks.metric import check_metric

        yield from check_metric(subject)
