"""The results as one tidy frame: a row per cell, checkpoint and metric, and no cell left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.store import Store, label

EXPORTED = (
    *("problem", "method", "settings", "seed", "status", "reason", "checkpoint"),
    *("seconds", "gradients", "metric", "value", "stderr", "kind"),
)
FORMATS = (".csv", ".parquet")
TYPES = {
    **dict.fromkeys(("key", "problem", "name", "method", "settings", "status", "reason"), "object"),
    **dict.fromkeys(("seed", "checkpoint", "gradients", "evaluations", "draws"), "Int64"),
    **dict.fromkeys(("seconds", "value", "stderr"), "float64"),
    **dict.fromkeys(("metric", "kind", "row_status", "row_reason"), "object"),
}


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as people type them: ``field=value, ...``; empty where all are at their defaults."""
    return ", ".join(f"{field}={value}" for field, value in settings.items())


def load(store: Store) -> pd.DataFrame:
    """The whole run, cells joined with their rows.

    Columns: ``key``; ``problem`` and ``method`` as labels with their settings; ``name`` and
    ``settings`` of the method apart; ``seed``; ``status`` and ``reason`` of the cell;
    ``checkpoint``; ``seconds``, ``gradients``, ``evaluations`` spent until then; ``draws`` the
    metric saw; ``metric``, ``value``, ``stderr``, ``kind``; ``row_status`` and ``row_reason`` of
    the figure itself. A cell without any figure has one row, its ``metric`` empty.
    """
    return pd.DataFrame.from_records(list(_records(store)), columns=list(TYPES)).astype(TYPES)


def _records(store: Store) -> Iterator[dict[str, Any]]:
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in store.rows():
        found[row["key"]].append(row)
    for cell in store.cells():
        common = {
            "key": cell["key"],
            "problem": label(cell["problem"], cell["problem_settings"]),
            "name": cell["method"],
            "method": label(cell["method"], cell["settings"]),
            "settings": settings_text(cell["settings"]),
            "seed": cell["seed"],
            "status": cell["status"],
            "reason": cell["reason"],
        }
        without = {"seconds": cell["seconds"], "gradients": cell["gradients"]}
        for row in found[cell["key"]] or [without]:
            figure = {name: row.get(name) for name in TYPES if name not in common}
            yield {
                **common,
                **figure,
                "row_status": row.get("status"),
                "row_reason": row.get("reason"),
            }


def diagnostics(store: Store) -> dict[tuple[str, str], list[dict[str, float]]]:
    """What methods report of themselves, by the labels of problem and method: one dictionary a cell
    that has any.
    """
    found: defaultdict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for cell in store.cells():
        if cell["diagnostics"]:
            found[
                label(cell["problem"], cell["problem_settings"]),
                label(cell["method"], cell["settings"]),
            ].append(cell["diagnostics"])
    return dict(found)


def latest(frame: pd.DataFrame) -> pd.DataFrame:
    """Of cells with the same problem, method and seed (another budget, older code), only the one
    that ended last.
    """
    cells = frame.drop_duplicates("key")
    newest = cells.drop_duplicates(["problem", "method", "seed"], keep="last")["key"]
    return frame[frame["key"].isin(set(newest))]


def export(store: Store, path: Path) -> None:
    """Write one row per cell, checkpoint and metric, with the columns ``EXPORTED``.

    ``status`` is the cell's where it did not end well, and the figure's own otherwise (``skipped``
    for a metric that cannot be had there), with the reason beside it.

    Raises:
        ValueError: if ``path`` ends in neither ``.csv`` nor ``.parquet``.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(
            f"export(path=...) must end in one of {', '.join(FORMATS)}, got {str(path)!r}."
        )
    frame = load(store)
    whole = frame["status"] == "ok"
    frame["reason"] = [
        "; ".join(filter(None, [cell, f"{metric}: {row}" if row and not ok else row]))
        for ok, cell, metric, row in zip(
            whole, frame["reason"], frame["metric"], frame["row_reason"], strict=True
        )
    ]
    frame["status"] = frame["status"].where(
        ~whole | frame["row_status"].isna(), frame["row_status"]
    )
    frame = frame.drop(columns="method").rename(columns={"name": "method"})[list(EXPORTED)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
