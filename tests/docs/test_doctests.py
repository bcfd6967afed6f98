"""The ``Example:`` blocks of docstrings: each runs, and prints what it says."""

from __future__ import annotations

import doctest
import importlib
from types import ModuleType

import pytest

SHOWN = {
    "methods.base": ("Budget", "Draws", "Method", "Pushforward"),
    "problems.base": ("Exact", "GaussianPrior", "Modes", "Problem", "Reference"),
    "bench.metrics.base": ("Comparison", "Estimate", "Metric"),
    "bench.metrics.mmd": ("mmd",),
    "bench.metrics.kl": ("KlQP",),
}


def examples(module: ModuleType) -> dict[str, doctest.DocTest]:
    """The examples of a module's docstrings, by the name of what they show."""
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    prefix = f"{module.__name__}."
    return {test.name.removeprefix(prefix): test for test in found if test.examples}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in SHOWN.items() for name in names]
)
def test_the_example_of_a_type_runs_and_prints_what_it_says(
    module: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = examples(importlib.import_module(module))
    assert name in found, f"{module}.{name} has no example in its docstring"
    result = doctest.DocTestRunner().run(found[name])
    assert result.failed == 0, capsys.readouterr().out
    assert result.attempted > 0


@pytest.mark.parametrize("module", sorted(SHOWN))
def test_every_example_of_these_modules_is_run_here(module: str) -> None:
    assert set(examples(importlib.import_module(module))) == set(SHOWN[module])
