"""What the keys of a run's cells are made of, kept in its store so that they can be made again: a
key that comes out otherwise is of code that has changed since.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.errors import UserError
from bench.plugins import spec
from bench.plugins.spec import Spec
from bench.provenance import version
from bench.running.matrix import Cell, Matrix
from bench.store import Store, kept_label, label
from methods.base import Budget

RECIPE = "recipe"  # the fact of a store


def note_recipe(matrix: Matrix, cells: Sequence[Cell], store: Store) -> None:
    """Keep what the keys of a matrix are made of: names, fields and content of all plugins, by the
    labels that the store has them by. Those of generative models are not kept.
    """
    cells = [cell for cell in cells if not cell.amortised]
    store.note(
        {
            RECIPE: {
                "matrix": matrix.model_dump(mode="json"),
                "version": version(),
                "metrics": {
                    cell.problem.entry.group: [_parts(of) for of in cell.metrics] for cell in cells
                },
                "problems": {
                    kept_label(cell.problem.name, cell.problem_settings): _parts(cell.problem)
                    for cell in cells
                },
                "methods": {
                    kept_label(cell.method.name, cell.method.described): _parts(cell.method)
                    for cell in cells
                },
            }
        }
    )


def _parts(of: Spec) -> dict[str, Any]:
    entry = of.entry
    return {
        **{"group": entry.group, "name": entry.name},
        **{"fields": dict(of.settings), "content": of.content},
    }


class Today:
    """The plugins of a recipe as they are now, each made once.

    Args:
        recipe: as ``note_recipe`` kept it.
    """

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self._recipe = recipe
        self._made: Callable[[str, str], Spec] = functools.cache(self._make)
        self._metrics = functools.cache(self._all_metrics)

    def changed(self, cell: Mapping[str, Any]) -> tuple[str, ...]:
        """What of a cell's key is otherwise now: ``problem``, ``method``, ``metrics``, ``version``,
        or ``missing`` and why, where it cannot be made here; empty where the key is the same.

        Args:
            cell: with the fields of ``CellRecord``.

        Raises:
            KeyError: if the recipe does not hold the cell.
        """
        problem = label(cell["problem"], cell["problem_settings"])
        method = label(cell["method"], cell["settings"])
        kept = self._recipe
        group = kept["problems"][problem]["group"]
        try:
            specs = self._made("problems", problem), self._made("methods", method)
            found = (*specs, self._metrics(group))
        except UserError as error:
            return "missing", str(error)
        if self._key(cell, *found) == cell["key"]:
            return ()
        now = {
            "problem": found[0].content == kept["problems"][problem]["content"],
            "method": found[1].content == kept["methods"][method]["content"],
            "metrics": [m.content for m in found[2]]
            == [m["content"] for m in kept["metrics"][group]],
            "version": kept["version"] == version(),
        }
        return tuple(name for name, same in now.items() if not same) or ("other",)

    def _key(
        self, cell: Mapping[str, Any], problem: Spec, method: Spec, metrics: tuple[Spec, ...]
    ) -> str:
        budget, draws = Budget(**cell["budget"]), int(self._recipe["matrix"]["draws"])
        seal = ""
        if self._recipe["matrix"]["truth"] == "reference":
            from bench.plugins.referenced import key

            seal = key(problem.build())
        return Cell(problem, method, metrics, cell["seed"], draws, budget, None, 0.0, seal).key

    def _make(self, what: str, name: str) -> Spec:
        return _again(self._recipe[what][name])

    def _all_metrics(self, group: str) -> tuple[Spec, ...]:
        return tuple(map(_again, self._recipe["metrics"][group]))


def _again(parts: Mapping[str, Any]) -> Spec:
    return spec.make(parts["group"], parts["name"], parts["fields"])
