"""What the page's script works with: curves to point at, and all that is known of each cell.

Without the script nothing of the page is missing: its tables and pictures stand there as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.store import Store
from reports import numbers
from reports.entries import NONE, shown
from reports.glossary import DIAGNOSTICS
from reports.guarded import guarded
from reports.intervals import WIDTH, combine
from reports.pictures.style import DARK, Look
from reports.readings import FLOOR
from reports.results import Results

LOG = 4000  # characters of a log that a page keeps: its end, where a failure says why
HIGHEST = 1e100  # what is further away has no place on an axis


def live(
    store: Store, results: Results, problems: Iterable[str], looks: Mapping[str, Look]
) -> dict[str, Any]:
    """All of it, as plain data for JSON; empty where it cannot be made.

    Args:
        store, results: of the run.
        problems: those that the page draws.
        looks: the colours of the methods.
    """
    wanted = list(problems)
    return guarded(
        lambda: {
            "methods": {
                method: {
                    "colour": look.colour,
                    "dark": DARK.get(look.colour, look.colour),
                    "dashes": [] if look.dashes == "-" else [3 * x for x in look.dashes[1]],
                    "settings": results.origins.get(method, ""),
                }
                for method, look in looks.items()
            },
            "problems": {problem: _problem(results, problem) for problem in wanted},
            "cells": _cells(store, results, set(wanted)),
            "kinds": sorted({figure.kind for figure in results.figures.values()}),
        },
        lambda _: {},
    )


def _problem(results: Results, problem: str) -> dict[str, Any]:
    metric = results.divergence(problem) or ""
    floor = results.figures.get((problem, metric, FLOOR))
    return {
        "traits": list(results.traits.get(problem, ())),
        "metric": results.measure(metric).heading if metric else "",
        "floor": floor.high if floor and 0 < floor.high < HIGHEST else None,
        "points": _points(results, problem, metric),
    }


def _points(results: Results, problem: str, metric: str) -> list[list[Any]]:
    """Rows of method, seed, gradients, seconds, value, upper end, words."""
    frame = results.of(problem)
    frame = frame[
        (frame["metric"] == metric) & (frame["status"] == "ok") & (frame["method"] != FLOOR)
    ]
    frame = frame[frame["value"].abs().lt(HIGHEST)].sort_values(["seed", "checkpoint"])
    columns = ["method", "seed", "gradients", "seconds", "value", "upper", "stderr", "kind"]
    found = []
    for method, seed, gradients, seconds, value, upper, stderr, kind in zip(
        *(frame[name].tolist() for name in columns), strict=True
    ):
        top = None if pd.isna(upper) else float(upper)
        words = _written(value, top, WIDTH * stderr, str(kind))
        place = None if pd.isna(gradients) else int(gradients), _round(seconds)
        found.append([method, int(seed), *place, _round(value), _round(top), words])
    return found


def _written(value: float, upper: float | None, half: float, kind: str) -> str:
    if upper is not None:
        return f"{numbers.between(value, upper, half)}, between bounds"
    if math.isnan(half):
        return f"{numbers.plain(value)}, {kind}"
    return f"{numbers.bounded(value, half, kind)}, {kind}"


def _round(x: float | None) -> float | None:
    """To six digits, which is more than a screen shows."""
    return float(f"{x:.6g}") if x is not None and math.isfinite(x) else None


def _cells(store: Store, results: Results, problems: set[str]) -> list[dict[str, Any]]:
    reports = {str(cell["key"]): cell["diagnostics"] for cell in store.cells()}
    figures = _figures(results, problems)
    return [
        {
            "problem": cell.problem,
            "method": cell.method,
            "seed": int(cell.seed),
            "status": cell.status,
            "reason": cell.reason or "",
            "figures": figures.get(cell.key, []),
            "diagnostics": _diagnostics(reports.get(cell.key) or {}),
            "log": _log(store.logs_folder / f"{cell.key}.txt"),
        }
        for cell in results.cells
        if cell.problem in problems
    ]


def _figures(results: Results, problems: set[str]) -> dict[str, list[list[str]]]:
    """Heading, figure and remark of every metric at the last checkpoint, by the cell's key."""
    found: dict[str, list[list[str]]] = {}
    for problem in results.problems:
        if problem not in problems:
            continue
        frame = results.of(problem)
        frame = frame[frame["metric"].notna()]
        last = frame.groupby("key")["checkpoint"].transform("max")
        columns = ["key", "metric", "value", "stderr", "kind", "row_reason"]
        columns += ["upper", "upper_stderr"]
        rows = frame[frame["checkpoint"] == last]
        for key, metric, *figure in zip(*(rows[name].tolist() for name in columns), strict=True):
            found.setdefault(str(key), []).append(_figure(results, metric, *figure))
    return found


def _figure(
    results: Results,
    metric: str,
    value: float,
    stderr: float,
    kind: str | None,
    reason: str | None,
    upper: float,
    upper_stderr: float,
) -> list[str]:
    words = results.measure(metric)
    if pd.isna(value):
        return [words.heading, NONE, reason or ""]
    if words.written is not None:
        return [words.heading, words.written(value), ""]
    end = None if pd.isna(upper) else (upper, upper_stderr)
    figure = combine([value], [stderr], [kind or "estimate"], [end])
    return [words.heading, shown(figure, rounds=words.rounds), figure.kind]


def _diagnostics(reported: Mapping[str, Any]) -> list[list[str]]:
    found = []
    for name, value in reported.items():
        words = DIAGNOSTICS.get(name)
        written = words.written if words is not None else None
        text = written(value) if written is not None else numbers.plain(value, 3)
        found.append([words.heading if words is not None else name, text])
    return found


def _log(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return text if len(text) <= LOG else f"…{text[-LOG:]}"
