"""What `postbench tune` does: searches, compares on fresh seeds, prints both, and writes the
settings to a file.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.commands import terminal
from bench.errors import StoppedError, UserError
from bench.plugins import spec, tuned
from bench.provenance import now, version
from bench.running.collect import collect
from bench.running.executors import Events, Isolated, inline
from bench.running.matrix import Cell
from bench.store import Lock, Store
from bench.tuning.evidence import Evidence, Mean, compare
from bench.tuning.plan import FRESH, MOST, Losses, Plan, losses
from bench.tuning.search import Tried, search

STOPPED = "Stopped. What had finished is kept; the same command again continues."
SHOWN = 20  # trials in the table


def tune(method: str, problems: Sequence[str], options: dict[str, Any], jobs: int | None) -> None:
    """Search the settings of a method and write them to a file.

    Args:
        method, problems: as typed.
        options: of ``Plan``, those that were given.
        jobs: cells side by side; None for one a core, 0 for this process.

    Raises:
        UserError: if something is not there, or refused.
        StoppedError: on Ctrl-C.
    """
    given = {name: value for name, value in options.items() if value not in (None, [], ())}
    if not problems:
        raise UserError(f"Name the problems to tune on: postbench tune {method} -p eight-schools.")
    plan = Plan(spec.parse("methods", method), tuple(problems), **given)
    file = tuned.file_of(plan.name)
    folder = Path("results") / "tune" / file.stem
    console = terminal.console()
    _announce(plan, folder, console)
    store = Store(folder)
    try:
        with Lock(folder), _Runner(store, jobs) as runner:
            tried, evidence = _conducted(plan, runner, console)
    except KeyboardInterrupt:
        raise StoppedError(STOPPED) from None
    _conclude(plan, tried, evidence, file, console)


class _Runner:
    """Runs cells side by side and keeps them, with one server for the whole search."""

    def __init__(self, store: Store, jobs: int | None) -> None:
        self.store = store
        self._jobs = os.cpu_count() or 1 if jobs is None else jobs
        self._stack = contextlib.ExitStack()
        self._isolated: Isolated | None = None

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def losses(self, cells: Sequence[Cell]) -> Losses:
        """What cells come to; those that have ended already are not run again."""
        return losses(cells, self.store, self._run)

    def _run(self, cells: Sequence[Cell]) -> None:
        collect(self._events(cells), self.store, lambda *_: None)

    def _events(self, cells: Sequence[Cell]) -> Events:
        if self._jobs == 0:
            return inline(cells, self.store.folder)
        if self._isolated is None:
            self._isolated = self._stack.enter_context(Isolated(self.store.folder, self._jobs))
        return self._isolated.run(cells)


def _conducted(
    plan: Plan, runner: _Runner, console: Console
) -> tuple[list[Tried], Evidence | None]:
    """The trials, and the best of them held against the defaults; None where those are the best."""

    def tell(tried: Tried) -> None:
        line = f"[{tried.number + 1}/{plan.trials}] score {tried.score:+.3f}  {_settings(tried)}"
        console.print(terminal.words(line), soft_wrap=True)

    tried = search(plan, lambda settings: runner.losses(plan.cells(settings)), tell)
    best = min(tried, key=lambda each: each.score)
    if best is tried[0]:
        return tried, None
    console.print(f"On {plan.fresh} fresh seeds: the defaults, and trial {best.number + 1}.")
    both = [plan.cells(each.settings, fresh=True) for each in (tried[0], best)]
    runner.losses([cell for cells in both for cell in cells])  # all of them side by side
    return tried, compare(*map(runner.losses, both))


def _announce(plan: Plan, folder: Path, console: Console) -> None:
    table = Table(title=f"What is searched of {plan.name}", title_justify="left", box=None)
    table.add_column("field", style="cyan")
    table.add_column("where")
    for name, axis in plan.axes().items():
        table.add_row(name, str(axis))
    console.print(table)
    cells = plan.trials * len(plan.problems) * plan.seeds
    console.print(
        f"{plan.trials} trials on {', '.join(plan.problems)}, {plan.seeds} seeds each, at"
        f" {plan.gradients:,} gradients a cell: {cells} cells at most, kept in {folder}.",
        soft_wrap=True,
    )


def _conclude(
    plan: Plan, tried: Sequence[Tried], evidence: Evidence | None, file: Path, console: Console
) -> None:
    console.print(_trials(tried))
    if evidence is not None:
        console.print(_compared(evidence, plan))
    best = min(tried, key=lambda each: each.score)
    taken = evidence is not None and evidence.better
    console.print(_verdict(evidence), soft_wrap=True)
    kept = best if taken else tried[0]
    made = spec.make("methods", plan.method.entry.name, {**plan.method.settings, **kept.settings})
    tuned.write(file, _HEAD.format(said=_verdict(evidence)), _facts(plan), _tables(made, evidence))
    console.print(f"Settings: {file}", soft_wrap=True)


_HEAD = "Written by `postbench tune`; a matrix takes it by tuned = true.\n{said}"


def _verdict(evidence: Evidence | None) -> str:
    """What the comparison on fresh seeds says, and which settings are kept."""
    if evidence is None:
        return "The search found nothing better than the defaults, and keeps them."
    change = evidence.change
    factor = f"{10 ** abs(change.value):.3g} times"
    if not evidence.better:
        return (
            f"On fresh seeds the best of the search is {factor} as far from the truth as the"
            " defaults, which are kept."
        )
    ends = [10 ** -(change.value + sign * change.half_width) for sign in (1, -1)]
    sure = "" if evidence.shown else ", which is not shown: 1 lies inside"
    return (
        f"On fresh seeds the settings found are {factor} nearer to the truth than the defaults"
        f" (95%: {ends[0]:.3g} to {ends[1]:.3g}{sure})."
    )


def _trials(tried: Sequence[Tried]) -> Table:
    problems = list(dict.fromkeys(problem for problem, _ in tried[0].losses))
    table = Table(title="Trials, the best first", title_justify="left", box=None)
    for heading in ("trial", "score", *(f"KL on {problem}" for problem in problems), "settings"):
        table.add_column(heading, justify="left" if heading == "settings" else "right")
    ranked = sorted(tried, key=lambda each: each.score)
    for each in [*ranked[:SHOWN], *(t for t in ranked[SHOWN:] if t.number == 0)]:
        means = (
            [value for (of, _), value in each.losses.items() if of == problem]
            for problem in problems
        )
        row = [_nats(sum(values) / len(values)) for values in means]
        table.add_row(str(each.number + 1), f"{each.score:+.3f}", *row, _settings(each))
    return table


def _compared(evidence: Evidence, plan: Plan) -> Table:
    title = f"KL(q||p) on {plan.fresh} fresh seeds, mean ± half of a 95% interval, nats"
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("problem", "defaults", "found"):
        table.add_column(heading, justify="left" if heading == "problem" else "right")
    for line in evidence.lines:
        table.add_row(line.problem, _plus_minus(line.default), _plus_minus(line.found))
    return table


def _plus_minus(mean: Mean) -> str:
    half = f" ± {mean.half_width:.2g}" if math.isfinite(mean.half_width) else ""
    return f"{_nats(mean.value)}{half}"


def _nats(value: float) -> str:
    return "none" if value >= MOST else f"{value:.3g}"


def _settings(tried: Tried) -> str:
    said = " ".join(f"{name}={value}" for name, value in tried.settings.items())
    return f"(defaults) {said}" if tried.number == 0 else said


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "method": plan.method.name,
        "problems": list(plan.problems),
        "gradients": plan.gradients,
        "trials": plan.trials,
        "seeds": list(range(plan.seeds)),
        "fresh_seeds": list(range(FRESH, FRESH + plan.fresh)),
        "search_seed": plan.seed,
        "version": version(),
        "written": now(),
    }


def _tables(made: spec.Spec, evidence: Evidence | None) -> dict[str, Any]:
    tables: dict[str, Any] = {"fields": dict(made.settings)}
    if evidence is not None:
        tables["change_of_score"] = _figures(evidence.change)
        tables["evidence"] = [
            {
                "problem": line.problem,
                **{f"default_{name}": value for name, value in _figures(line.default).items()},
                **{f"found_{name}": value for name, value in _figures(line.found).items()},
            }
            for line in evidence.lines
        ]
    return tables


def _figures(mean: Mean) -> dict[str, float]:
    return {"mean": mean.value, "half_width": mean.half_width}
