"""Small matrices of the test plugins, and a way to run them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.running.collect import collect, missing
from bench.running.executors import Isolated, inline
from bench.running.matrix import Cell, expand, validated
from bench.store import Store

TROUBLE = Path(__file__).parent / "plugins" / "trouble.py"
NORMAL = f"{TROUBLE}:Normal"
OFFSET = f"{TROUBLE}:Offset"


def own(name: str) -> str:
    """The name of a class in ``trouble.py``, fields and all."""
    return f"{TROUBLE}:{name}"


def cells(methods: Sequence[Any], *, metrics: Sequence[str] = (OFFSET,), **more: Any) -> list[Cell]:
    """Cells on the standard normal, one seed and few draws unless said otherwise."""
    content: Mapping[str, Any] = {
        "problems": [NORMAL],
        "methods": list(methods),
        "metrics": list(metrics),
        "seeds": 1,
        "draws": 100,
    }
    return expand(validated({**content, **more}, where="test"))


def run(chosen: Sequence[Cell], folder: Path, jobs: int = 0) -> Store:
    """Run what is missing: in this process, or in ``jobs`` isolated ones."""
    store = Store(folder)
    todo = missing(chosen, store)
    if jobs == 0:
        collect(inline(todo, folder), store, lambda *_: None)
        return store
    with Isolated(folder, jobs) as executor:
        collect(executor.run(todo), store, lambda *_: None)
    return store
