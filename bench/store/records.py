"""What the store keeps: one record a cell, one row a metric and checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.store.values import as_json, from_json

# cut-short: a guard of seconds ended a fit that plans by gradients or by its own steps.
# partial: some draws were not finite.
# The figures of both are kept and set apart: not averaged, not ranked.
Status = Literal[
    "ok", "partial", "cut-short", "failed", "timed-out", "crashed", "diverged", "skipped"
]
# The rows of a checkpoint that are no metrics; no metric may take their names.
COSTS = (
    *("fit_seconds", "setup_seconds"),
    *("gradients", "evaluations", "sampling_seconds", "peak_memory"),
)


@dataclass(frozen=True)
class Row:
    """One metric of one cell at one checkpoint.

    Args:
        checkpoint: 0, 1, ... in the order they were reached; final: whether it is the cell's last.
        seconds, gradients, evaluations: what the method had spent when it was measured; evaluations
            of the density.
        draws: how many draws the metric saw.
        metric, value, stderr, kind: the estimate; all None but the name where ``status`` is
            ``skipped``.
        status, reason: ``ok`` with an optional note, or ``skipped`` or ``failed`` with the reason.
    """

    checkpoint: int
    final: bool
    seconds: float
    gradients: int
    evaluations: int
    draws: int
    metric: str
    value: float | None
    stderr: float | None
    kind: str | None
    status: Status = "ok"
    reason: str = ""


@dataclass(frozen=True)
class CellRecord:
    """One cell (problem, method, seed) as it ended.

    Args:
        key: hash of the content that decides the result.
        problem, problem_settings, method, settings: names, and the fields that differ from their
            defaults.
        seed, budget: as run.
        status, reason: how it ended, and why where that is not ``ok``.
        seconds, gradients: spent in all, None where it ended before it could tell.
        diagnostics: what the method itself reported (split R-hat, divergences, ...).
    """

    key: str
    problem: str
    problem_settings: Mapping[str, Any]
    method: str
    settings: Mapping[str, Any]
    seed: int
    budget: Mapping[str, Any]
    status: Status
    reason: str = ""
    seconds: float | None = None
    gradients: int | None = None
    diagnostics: Mapping[str, float] | None = None


def label(name: str, settings: Mapping[str, Any]) -> str:
    """How a problem or a method is called in tables: its name, and the settings that differ from
    the defaults.
    """
    return " ".join([name, *(f"{field}={value}" for field, value in settings.items())])


def kept_label(name: str, settings: Mapping[str, Any]) -> str:
    """The same, of settings as the store gives them back: in the order of their names."""
    return label(name, from_json(as_json(settings)))
