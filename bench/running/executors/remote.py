"""The far side of a run on a Dask cluster: one cell in a process of its own on a worker's machine,
its rows and draws brought back as the task's result.

A worker has a fork server for each of its threads, which it keeps from cell to cell.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench.processes.plain import worded
from bench.processes.wire import Message
from bench.running.events import Started, packed
from bench.running.executors import travel
from bench.running.executors.isolated import Isolated
from bench.running.executors.travel import Load
from bench.running.matrix import Cell

GLANCE = 1.0  # seconds between two looks whether the runner still wants the cell
LOOK = 120.0  # seconds that a look at the plugins of a cell may take
_OWN = threading.local()


def run(suite: Mapping[str, str], run_id: str, load: bytes, files: Mapping[str, bytes]) -> Message:
    """Run one cell, as a task of a Dask worker.

    Args:
        suite: version and code of the suite as the runner has it.
        run_id: of the runner; also the topic under which a start is told.
        load: a pickled ``Load``.
        files: contents of the files that it names; empty for the first try.

    Returns:
        ``events`` of the cell and the ``files`` that it has left; or ``lacking``, where the files
        must be sent; or ``refused``, why this worker runs no such cell. ``worker`` is its address.
    """
    from distributed import get_worker

    worker = get_worker()
    said: Message = {"worker": f"{worker.address}"}
    try:
        if found := travel.differing(suite, travel.suite()):
            return said | {"refused": f"it has {found}"}
        return said | _house(Path(worker.local_directory), run_id).ran(pickle.loads(load), files)
    except Exception as error:  # of the worker, not of the cell, which tells of its own
        return said | {"refused": worded(error)}


def look(cell: Cell, marks: tuple[Mapping[str, str], ...], send: Callable[[Message], None]) -> None:
    """Tell whether the plugins of a cell are the runner's: in a process of its own, for they are
    strangers' code.
    """
    try:
        send({"strange": travel.strangers(cell, marks) or _other_reference(cell)})
    except Exception as error:
        send({"strange": worded(error)})


def _other_reference(cell: Cell) -> str:
    from bench.plugins.referenced import key

    if not cell.reference or key(cell.problem.build()) == cell.reference:
        return ""
    return f"problem {cell.problem.name}: its stored reference"


def _house(directory: Path, run_id: str) -> _House:
    """What this thread of the worker has ready, in the folder of this run."""
    if not hasattr(_OWN, "isolated"):
        _OWN.isolated = Isolated(directory, 1)
        _OWN.isolated.__enter__()
        atexit.register(_OWN.isolated.__exit__)
        _OWN.houses = {}
    if run_id not in _OWN.houses:
        folder = directory / run_id / f"{threading.get_ident()}"
        for part in ("draws", "logs"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        _OWN.houses[run_id] = _House(folder)
    house: _House = _OWN.houses[run_id]
    return house


class _House:
    """The folder of one run on a worker, and what has been seen there already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[tuple[str, ...], str] = {}
        self._sent: dict[str, int] = {}

    def ran(self, load: Load, files: Mapping[str, bytes]) -> Message:
        """Everything that comes of a cell, or why it cannot be run here."""
        isolated: Isolated = _OWN.isolated
        isolated.folder = self.folder
        here = self._placed(load.files, files)
        if here is None:
            return {"lacking": True}
        cell = travel.moved(load.cell, here)
        specs = (cell.problem, cell.method, *cell.metrics)
        contents = (*(spec.content for spec in specs), cell.reference)
        if contents not in self._known:
            said = isolated.ask(f"{__name__}:look", (cell, load.marks), LOOK)
            strange = [str(each["strange"]) for each in said if "strange" in each]
            self._known[contents] = strange[0] if strange else "its plugins cannot be looked at"
        if reason := self._known[contents]:
            return {"refused": reason}
        return {"events": _events(isolated, cell, self.folder.parent.name), "files": self._left()}

    def _placed(
        self, wanted: Mapping[str, str], sent: Mapping[str, bytes]
    ) -> dict[str, str] | None:
        """Where the files of plugins are here: at the runner's paths if the same lie there, as on a
        shared disk, or in a folder of their own; None if some are in neither place.
        """
        if all(_same(Path(path), digest) for path, digest in wanted.items()):
            return {path: path for path in wanted}
        own = {path: self.folder / "files" / path.lstrip("/") for path in wanted}
        for path, place in own.items():
            if not _same(place, wanted[path]):
                if path not in sent:
                    return None
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(sent[path])
        return {path: str(place) for path, place in own.items()}

    def _left(self) -> dict[str, bytes]:
        """The files that a cell has left, by their paths in the folder; draws and logs are removed,
        those of a truth stay for the cells after it and are brought once.
        """
        found = {}
        for path in sorted(self.folder.glob("draws/*.npz")) + sorted(self.folder.glob("logs/*")):
            name, time = str(path.relative_to(self.folder)), path.stat().st_mtime_ns
            if self._sent.get(name) != time:
                found[name] = path.read_bytes()
            if path.name.startswith("truth-"):
                self._sent[name] = time
            else:
                path.unlink()
        return found


def _same(path: Path, digest: str) -> bool:
    try:
        return travel.digest(path) == digest
    except OSError:
        return False


def _events(isolated: Isolated, cell: Cell, topic: str) -> list[Message]:
    """What a cell tells, but for its starts, which the runner hears at once."""
    from distributed import get_worker

    worker, told = get_worker(), list[Message]()
    with _watched(isolated):
        for _, event in isolated.run([cell]):
            if isinstance(event, Started):
                told.clear()
                worker.log_event(topic, {"started": cell.key})
            else:
                told.append(packed(event))
    return told


@contextlib.contextmanager
def _watched(isolated: Isolated) -> Iterator[None]:
    """End the cell's process when the runner does not want it any more."""
    from distributed import get_worker

    worker, over = get_worker(), threading.Event()
    key, process = worker.get_current_task(), os.getpid()

    def watch() -> None:
        while not over.wait(GLANCE) and os.getpid() == process:
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                isolated.abandon()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
