"""What `postbench export` does: the rows of a run as a table, or its draws as a file for ArviZ."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands import terminal
from bench.commands.report import to_file
from bench.errors import UserError
from bench.store import GENERATIVE, SOURCES, TRAITS, Store, label

if TYPE_CHECKING:
    from bench.outside.series import Values
    from bench.outside.tree import Branch
    from problems.base import Problem

DRAWS = (".nc", ".netcdf")  # endings of files of draws
CHUNK = 1000  # draws that are carried to the model's own units at once


def export_run(folder: Path, to: Path) -> None:
    """Write the tidy rows of a run, or its draws where the file is one of netCDF.

    Raises:
        UserError: if there are no results or no draws, a library is missing, or the file cannot be
            written.
    """
    store = Store(folder, create=False)
    if to.is_dir():
        raise UserError(f"--to {to}: there is a folder of that name; name a file.")
    if to.suffix.lower() in DRAWS:
        _export_draws(store, to)
    else:
        from reports.frame import export

        to_file(to, lambda part: export(store, part))
    terminal.console().print(str(to), soft_wrap=True)


def _export_draws(store: Store, to: Path) -> None:
    from bench.outside.arrays import xarray_for
    from bench.outside.tree import write

    xarray_for(to)  # before anything is worked out
    gathered = _Gathered(store)
    branches = list(gathered.branches())
    if not branches:
        raise UserError(
            f"{store.folder} holds no draws: {'; '.join(gathered.notes) or 'no cell has ended'}."
        )
    facts = {
        "made_by": f"postbench {store.info().get('version', '')}".strip(),
        "title": store.info().get("title"),
        "command": store.info().get("command"),
        "notes": list(gathered.notes),
    }
    to_file(to, lambda part: write(branches, facts, part))
    for note in gathered.notes:
        terminal.console().print(
            f"Note: {terminal.words(note)}", style="yellow", soft_wrap=True, highlight=False
        )


@dataclass(frozen=True)
class _Model:
    """A problem made again; None, where it cannot be, and why."""

    problem: Problem | None
    fault: str = ""


class _Gathered:
    """The draws of a run, a branch for each method on each problem, and for each truth.

    Args:
        store: of the run.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.notes: list[str] = []
        shown, published = store.shown(), store.published()  # of which there are no draws
        cells = [
            cell
            for cell in store.cells()
            if (shown is None or cell["key"] in shown) and cell["key"] not in published
        ]
        self._cells: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
        for cell in cells:  # of one problem, method and seed the one that ended last
            problem = label(cell["problem"], cell["problem_settings"])
            method = label(cell["method"], cell["settings"])
            self._cells.setdefault(problem, {}).setdefault(method, {})[cell["seed"]] = cell

    def branches(self) -> Iterator[Branch]:
        """Everything that the file is to hold; what it lacks is said in ``notes``."""
        for problem, methods in self._cells.items():
            first = next(iter(next(iter(methods.values())).values()))
            model = _made_again(self.store, problem, first)
            if model.fault:
                self.notes.append(model.fault)
            for method, seeds in methods.items():
                found = [seeds[seed] for seed in sorted(seeds)]
                yield from self._branch(problem, method, found, model)
            yield from self._truth(problem, model)

    def _branch(
        self, problem: str, method: str, cells: Sequence[Mapping[str, Any]], model: _Model
    ) -> Iterator[Branch]:
        """The cells that differ by their seed alone, each a chain."""
        import numpy as np

        held = []
        for cell in cells:
            if (draws := self.store.draws(cell["key"])) is not None:
                held.append((cell, *draws))
            else:
                why = cell["reason"] or self.store.unreadable(cell["key"])
                self.notes.append(
                    f"{method} on {problem}, seed {cell['seed']}: no draws;"
                    f" {cell['status']}{f': {why}' if why else ''}"
                )
        if not held:
            return
        length = self._length(f"{method} on {problem}", [len(draws) for _, draws, _ in held])
        own = [self.store.log_q(cell["key"]) for cell, _, _ in held]
        stats = {}
        if any(values is not None for values in own):
            nothing = np.full(length, np.nan)
            stats["log_q"] = np.stack([nothing if x is None else x[:length] for x in own])
        facts = {
            name: [cell[name] for cell, _, _ in held]
            for name in ("key", "seed", "status", "reason", "seconds", "gradients", "diagnostics")
        }
        z = np.stack([draws[:length] for _, draws, _ in held])
        seeds = [cell["seed"] for cell, _, _ in held]
        yield self._carried(model, problem, method, seeds, z, held[0][2], stats, facts)

    def _length(self, whose: str, lengths: Sequence[int]) -> int:
        """Draws of a chain that all have; others are left out, and that is said."""
        if min(lengths) < max(lengths):
            counts = ", ".join(map(str, lengths))
            self.notes.append(
                f"{whose}: the seeds have {counts} draws; the first {min(lengths)} of each are"
                " exported, for chains are of one length"
            )
        return min(lengths)

    def _truth(self, problem: str, model: _Model) -> Iterator[Branch]:
        from bench.outside.tree import TRUTH

        found = self.store.draws(f"truth-{problem}")
        if found is None:
            why = self.store.unreadable(f"truth-{problem}") or "none were kept"
            self.notes.append(f"{problem}: no draws of the truth; {why}")
            return
        facts = self.store.facts(f"truth-{problem}")
        yield self._carried(model, problem, TRUTH, [0], found[0][None], found[1], {}, facts)

    def _carried(
        self,
        model: _Model,
        problem: str,
        method: str,
        chains: Sequence[int],
        z: Values,
        coordinates: Sequence[str],
        stats: Mapping[str, Values],
        facts: Mapping[str, Any],
    ) -> Branch:
        """A branch with what the model makes of its draws."""
        from bench.outside.tree import Branch

        named: dict[str, Values] = {}
        if model.problem is not None:
            try:
                named, lp = _in_own_units(model.problem, z)
                stats = {"lp": lp, **stats}
            except Exception as error:  # of a plugin
                self.notes.append(
                    f"{method} on {problem}: no parameters in the model's own units;"
                    f" {type(error).__name__}: {error}"
                )
        return Branch(problem, method, chains, z, coordinates, named, stats, facts)


