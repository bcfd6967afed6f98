r"""What a search is made of: a method, problems, a budget for every cell; and what a cell comes to.

Every trial is a few cells of a matrix, run and kept as those of any other run: under a guard, in a
process of their own, by the key of what decides their result. So a search that was stopped finds
again what it has done, and takes the same way.

.. math:: \text{score} = \frac1n \sum_{\text{cells}} \log_{10} \min(\max(KL, 0.01), 1000)

KL(q||p) is the upper end of what is known of it. Below 0.01 nats the noise of estimates would
choose; a cell without a figure counts as 1,000.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.plugins import registry
from bench.plugins.space import Axis, space
from bench.plugins.spec import Spec
from bench.running.collect import missing
from bench.running.matrix import Cell, expand, validated
from bench.store import Store, label

LEAST, MOST = 0.01, 1000.0  # nats
ROUTES = ("kl_upper", "kl_qp")  # the first that has a figure counts
FRESH = 1000  # the first seed of those that are not searched on
Run = Callable[[Sequence[Cell]], None]  # runs cells and keeps them
Losses = Mapping[tuple[str, int], float]  # KL(q||p) in nats, by problem and seed


@dataclass(frozen=True)
class Plan:
    """What is searched, on what, and for how much.

    Args:
        method: with the fields that are given, and so not searched.
        problems: as typed.
        fields: to search; empty for all that can be.
        gradients: of every cell.
        guard: seconds of fitting after which a cell counts as one without a figure.
        trials: how many settings are tried, the defaults first.
        seeds: of every trial on every problem; fresh: of the comparison afterwards.
        draws: that metrics compare.
        seed: of the search.
    """

    method: Spec
    problems: tuple[str, ...]
    fields: tuple[str, ...] = ()
    gradients: int = 100_000
    guard: float = 300.0
    trials: int = 30
    seeds: int = 2
    fresh: int = 5
    draws: int = 2000
    seed: int = 0

    @property
    def name(self) -> str:
        """The method with the fields that are given."""
        return label(self.method.name, self.method.settings)

    def axes(self) -> dict[str, Axis]:
        """What is searched.

        Raises:
            UserError: if a field that was named cannot be searched, or nothing can.
        """
        found = space(registry.load(self.method.entry), self.method.settings)
        for field in self.fields:
            if field not in found:
                raise UserError(
                    f"{self.name}: the field {field!r} cannot be searched; those that can are"
                    f" {', '.join(found) or 'none'}."
                )
        chosen = {
            name: axis for name, axis in found.items() if name in self.fields or not self.fields
        }
        if not chosen:
            raise UserError(f"{self.name} has no field that could be searched.")
        return chosen

    def cells(self, settings: Mapping[str, Any], *, fresh: bool = False) -> list[Cell]:
        """The cells of one trial, or of the comparison on fresh seeds.

        Raises:
            UserError: if the method refuses these settings.
        """
        seeds = range(FRESH, FRESH + self.fresh) if fresh else range(self.seeds)
        fields = {**self.method.settings, **settings}
        content = {
            "problems": list(self.problems),
            "methods": [{"name": self.method.entry.name, "fields": fields}],
            "metrics": list(reversed(ROUTES)),
            "seeds": list(seeds),
            "draws": self.draws,
            "budget": {"gradients": self.gradients, "guard": self.guard, "checkpoints": 1},
        }
        return expand(validated(content, where="tune"))


def losses(cells: Iterable[Cell], store: Store, run: Run) -> Losses:
    """KL(q||p) of every cell, by the label of its problem and its seed: run if it is not known,
    1,000 nats where there is no figure.
    """
    chosen = list(cells)
    if todo := missing(chosen, store):
        run(todo)
    ended = store.done()
    figures = {
        (row["key"], row["metric"]): row["value"]
        for row in store.rows()
        if row["final"] and row["value"] is not None
    }
    return {
        (label(cell.problem.name, cell.problem_settings), cell.seed): _loss(cell, ended, figures)
        for cell in chosen
    }


def _loss(cell: Cell, ended: Mapping[str, str], figures: Mapping[tuple[str, str], float]) -> float:
    if ended.get(cell.key) != "ok":
        return MOST
    found = (figures.get((cell.key, metric)) for metric in ROUTES)
    value = next((value for value in found if value is not None), MOST)
    return value if value == value else MOST


def score(found: Losses) -> float:
    """The mean of the logarithms to base 10, between those of ``LEAST`` and ``MOST``."""
    return sum(map(log_loss, found.values())) / len(found)


def log_loss(value: float) -> float:
    """The logarithm to base 10 of what one cell loses, between those of ``LEAST`` and ``MOST``."""
    return math.log10(min(max(value, LEAST), MOST))
