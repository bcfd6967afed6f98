"""The results as one tidy frame: a row per cell, checkpoint and metric, and no cell left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.store import Store, label

EXPORTED = (
    *("problem", "method", "settings", "seed", "status", "reason", "checkpoint"),
    *("seconds", "gradients", "metric", "value", "stderr", "kind"),
)
FORMATS = (".csv", ".parquet")
CELL = (
    *("key", "problem", "name", "method", "settings", "seed", "status", "reason"),
    *("cell_seconds", "cell_gradients"),
)
ROW = {
    **{name: name for name in ("key", "checkpoint", "gradients", "evaluations", "draws")},
    **{name: name for name in ("seconds", "value", "stderr", "metric", "kind")},
    "row_status": "status",
    "row_reason": "reason",
}
TYPES = {
    **dict.fromkeys(("key", "problem", "name", "method", "settings", "status", "reason"), "object"),
    **dict.fromkeys(("seed", "checkpoint", "gradients", "evaluations", "draws"), "Int64"),
    **dict.fromkeys(("seconds", "value", "stderr"), "float64"),
    **dict.fromkeys(("metric", "kind", "row_status", "row_reason"), "object"),
}


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as people type them: ``field=value, ...``; empty where all are at their defaults."""
    return ", ".join(f"{field}={value}" for field, value in settings.items())


def load(store: Store, keys: Iterable[str] | None = None) -> pd.DataFrame:
    """The whole run, cells joined with their rows.

    Columns: ``key``; ``problem`` and ``method`` as labels with their settings; ``name`` and
    ``settings`` of the method apart; ``seed``; ``status`` and ``reason`` of the cell;
    ``checkpoint``; ``seconds``, ``gradients``, ``evaluations`` spent until then; ``draws`` the
    metric saw; ``metric``, ``value``, ``stderr``, ``kind``; ``row_status`` and ``row_reason`` of
    the figure itself. A cell without any figure has one row, its ``metric`` empty.

    Args:
        store: of the run.
        keys: of the cells that are wanted; None for all.
    """
    return joined(cells_of(store, keys), store.rows())


def cells_of(store: Store, keys: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """The cells of the keys, all where there are none, in the order they ended."""
    wanted = None if keys is None else set(keys)
    return [cell for cell in store.cells() if wanted is None or cell["key"] in wanted]


def joined(cells: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The frame of ``load`` from the cells and the rows of a store."""
    left = pd.DataFrame([_cell(cell) for cell in cells], columns=list(CELL))
    rows = pd.DataFrame({new: [row[old] for row in found] for new, old in ROW.items()})
    whole = left.astype({"key": "object"}).merge(rows.astype({"key": "object"}), "left", on="key")
    for spent in ("seconds", "gradients"):
        whole[spent] = whole[spent].where(whole["metric"].notna(), whole.pop(f"cell_{spent}"))
    return pd.DataFrame({name: _typed(whole[name], kind) for name, kind in TYPES.items()})


def _cell(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        cell["key"],
        label(cell["problem"], cell["problem_settings"]),
        cell["method"],
        label(cell["method"], cell["settings"]),
        settings_text(cell["settings"]),
        *(cell[name] for name in ("seed", "status", "reason", "seconds", "gradients")),
    )


def _typed(values: pd.Series[Any], kind: str) -> pd.Series[Any]:
    """A column of its type; what is no number where one belongs is missing, and nothing fails."""
    if kind == "object":
        return values.astype(object).where(values.notna(), None)
    found: pd.Series[Any] = pd.to_numeric(values, errors="coerce")
    return found.astype(kind)  # type: ignore[call-overload, no-any-return]


def diagnostics(
    cells: Iterable[Mapping[str, Any]],
) -> dict[tuple[str, str], list[dict[str, float]]]:
    """What methods report of themselves, by the labels of problem and method: one dictionary a cell
    that has any.
    """
    found: defaultdict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for cell in cells:
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
            f"export(path=...) must end in one of {', '.join(FORMATS)} for rows or in .nc"
            f" for draws, got {str(path)!r}."
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