def _in_own_units(problem: Problem, z: Values) -> tuple[dict[str, Values], Values]:
    """Parameters by name, and the log density in nats: [chains, draws, D] -> {name: [chains, draws,
    *shape]}, [chains, draws].
    """
    import torch

    rows = torch.from_numpy(z.reshape(-1, z.shape[-1]))
    with torch.no_grad():
        parts = [
            (problem.constrain(part), problem.log_density(part))
            for part in torch.split(rows, CHUNK)
        ]
    named = {
        name: torch.cat([values[name] for values, _ in parts]).double() for name in parts[0][0]
    }
    lp = torch.cat([values for _, values in parts]).double()
    return (
        {name: x.reshape(*z.shape[:2], *x.shape[1:]).numpy() for name, x in named.items()},
        lp.reshape(z.shape[:2]).numpy(),
    )


def _made_again(store: Store, problem: str, cell: Mapping[str, Any]) -> _Model:
    """The problem of a run, as it was named there."""
    from bench.plugins import spec

    if GENERATIVE in store.info().get(TRAITS, {}).get(problem, ()):
        return _Model(
            None,
            f"{problem}: a generative model; its draws are codes z of all test data together, and"
            " the truth is their prior",
        )
    fields = {name: x for name, x in cell["problem_settings"].items() if name != "truth"}
    source = store.info().get(SOURCES, {}).get(problem, {"name": cell["problem"], "fields": fields})
    folder = source.get("folder", ".")
    try:
        with contextlib.chdir(folder if Path(folder).is_dir() else "."):
            made = spec.make("problems", source["name"], source["fields"])
            found = made.build()
    except Exception as error:  # a file that is gone, a plugin that fails
        return _Model(
            None,
            f"{problem}: the model cannot be made here ({error}); its draws are exported in"
            " unconstrained coordinates alone, without log p",
        )
    changed = source.get("content") not in (None, made.content)
    return _Model(
        found,
        f"{problem}: the model, or code that reads it, has changed since the run; parameters and"
        " log p are those of today"
        if changed
        else "",
    )
