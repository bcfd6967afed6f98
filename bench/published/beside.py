"""Published cells put beside those of a run, under names that say so, with their seconds at the
speed of this machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bench.fitting.exact import ExactDraws
from bench.plugins.reached import ROOMS, SUITE
from bench.provenance import code_of
from bench.published.archive import Published
from bench.running.costs import probe
from bench.running.recipe import Today
from bench.store import ORIGINS, PUBLISHED_AS, CellRecord, Row, Store, label

MARK = "published:"  # before the names of methods
CLOCKED = ("fit_seconds", "setup_seconds", "sampling_seconds")  # rows whose value is of a clock
WHAT = {
    "problem": "the code of its problem",
    "method": "the code of its method",
    "metrics": "the code of the metrics",
    "version": "the version of the suite",
    "other": "what its truth is",
}
MISSING = "it cannot be made here to compare: "


def stale(published: Published) -> dict[str, str]:
    """Of which published cells the key is otherwise now, and why, in words; by key."""
    today, found = Today(published.recipe), {}
    for cell in published.cells:
        changed = today.changed(cell)
        if changed and changed[0] == "missing":
            found[cell["key"]] = f"{MISSING}{changed[1]}"
        elif changed:
            found[cell["key"]] = f"{' and '.join(WHAT[each] for each in changed)} has changed since"
    return found


def place(store: Store, parts: Sequence[tuple[Published, Collection[str]]]) -> bool:
    """Put published cells into the store of a run, but for those that were skipped; exact draws of
    its own stay the noise floor.

    Args:
        store: of a run whose cells have ended.
        parts: the runs of a file, each with the labels of the problems that are taken from it.

    Returns:
        Whether anything was written: False where the same stands there already.
    """
    own_floors = _floors(store)
    state = [
        *([published.digest, sorted(problems)] for published, problems in parts),
        *(code_of(SUITE / room for room in ROOMS), sorted(own_floors)),
    ]
    token = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    if store.info().get(PUBLISHED_AS) == token:
        return False
    shown: dict[str, str] = {}
    first = parts[0][0]  # the runs of a file are of one machine, and share a probe
    ratio = probe() / float(first.info["probe"])
    for published, problems in parts:
        shown |= _placed(store, published, problems, own_floors, ratio)
    counted = sum(map(bool, shown.values())), len(shown)
    store.keep_published(shown, note(first, ratio, *counted) if shown else "", token)
    return True


def _placed(
    store: Store,
    published: Published,
    problems: Collection[str],
    own_floors: Collection[str],
    ratio: float,
) -> dict[str, str]:
    """Put the cells of one published run into a store; why each is stale, by its key there."""
    old, settings = stale(published), published.info.get(ORIGINS, {})
    shown: dict[str, str] = {}
    origins: dict[str, str] = {}
    records: list[tuple[CellRecord, list[Row]]] = []
    for cell in published.cells:
        problem = label(cell["problem"], cell["problem_settings"])
        floor = cell["method"] == ExactDraws.name
        if problem not in problems or (floor and problem in own_floors):
            continue
        if cell["status"] == "skipped":
            continue
        key = f"published-{cell['key']}"
        shown[key] = old.get(cell["key"], "")
        name = cell["method"] if floor else f"{MARK}{cell['method']}"
        if not floor:
            before = settings.get(label(cell["method"], cell["settings"]), "")
            words = "; ".join(filter(None, [before, "published"]))
            origins[label(name, cell["settings"])] = words
        rows = published.rows.get(cell["key"], ())
        records.append((_renamed(cell, key, name, ratio), [_scaled(row, ratio) for row in rows]))
    store.append_all(records)
    info = store.info()
    store.note(
        {
            "metrics": {**published.info.get("metrics", {}), **info.get("metrics", {})},
            ORIGINS: {**info.get(ORIGINS, {}), **origins},
        }
    )
    return shown


def note(published: Published, ratio: float, old: int, count: int) -> str:
    """What a reader must know of the published rows."""
    info = published.info
    said = (
        f"Rows named {MARK}… were measured on another machine ({_where(info)}). Their"
        " gradients carry over. Their seconds do not: they are multiplied by"
        f" {ratio:.2f}, what a fixed piece of work in torch takes here against there, and are a"
        " rough guide."
    )
    if not old:
        return said
    many = f"all {count}" if old == count else f"{old} of {count}"
    return (
        f"{said} By their keys {many} of these cells are stale: code that makes their figures has"
        " changed since, perhaps without changing them. `postbench published` says which."
    )


def _where(info: Mapping[str, Any]) -> str:
    commit, version = str(info.get("commit") or "")[:12], info.get("version")
    parts = (
        *(info.get("processor"), version and f"postbench {version}"),
        *(commit and f"commit {commit}", str(info.get("finished", "")).partition(" ")[0]),
    )
    return ", ".join(map(str, filter(None, parts))) or "unknown"


def _floors(store: Store) -> set[str]:
    """The problems on which the run has exact draws of its own."""
    current = store.current() or set()
    return {
        label(cell["problem"], cell["problem_settings"])
        for cell in store.cells()
        if cell["key"] in current and cell["method"] == ExactDraws.name and cell["status"] == "ok"
    }


def _renamed(cell: Mapping[str, Any], key: str, name: str, ratio: float) -> CellRecord:
    spent = None if cell["seconds"] is None else ratio * cell["seconds"]
    return CellRecord(**{**cell, "key": key, "method": name, "seconds": spent})


def _scaled(row: Mapping[str, Any], ratio: float) -> Row:
    clocked = row["metric"] in CLOCKED and row["value"] is not None
    value = ratio * row["value"] if clocked else row["value"]
    return Row(**{**row, "seconds": ratio * row["seconds"], "value": value})
