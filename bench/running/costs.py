"""What cells take before any of them has run here: from earlier runs in the same folder, or from a
table of what ships, brought to the speed of this machine by a probe of half a second.

``python -m bench.running.costs DIR`` puts what the cells of a finished run took into the table.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.plugins.spec import Spec
from bench.running.forecast import Forecast
from bench.running.matrix import Cell
from bench.running.remembered import keep, recalled
from bench.store import label

TABLE = Path(__file__).with_suffix(".json")
WALLS, PAGE = "walls", "page_seconds"  # what is remembered in the folder of a run
ROUNDS, STEPS = 5, 40  # of the probe
BATCH, GLANCE = 64, 0.2  # rows and seconds in which the gradients of one problem are timed
MOST_GLANCES = 5.0  # seconds for all problems
# calls a function in a process of its own: its name, its arguments, seconds; what it said
Ask = Callable[[str, tuple[Any, ...], float], list[dict[str, Any]]]
FIRST_PAGE = (3.0, 2.0)  # seconds of a page at first, and of each problem on it, at speed 1


def probe() -> float:
    """Processor seconds of a fixed piece of work like that of the methods: small networks and
    densities in torch, forward and back.

    The best of a few rounds on one thread, so that what else runs on the machine matters little:
    threads that wait for each other would count their waiting.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(a, b, generator=generator, dtype=torch.float64, requires_grad=True)
        for a, b in ((10, 64), (64, 64), (64, 1))
    ]
    x = torch.randn(128, 10, generator=generator, dtype=torch.float64)
    rounds = []
    for _ in range(ROUNDS):
        since = time.process_time()
        for _ in range(STEPS):
            hidden = torch.nn.functional.silu(x @ weights[0])
            value = (torch.nn.functional.silu(hidden @ weights[1]) @ weights[2]).square().sum()
            torch.autograd.grad(value, weights)
        rounds.append(time.process_time() - since)
    torch.set_num_threads(threads)
    return min(rounds)


def time_gradients(problems: Sequence[Spec], send: Callable[[dict[str, Any]], None]) -> None:
    """Seconds of a row of a gradient of each problem, sent one by one: called in a process of its
    own, for a stranger's density may do anything.
    """
    import torch

    from bench.fitting.target import CountedTarget

    torch.set_num_threads(1)
    for spec in problems:
        with contextlib.suppress(Exception):  # it is told when its cell runs
            target = CountedTarget(spec.build())
            z = torch.zeros(BATCH, target.dim, dtype=torch.float64)
            target.value_and_grad(z)  # the first may record, and takes longer
            since, rows = time.perf_counter(), 0
            while time.perf_counter() - since < GLANCE:
                target.value_and_grad(z)
                rows += BATCH
            send({"problem": spec.content, "seconds": (time.perf_counter() - since) / rows})


def forecast(
    cells: Sequence[Cell], folder: Path, jobs: int, cores: int, ask: Ask | None = None
) -> Forecast:
    """What is known of a run before its first cell.

    Args:
        cells: that are to run.
        folder: of the run, where earlier ones kept what theirs took.
        jobs: side by side.
        cores: of the machine; more jobs than cores wait for each other.
        ask: calls a function in a process of its own, for what gradients cost where a budget counts
            them and nothing else is known; None where there is no such process.
    """
    kept, shipped = recalled(folder), _shipped()
    here = kept.get(WALLS) if isinstance(kept.get(WALLS), Mapping) else {}
    names = {cell.key: _name(cell) for cell in cells}
    speed = 1.0
    if shipped and any(name in shipped["cells"] for name in names.values()):
        speed = probe() / float(shipped["probe"])
    crowd = max(1.0, jobs / max(1, cores))
    expected = {}
    for key, name in names.items():
        if isinstance(here, Mapping) and isinstance(here.get(name), int | float):
            expected[key] = float(here[name])
        elif shipped and name in shipped["cells"]:
            expected[key] = float(shipped["cells"][name]) * speed * crowd
    planned: dict[str, float] = {}
    if ask is not None:
        planned = _by_gradients([cell for cell in cells if cell.key not in expected], ask)
    problems = len({cell.problem.content for cell in cells})
    first = (FIRST_PAGE[0] + FIRST_PAGE[1] * problems) * speed
    page = kept.get(PAGE)
    ends = float(page) if isinstance(page, int | float) else first
    return Forecast(cells, jobs, expected | planned, ends, planned)


def _by_gradients(cells: Sequence[Cell], ask: Ask) -> dict[str, float]:
    """What cells take to spend the gradients of their budgets; measuring is not known yet."""
    planned = [cell for cell in cells if cell.budget.gradients is not None]
    problems = {cell.problem.content: cell.problem for cell in planned}
    if not planned:
        return {}
    wall = min(MOST_GLANCES, 1.0 + 2 * GLANCE * len(problems))
    said = ask("bench.running.costs:time_gradients", (list(problems.values()),), wall)
    costs = {
        each["problem"]: each["seconds"] for each in said if {"problem", "seconds"} <= set(each)
    }
    return {
        cell.key: (cell.budget.gradients or 0) * float(costs[cell.problem.content])
        for cell in planned
        if cell.problem.content in costs
    }


def learn(folder: Path, cells: Sequence[Cell], told: Forecast) -> None:
    """Keep what the cells of a run took, for the next one in its folder."""
    kept = recalled(folder).get(WALLS)
    walls = dict(kept) if isinstance(kept, Mapping) else {}
    for cell in cells:
        if takes := told.taken.get((cell.problem.content, cell.method.content)):
            walls[_name(cell)] = round(fmean(takes), 3)
    keep(folder, {WALLS: walls})


def _name(cell: Cell) -> str:
    """What cells of the same cost have in common, across versions of the code."""
    budget = cell.budget
    words = [
        label(cell.problem.name, cell.problem_settings),
        label(cell.method.name, cell.method.described),
        f"{budget.seconds} s, {budget.gradients} gradients, {budget.checkpoints} checkpoints",
        f"{cell.draws} draws",
        " ".join(label(metric.name, metric.settings) for metric in cell.metrics),
    ]
    return " | ".join(words)


def _shipped() -> dict[str, Any]:
    """The table: the probe of the machine that it was made on, and seconds of cells by name."""
    try:
        found: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write(folder: Path) -> None:
    """Put what the cells of a run took into the table, at the speed that the table is of."""
    found, speed = _shipped(), probe()
    found.setdefault("probe", speed)
    cells = found.setdefault("cells", {})
    for name, seconds in recalled(folder)[WALLS].items():
        cells[name] = round(seconds * found["probe"] / speed, 2)
    TABLE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
