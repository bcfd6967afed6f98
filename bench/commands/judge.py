"""What `postbench judge` does: reads draws that were made elsewhere, measures them as any method is
measured, and files them in the folder of a run.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.commands import terminal
from bench.commands.run import STOPPED, conclude, run_cells
from bench.errors import StoppedError, UserError
from bench.outside.chains import Judged, expected_header, judged
from bench.plugins import spec
from bench.running.collect import describe, finish, measured_by, missing, note_sources
from bench.running.matrix import Cell, expand
from bench.running.matrix_file import Matrix, validated
from bench.store import Lock, Store

FOLDER = "judged"  # below that of the run: the draws as they are measured
TAKEN = ("exact",)


@dataclass(frozen=True)
class Request:
    """Draws to be judged, and how.

    Args:
        files: that hold them.
        problem: as typed, with its fields.
        name: what tables call them.
        seconds, gradients: what they cost, where it is known.
        metrics: to measure; none for those that every run has.
        draws: that the metrics compare; None for all there are.
        seed: under which they are filed, so that several runs of one sampler can be.
        unconstrained: whether columns are the problem's coordinates.
        spare: whether columns of other names are passed over.
        group: of a netCDF file, in which its group ``posterior`` lies.
    """

    files: tuple[Path, ...]
    problem: str
    name: str
    seconds: float | None = None
    gradients: int | None = None
    metrics: tuple[str, ...] = ()
    draws: int | None = None
    seed: int = 0
    unconstrained: bool = False
    spare: bool = False
    group: str = ""


def judge_files(request: Request, into: Path) -> bool:
    """Measure draws from files and report on them beside the other methods of a run.

    Returns:
        Whether any cell has figures, and the report could be written.

    Raises:
        UserError: names the file, row and column of what cannot be judged.
        StoppedError: on Ctrl-C.
    """
    try:
        return _judge(request, into)
    except KeyboardInterrupt:
        raise StoppedError(STOPPED) from None


def _judge(request: Request, into: Path) -> bool:
    if request.name in TAKEN:
        raise UserError(f"--name {request.name!r} is that of a method of the suite; take another.")
    console = terminal.console()
    problem = spec.parse("problems", request.problem)
    found = judged(
        request.files,
        problem.build(),
        unconstrained=request.unconstrained,
        spare=request.spare,
        group=request.group,
    )
    chains, draws, _ = found.chains.shape
    console.print(
        f"{chains} chain{'s' * (chains != 1)} of {draws:,} draws, as {request.name}.",
        soft_wrap=True,
    )
    for remark in found.remarks:
        console.print(f"Note: {terminal.words(remark)}", style="yellow", soft_wrap=True)
    matrix = _matrix(request, chains * draws)
    own, floor = _cells(request, matrix, _kept(found, request, into))
    store = Store(into)
    with Lock(into):
        _note(store, matrix, own, floor)
        if todo := missing([floor, own], store):
            run_cells(todo, store, 1, console)
        finish(store)
    return conclude(into, [own.key])


def _matrix(request: Request, most: int) -> Matrix:
    return validated(
        {
            "title": "judged",
            "description": "Draws that were made elsewhere, measured as any method is.",
            "problems": [request.problem],
            "methods": ["exact"],
            "metrics": list(request.metrics) or None,
            "seeds": [request.seed],
            "draws": request.draws or max(10, min(most, 4000)),
            "budget": {"checkpoints": 1},
        },
        where="judge",
    )


def _cells(request: Request, matrix: Matrix, file: Path) -> tuple[Cell, Cell]:
    """The cell of the draws, and that of the noise floor."""
    (floor,) = expand(matrix)
    fields = {"file": str(file), "seconds": request.seconds, "gradients": request.gradients}
    method = dataclasses.replace(spec.make("methods", "judged", fields), shown=request.name)
    return dataclasses.replace(floor, method=method), floor


def _kept(found: Judged, request: Request, into: Path) -> Path:
    """Where the draws are kept as they are measured."""
    folder = into / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    safe = "".join(
        letter if letter.isalnum() or letter in "-_." else "-" for letter in request.name
    )
    file = folder / f"{safe}-{request.seed}.npz"
    arrays = {"draws": found.chains.numpy()}
    if found.divergences is not None:
        arrays["divergences"] = np.array(found.divergences)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)  # uncompressed: the same bytes each time
    file.write_bytes(stream.getvalue())
    return file.absolute()


def _note(store: Store, matrix: Matrix, own: Cell, floor: Cell) -> None:
    """Say in the store what is to be shown, and by which words."""
    names = {cell.key: (cell.problem.name, cell.method.name) for cell in (own, floor)}
    if store.current() is None:  # no run was made here
        describe(matrix, store)
        store.keep_current({floor.key: names[floor.key]})
    else:
        store.note({"metrics": {**store.info().get("metrics", {}), **measured_by(matrix)}})
        if not _has_floor(store, floor):
            store.keep_judged(floor.key, names[floor.key], floor.seed)
    note_sources([own], store)
    store.keep_judged(own.key, names[own.key], own.seed)


def _has_floor(store: Store, floor: Cell) -> bool:
    shown = store.shown()
    return any(
        (cell["problem"], cell["method"], cell["seed"])
        == (floor.problem.name, floor.method.name, floor.seed)
        for cell in store.cells()
        if shown is None or cell["key"] in shown
    )


def columns(problem: str) -> Sequence[str]:
    """The columns that a file of a problem's draws is expected to have."""
    return expected_header(spec.parse("problems", problem).build())
